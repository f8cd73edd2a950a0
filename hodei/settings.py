"""Django settings of this project: one module, and the environment is read here alone.

Production is the default. Management commands need no variable; what serves pages or runs jobs
refuses to start without a SECRET_KEY. docs/reference/settings.md has the table of variables.
"""

from __future__ import annotations

import secrets
from pathlib import Path

import django
import environ

from hodei import env as hodei_env

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
environ.Env.read_env(BASE_DIR / ".env")
values = {name: str(value) for name, value in env.ENVIRON.items()}
process = hodei_env.current()


def flag(name: str, *, default: bool) -> bool:
    text = values.get(name, "").strip()
    return hodei_env.as_bool(name, text) if text else default


DEBUG = flag("DEBUG", default=False)

# --- who may serve -----------------------------------------------------------------------------
_given_key = values.get("SECRET_KEY", "").strip()
# A command may need a key (it signs nothing that outlives it), so it gets one for its lifetime.
SECRET_KEY = _given_key or secrets.token_urlsafe(50)
HODEI_SAFETY = hodei_env.Safety(
    secret_key=_given_key,
    debug=DEBUG,
    embedded=not values.get("DATABASE_URL", "").strip(),
    embedded_allowed=flag("HODEI_EMBEDDED", default=False),
)
hodei_env.refuse_unsafe(process, HODEI_SAFETY)

ALLOWED_HOSTS: list[str] = env.list("ALLOWED_HOSTS", default=[])
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", default=[])

# --- the database ------------------------------------------------------------------------------
HODEI_EMBEDDED_DIR = Path(values.get("HODEI_EMBEDDED_DIR") or BASE_DIR / ".hodei" / "pg")
DATABASES = {"default": hodei_env.database_from_env(values, process, HODEI_EMBEDDED_DIR)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# The way back from head moves rows that the baseline cannot hold, instead of refusing.
HODEI_ALLOW_DATA_LOSS = flag("HODEI_ALLOW_DATA_LOSS", default=False)
# schema_reset may drop the schema of apps and build it again.
HODEI_ALLOW_RESET = flag("HODEI_ALLOW_RESET", default=DEBUG)

# --- what is installed -------------------------------------------------------------------------
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "hodei.schema",
    "outbox",
    "jobs",
    "sagas",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
if django.VERSION >= (6, 0):
    MIDDLEWARE.insert(1, "django.middleware.csp.ContentSecurityPolicyMiddleware")
    SECURE_CSP = {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
        "object-src": ["'none'"],
    }

ROOT_URLCONF = "hodei.urls"
WSGI_APPLICATION = "hodei.wsgi.application"
ASGI_APPLICATION = "hodei.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

# --- background work ---------------------------------------------------------------------------
# For django.tasks: of Django 6.0, or the backport of the extra "tasks".
TASKS = {"default": {"BACKEND": "jobs.backend.JobsBackend"}}

# --- language and time -------------------------------------------------------------------------
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

# --- files -------------------------------------------------------------------------------------
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "static-root"

# --- jobs --------------------------------------------------------------------------------------
JOBS_EXECUTORS = {
    "python": "jobs.executors.python.PythonExecutor",
    "command": "jobs.executors.command.CommandExecutor",
}
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    # What jobs have written: nobody's but ours, and at no URL.
    "job_logs": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {
            "location": Path(values.get("HODEI_JOB_LOGS_DIR") or BASE_DIR / ".hodei" / "job-logs"),
            "file_permissions_mode": 0o600,
            "directory_permissions_mode": 0o700,
        },
    },
}

# --- transport: on unless DEBUG, and one by one ------------------------------------------------
SECURE_SSL_REDIRECT = flag("SECURE_SSL_REDIRECT", default=not DEBUG)
# A probe comes past the proxy that ends TLS, and counts a redirect as an answer.
SECURE_REDIRECT_EXEMPT = [r"^health/(live|ready)$"]
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not DEBUG
SECURE_HSTS_SECONDS = int(hodei_env.as_seconds("HSTS_SECONDS", values.get("HSTS_SECONDS", "3600")))
if DEBUG:
    SECURE_HSTS_SECONDS = 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = SECURE_HSTS_SECONDS > 0
if flag("BEHIND_TLS_PROXY", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# --- logging: to stderr, as one line each ------------------------------------------------------
LOG_LEVEL = values.get("LOG_LEVEL", "INFO").upper()
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "hodei.log_lines.LineFormatter",
            "format": "%(asctime)s %(levelname)s %(name)s %(message)s",
        }
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    # Django's own has a handler for DEBUG, which would say everything twice.
    "loggers": {
        "django": {"handlers": ["stderr"], "level": LOG_LEVEL, "propagate": False},
        # Two lines for each task would cost more than a small task does.
        "django.tasks": {"level": "WARNING"},
        "django_tasks": {"level": "WARNING"},
    },
}
