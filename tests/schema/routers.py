"""Routers for the tests."""

from __future__ import annotations


class NoLedger:
    """No table of the app ``ledger`` anywhere."""

    def allow_migrate(self, db: str, app_label: str, **hints: object) -> bool | None:
        return False if app_label == "ledger" else None


class LedgerApart:
    """The tables of ``ledger`` in the database ``ledgers``, and there no others."""

    def allow_migrate(self, db: str, app_label: str, **hints: object) -> bool:
        return (app_label == "ledger") is (db == "ledgers")
