from __future__ import annotations

from django.core.management.commands import migrate


class Command(migrate.Command):
    """Another package's own."""
