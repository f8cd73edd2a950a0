"""The outbox in Django's admin: dead letters first, then events and what holds them back.

Django finds this package; its modules register their pages as they are imported.
"""

from __future__ import annotations

from outbox.admin import dead_letters, events, overview

__all__ = ["dead_letters", "events", "overview"]
