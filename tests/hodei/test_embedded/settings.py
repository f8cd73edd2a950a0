"""As little as Django needs to talk to the embedded PostgreSQL of the folder in EMBEDDED_TEST."""

from __future__ import annotations

import json
import os

SECRET_KEY = "test"
INSTALLED_APPS = ["django.contrib.contenttypes"]
USE_TZ = True
DATABASES = {
    "default": {
        "ENGINE": "hodei.db.embedded",
        "NAME": "hodei",
        "EMBEDDED_DIRECTORY": os.environ["EMBEDDED_TEST"],
        "OPTIONS": json.loads(os.environ.get("EMBEDDED_TEST_OPTIONS", "{}")),
    }
}
