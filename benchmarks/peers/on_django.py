"""Django for the script of a peer, which stands alone in its own environment."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

sys.path.insert(1, str(Path(__file__).resolve().parent.parent))


def set_up(url: str, **settings: Any) -> None:
    """Migrate the database of a URL whose ``host`` is a folder of sockets."""
    import django  # noqa: PLC0415
    from django import conf  # noqa: PLC0415
    from django.core.management import call_command  # noqa: PLC0415

    parts = urlsplit(url)
    query = parse_qs(parts.query)
    conf.settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": parts.path.strip("/"),
                "USER": parts.username,
                "HOST": query["host"][0],
                "PORT": query["port"][0],
            }
        },
        LOGGING={"version": 1, "root": {"level": "CRITICAL", "handlers": []}},
        USE_TZ=True,
        **settings,
    )
    django.setup()
    call_command("migrate", verbosity=0)


def calm() -> None:
    from django.db import connection  # noqa: PLC0415

    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")
