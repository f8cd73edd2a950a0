"""Sagas in Django's admin: which way they go, where they stand, and what happened to them.

Django finds this package; its modules register their pages as they are imported.
"""

from __future__ import annotations

from sagas.admin import overview, records, sagas, steps

__all__ = ["overview", "records", "sagas", "steps"]
