"""The WSGI application. A process that imports it serves, and so must be safe to serve."""

from __future__ import annotations

import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application

from hodei import env

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hodei.settings")
SERVING = env.Process("serving", "wsgi")
if not settings.configured and env.current().role == "command":
    env.declare(SERVING)
env.refuse_unsafe(SERVING, settings.HODEI_SAFETY)

application = get_wsgi_application()
