from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder

from hodei.schema.connection import ConnectionFailed, EngineNotSupported
from hodei.schema.results import FindingKind, Severity
from hodei.schema.status import (
    MigrationGraphBroken,
    MigrationState,
    MigrationTableHidden,
    read_status,
)

Install = Callable[..., None]
APPLIED, PENDING, UNKNOWN = MigrationState.APPLIED, MigrationState.PENDING, MigrationState.UNKNOWN


def migrate(alias: str, *target: str) -> None:
    call_command("migrate", *target, database=alias, verbosity=0)


def record(alias: str, *keys: tuple[str, str]) -> None:
    recorder = MigrationRecorder(connections[alias])
    for key in keys:
        recorder.record_applied(*key)


def states(alias: str, app: str) -> list[tuple[str, MigrationState]]:
    return [(m.name, m.state) for m in read_status(alias).migrations if m.app == app]


def planned(alias: str) -> set[tuple[str, str]]:
    """What Django itself would run: the authority on what is pending."""
    executor = MigrationExecutor(connections[alias])
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return {(migration.app_label, migration.name) for migration, _ in plan}


class TestReadStatus:
    def test_an_empty_database_has_everything_pending_and_stays_empty(
        self, scratch: str, install: Install
    ) -> None:
        install("orchard", "bare")

        validation = read_status(scratch).validation()

        assert validation.applied_migrations == ()
        assert set(validation.pending_migrations) == planned(scratch)
        assert validation.last_migration is None
        assert connections[scratch].introspection.table_names() == []

    def test_apps_come_by_name_and_migrations_as_the_graph_orders_them(
        self, scratch: str, install: Install
    ) -> None:
        install("orchard", "ledger")

        found = [migration.key for migration in read_status(scratch).migrations]

        assert [app for app, _ in found] == sorted(app for app, _ in found)
        orchard = [name for app, name in found if app == "orchard"]
        assert orchard[0] == "0001_initial"
        assert set(orchard[1:3]) == {"0002_height", "0002_planted"}
        assert orchard[3] == "0003_merge"

    def test_tells_applied_from_pending(self, scratch: str, install: Install) -> None:
        install("ledger")
        before = datetime.now(UTC)
        migrate(scratch, "ledger", "0002")

        status = read_status(scratch)

        assert states(scratch, "ledger") == [
            ("0001_initial", APPLIED),
            ("0002_post", APPLIED),
            ("0003_amount", PENDING),
        ]
        instants = [m.applied_at for m in status.migrations if m.app == "ledger"]
        assert instants[2] is None
        assert instants[0] is not None
        assert instants[1] is not None
        assert before <= instants[0] <= instants[1] <= datetime.now(UTC)
        assert status.validation().last_migration == ("ledger", "0002_post")

    def test_an_instant_is_in_utc_without_time_zone_support_too(
        self, scratch: str, install: Install, settings: Any
    ) -> None:
        install("orchard")
        settings.USE_TZ = False
        settings.TIME_ZONE = "Asia/Tokyo"
        before = datetime.now(UTC)
        migrate(scratch)

        found = read_status(scratch).migrations[0].applied_at

        assert found is not None
        assert before <= found <= datetime.now(UTC)

    def test_what_is_recorded_and_not_on_disk_is_unknown(
        self, scratch: str, install: Install
    ) -> None:
        install("ledger", "bare")
        migrate(scratch)
        record(scratch, ("ledger", "0004_newer"), ("gone", "0001_initial"), ("bare", "0001_old"))

        validation = read_status(scratch).validation()

        assert states(scratch, "ledger")[-1] == ("0004_newer", UNKNOWN)
        assert states(scratch, "gone") == [("0001_initial", UNKNOWN)]
        assert [f.subject for f in validation.findings] == [
            "bare.0001_old",
            "gone.0001_initial",
            "ledger.0004_newer",
        ]
        assert {f.severity for f in validation.findings} == {Severity.WARNING}
        assert validation.is_valid
        assert validation.last_migration == ("bare", "0001_old")

    def test_unknown_migrations_do_not_make_up_for_pending_ones(
        self, scratch: str, install: Install
    ) -> None:
        install("ledger")
        migrate(scratch)
        MigrationRecorder(connections[scratch]).record_unapplied("ledger", "0003_amount")
        record(scratch, ("ledger", "0003_other"))

        validation = read_status(scratch).validation()

        assert validation.pending_migrations == (("ledger", "0003_amount"),)
        assert not validation.is_valid

    def test_each_database_has_a_status_of_its_own(
        self, scratch: str, install: Install, settings: Any
    ) -> None:
        install("ledger")
        settings.DATABASE_ROUTERS = ["tests.schema.routers.NoLedger"]
        migrate(scratch)

        # A router keeps tables away, not records: Django asks no router what is applied.
        assert read_status(scratch).validation().is_valid
        assert "ledger_entry" not in connections[scratch].introspection.table_names()

    def test_tells_that_nothing_can_be_seen(self, scratch: str, install: Install) -> None:
        install("ledger")
        with connections[scratch].cursor() as cursor:
            cursor.execute("SET search_path = no_such_schema")

        with pytest.raises(MigrationTableHidden, match="can use no schema in its search_path"):
            read_status(scratch)

    def test_tells_that_the_database_is_out_of_reach(
        self, point_alias: Callable[..., str], database: dict[str, Any]
    ) -> None:
        with pytest.raises(ConnectionFailed):
            read_status(point_alias(database, NAME="hodei_schema_no_such"))

    def test_refuses_another_engine(self, point_alias: Callable[..., str]) -> None:
        with pytest.raises(EngineNotSupported):
            read_status(point_alias({"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}))


class TestReplacedMigrations:
    FIRST, SECOND = ("quarry", "0001_initial"), ("quarry", "0002_weight")
    SQUASHED, THIRD = ("quarry", "0001_squashed_0002_weight"), ("quarry", "0003_colour")

    @pytest.fixture(autouse=True)
    def _quarry(self, install: Install) -> None:
        install("quarry")

    def check(self, alias: str, *expected: tuple[tuple[str, str], MigrationState]) -> None:
        assert states(alias, "quarry") == [(key[1], state) for key, state in expected]
        validation = read_status(alias).validation()
        pending = {key for key, state in expected if state is PENDING}
        assert {k for k in validation.pending_migrations if k[0] == "quarry"} == pending
        assert {key for key in planned(alias) if key[0] == "quarry"} == pending

    def test_on_an_empty_database_only_the_replacement_is_expected(self, scratch: str) -> None:
        self.check(scratch, (self.SQUASHED, PENDING), (self.THIRD, PENDING))

    def test_after_migrate_only_the_replacement_is_counted(self, scratch: str) -> None:
        migrate(scratch)

        self.check(scratch, (self.SQUASHED, APPLIED), (self.THIRD, APPLIED))
        validation = read_status(scratch).validation()
        assert validation.findings == ()
        assert validation.last_migration == self.THIRD

    def test_all_replaced_ones_stand_for_the_replacement(self, scratch: str) -> None:
        record(scratch, self.FIRST, self.SECOND)

        self.check(scratch, (self.SQUASHED, APPLIED), (self.THIRD, PENDING))
        rows = MigrationRecorder(connections[scratch]).applied_migrations()
        found = next(m for m in read_status(scratch).migrations if m.key == self.SQUASHED)
        assert found.applied_at == rows[self.SECOND].applied
        assert read_status(scratch).validation().findings == ()

    def test_some_replaced_ones_bring_back_the_others(self, scratch: str) -> None:
        record(scratch, self.FIRST)

        self.check(scratch, (self.FIRST, APPLIED), (self.SECOND, PENDING), (self.THIRD, PENDING))

    def test_the_replacement_alone_is_not_enough(self, scratch: str) -> None:
        record(scratch, self.SQUASHED)

        # Django believes the replaced ones, and would run the replacement again.
        self.check(scratch, (self.SQUASHED, PENDING), (self.THIRD, PENDING))


class TestFindings:
    def test_conflicting_leaves_make_it_invalid(self, scratch: str, install: Install) -> None:
        install("forked", "ledger")
        record(scratch, ("forked", "0001_initial"), ("forked", "0002_left"))
        record(scratch, ("forked", "0002_right"))

        status = read_status(scratch)

        (found,) = status.validation().findings
        assert (found.kind, found.subject) == (FindingKind.CONFLICTING, "forked")
        assert "0002_left, 0002_right" in found.message
        assert not status.validation(["forked"]).is_valid
        assert status.validation(["ledger"]).findings == ()

    def test_applied_before_what_it_depends_on_makes_it_invalid(
        self, scratch: str, install: Install
    ) -> None:
        install("ledger")
        record(scratch, ("ledger", "0002_post"), ("ledger", "0003_amount"))

        (found,) = read_status(scratch).validation().findings

        assert (found.kind, found.subject) == (FindingKind.INCONSISTENT, "ledger.0002_post")
        assert "ledger.0001_initial" in found.message

    def test_a_missing_file_is_told(self, scratch: str, install: Install) -> None:
        install("orphaned")

        with pytest.raises(MigrationGraphBroken, match="orphaned") as caught:
            read_status(scratch)

        assert caught.value.exit_code == 2
