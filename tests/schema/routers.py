"""A router for the tests."""

from __future__ import annotations


class NoLedger:
    """No table of the app ``ledger`` anywhere."""

    def allow_migrate(self, db: str, app_label: str, **hints: object) -> bool | None:
        return False if app_label == "ledger" else None
