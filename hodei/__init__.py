"""Hodei: a job platform's schema as Django apps on PostgreSQL, and what keeps it true.

Ways in:

- ``hodei.schema``: a reusable app on top of Django's ``migrate`` (status, validation);
- ``hodei.settings``: this project, configured by environment variables alone;
- ``hodei.embedded``: the private PostgreSQL used when ``DATABASE_URL`` is unset.
"""

from __future__ import annotations

__version__ = "0.1.0"
