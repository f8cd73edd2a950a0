"""A project as people have them: a user model of its own, apps of others, and awkward migrations.

Nothing of Hodei but ``hodei.schema``. The databases come as in ``settings_alone``.
"""

from __future__ import annotations

from tests.schema.settings_alone import (  # noqa: F401
    ALLOWED_HOSTS,
    DATABASES,
    DEFAULT_AUTO_FIELD,
    ROOT_URLCONF,
    SECRET_KEY,
    USE_TZ,
)

INSTALLED_APPS = [
    "hodei.schema",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.sites",
    "django.contrib.flatpages",
    "django.contrib.redirects",
    # Constraints that its settings decide, and RunPython over users.
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    # Primary keys that change their type, and a migration that was moved out of the line.
    "rest_framework_simplejwt.token_blacklist",
    "tests.schema.apps.crew",
    "tests.schema.apps.foundry",
    "tests.schema.apps.harbour",
    "tests.schema.apps.ledger",
    "tests.schema.apps.orchard",
    "tests.schema.apps.quarry",
    "tests.schema.apps.bare",
]
AUTH_USER_MODEL = "crew.Member"
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]
SITE_ID = 1
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
