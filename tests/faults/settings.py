"""The project's settings, with a database and whatever else a test decides (as JSON)."""

from __future__ import annotations

import json
import os

from hodei.settings import *  # noqa: F403

DATABASES = {"default": json.loads(os.environ["FAULTS_DATABASE"])}
HODEI_OUTBOX = json.loads(os.environ.get("FAULTS_OUTBOX", "{}"))
globals().update(json.loads(os.environ.get("FAULTS_SETTINGS", "{}")))
