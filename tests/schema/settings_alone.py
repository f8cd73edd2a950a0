"""A project that has ``hodei.schema`` and nothing else of Hodei, for tests of it by itself.

The databases come from the variable SCHEMA_TEST_DATABASES, in Django's terms, as JSON; more apps
and routers from SCHEMA_TEST_APPS and SCHEMA_TEST_ROUTERS, names with spaces between them.
"""

from __future__ import annotations

import json
import os

DATABASES = json.loads(os.environ.get("SCHEMA_TEST_DATABASES", "{}"))
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "hodei.schema",
    *os.environ.get("SCHEMA_TEST_APPS", "").split(),
]
DATABASE_ROUTERS = os.environ.get("SCHEMA_TEST_ROUTERS", "").split()
HODEI_HEALTH_DATABASES = list(DATABASES) or None
ROOT_URLCONF = "tests.schema.urls_alone"
ALLOWED_HOSTS = ["localhost"]
SECRET_KEY = "for tests alone"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
HODEI_ALLOW_RESET = os.environ.get("SCHEMA_TEST_ALLOW_RESET") == "1"
