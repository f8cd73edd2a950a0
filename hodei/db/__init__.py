"""Databases of this project: the private PostgreSQL as a Django backend (``hodei.db.embedded``)."""

from __future__ import annotations
