from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management.base import CommandError
from django.db import connections
from django.db.models.signals import post_migrate, pre_migrate

from hodei.schema import (
    ConnectionFailed,
    EngineNotSupported,
    MigrationFailed,
    MigrationService,
    run_migrations,
)

Install = Callable[..., None]


class TestRunAll:
    def test_applies_everything_pending(self, scratch: str, install: Install) -> None:
        install("ledger", "quarry")
        service = MigrationService(scratch)

        results = service.run_all()

        validation = service.validate()
        assert validation.is_valid
        assert {(r.app, r.name) for r in results} == set(validation.applied_migrations)
        assert "ledger_entry" in connections[scratch].introspection.table_names()

    def test_a_second_run_has_nothing_to_do(self, scratch: str, install: Install) -> None:
        install("ledger")
        service = MigrationService(scratch)
        service.run_all()

        assert service.run_all() == []

    def test_sends_djangos_signals(self, scratch: str, install: Install) -> None:
        install("ledger")
        heard = []

        def hear(signal: Any, using: str, **_: Any) -> None:
            heard.append((signal, using))

        for signal in (pre_migrate, post_migrate):
            signal.connect(hear)
        try:
            MigrationService(scratch).run_all()
        finally:
            for signal in (pre_migrate, post_migrate):
                signal.disconnect(hear)

        assert (pre_migrate, scratch) in heard
        assert (post_migrate, scratch) in heard

    def test_prints_nothing(
        self, scratch: str, install: Install, capsys: pytest.CaptureFixture[str]
    ) -> None:
        install("ledger")

        MigrationService(scratch).run_all()

        assert capsys.readouterr() == ("", "")

    def test_stops_at_the_failure_and_goes_on_from_there(
        self, scratch: str, install: Install, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        install("ledger")
        service = MigrationService(scratch)
        monkeypatch.setenv("LEDGER_AMOUNT", "nonsense")

        with pytest.raises(MigrationFailed) as caught:
            service.run_all()

        failed = caught.value
        assert [r.success for r in failed.results][-2:] == [True, False]
        assert (failed.failure.app, failed.failure.name) == ("ledger", "0002_post")
        assert str(failed).startswith("Migration ledger.0002_post failed after ")
        assert 'invalid input syntax for type integer: "nonsense"' in str(failed)
        assert failed.exit_code == 5
        validation = service.validate()
        assert validation.failed_migrations == (("ledger", "0002_post"),)
        assert validation.pending_migrations == (("ledger", "0003_amount"),)
        assert not service.history(limit=1)[0].success
        with connections[scratch].cursor() as cursor:
            cursor.execute("SELECT count(*) FROM ledger_entry")
            assert cursor.fetchone() == (0,)

        monkeypatch.setenv("LEDGER_AMOUNT", "7")
        assert [r.name for r in service.run_all()] == ["0002_post", "0003_amount"]
        told = service.history(app="ledger")
        assert [(r.name, r.success) for r in told] == [
            ("0003_amount", True),
            ("0002_post", True),
            ("0002_post", False),
            ("0001_initial", True),
        ]
        assert [r.name for r in service.history(failed_only=True)] == ["0002_post"]

    def test_what_migrate_refuses_passes_as_it_is(self, scratch: str, install: Install) -> None:
        install("forked")

        with pytest.raises(CommandError, match="Conflicting migrations"):
            MigrationService(scratch).run_all()

    def test_a_database_out_of_reach_is_told(
        self, point_alias: Callable[..., str], database: dict[str, Any]
    ) -> None:
        with pytest.raises(ConnectionFailed):
            MigrationService(point_alias(database, NAME="hodei_schema_no_such")).run_all()

    def test_another_engine_is_refused(self, point_alias: Callable[..., str]) -> None:
        alias = point_alias({"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"})

        with pytest.raises(EngineNotSupported):
            MigrationService(alias).run_all()


class TestRunMigrations:
    def test_connects_migrates_and_validates(
        self, scratch: str, install: Install, caplog: pytest.LogCaptureFixture
    ) -> None:
        install("ledger")
        with caplog.at_level(logging.INFO, "hodei.schema"):
            validation = run_migrations(scratch)

        assert validation.is_valid
        assert validation.last_migration == ("ledger", "0003_amount")
        expected = len(validation.expected_migrations)
        assert validation.summary() == f"Schema valid: {expected}/{expected} migrations applied"
        assert caplog.messages[-1] == f"{validation.summary()} database={scratch}"
        assert len(caplog.messages) == expected + 1

    def test_stops_where_there_is_no_connection(
        self, point_alias: Callable[..., str], database: dict[str, Any]
    ) -> None:
        with pytest.raises(ConnectionFailed):
            run_migrations(point_alias(database, NAME="hodei_schema_no_such"))
