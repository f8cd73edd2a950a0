from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections, transaction
from django.db.migrations.recorder import MigrationRecorder
from django.test.utils import CaptureQueriesContext

from hodei.schema.connection import ConnectionFailed, EngineNotSupported
from hodei.schema.readiness import KnownMigrations, names_of
from hodei.schema.reasons import Reason
from hodei.schema.status import MigrationGraphBroken, MigrationTableHidden, read_status

Install = Callable[..., None]


def migrate(alias: str, *target: str) -> None:
    call_command("migrate", *target, database=alias, verbosity=0)


def record(alias: str, app: str, name: str) -> None:
    MigrationRecorder(connections[alias]).record_applied(app, name)


class TestCheck:
    def test_an_empty_database_has_everything_pending(self, scratch: str, install: Install) -> None:
        install("ledger")

        found = KnownMigrations().check(connections[scratch])

        assert ("ledger", "0003_amount") in found.pending
        assert len(found.pending) == found.expected
        assert not found.is_ready
        assert connections[scratch].introspection.table_names() == []

    def test_it_sees_what_is_applied_meanwhile(self, scratch: str, install: Install) -> None:
        install("ledger")
        known = KnownMigrations()
        assert not known.check(connections[scratch]).is_ready

        migrate(scratch)

        found = known.check(connections[scratch])
        assert found.is_ready
        assert found.is_valid
        assert found.warnings() == []
        assert (
            found.summary() == f"Schema valid: {found.expected}/{found.expected} migrations applied"
        )

    def test_an_unknown_migration_is_a_warning(self, scratch: str, install: Install) -> None:
        install("ledger")
        migrate(scratch)
        record(scratch, "ledger", "0009_newer")

        found = KnownMigrations().check(connections[scratch])

        assert found.is_valid
        assert found.unknown == (("ledger", "0009_newer"),)
        assert found.warnings() == ["1 migration applied that this code lacks"]
        assert found.summary().endswith("migrations applied, 1 unknown")

    def test_a_conflict_is_no_reason_not_to_serve(self, scratch: str, install: Install) -> None:
        install("forked")
        known = KnownMigrations()
        everything = frozenset(known.check(connections[scratch]).pending)

        found = known.judge(everything)

        assert found.is_ready
        assert not found.is_valid
        assert found.warnings() == ["several last migrations in: forked"]

    @pytest.mark.parametrize(
        "recorded",
        [
            [],
            ["0001_initial"],
            ["0001_initial", "0002_weight"],
            ["0001_squashed_0002_weight"],
            ["0001_initial", "0002_weight", "0001_squashed_0002_weight", "0003_colour"],
            ["0002_weight", "0003_colour"],
        ],
        ids=" ".join,
    )
    def test_agrees_with_schema_status(
        self, scratch: str, install: Install, recorded: list[str]
    ) -> None:
        install("quarry", "orchard")
        MigrationRecorder(connections[scratch]).ensure_schema()
        # A judge that has seen another database before: nothing of that may stay.
        known = KnownMigrations()
        known.judge(frozenset({("quarry", "0001_initial")}))
        for name in recorded:
            record(scratch, "quarry", name)

        found = known.check(connections[scratch])

        expected = read_status(scratch).validation()
        assert set(found.pending) == set(expected.pending_migrations)
        assert found.expected == len(expected.expected_migrations)
        assert found.is_valid == expected.is_valid
        assert {".".join(key) for key in found.unknown} == {
            finding.subject for finding in expected.findings if finding.kind == "unknown"
        }

    def test_pending_ones_are_in_the_order_of_migrate(self, scratch: str, install: Install) -> None:
        install("ledger")
        pending = KnownMigrations().check(connections[scratch]).pending

        ledger = [name for app, name in pending if app == "ledger"]
        assert ledger == ["0001_initial", "0002_post", "0003_amount"]
        assert names_of(pending[:5]).endswith(" and 2 more")


class TestFailures:
    def test_no_connection(self, point_alias: Callable[..., str], database: dict[str, Any]) -> None:
        alias = point_alias(database, NAME="hodei_schema_no_such")

        with pytest.raises(ConnectionFailed) as caught:
            KnownMigrations().check(connections[alias])

        assert caught.value.reason is Reason.NO_DATABASE

    def test_another_engine(self, point_alias: Callable[..., str]) -> None:
        alias = point_alias({"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"})

        with pytest.raises(EngineNotSupported):
            KnownMigrations().check(connections[alias])

    def test_files_without_a_graph(self, scratch: str, install: Install) -> None:
        install("orphaned")

        with pytest.raises(MigrationGraphBroken):
            KnownMigrations().check(connections[scratch])

    def test_no_schema_to_look_into(self, scratch: str, install: Install) -> None:
        with connections[scratch].cursor() as cursor:
            cursor.execute("SET search_path = nowhere")

        with pytest.raises(MigrationTableHidden, match="can use no schema"):
            KnownMigrations().check(connections[scratch])

    def test_a_connection_that_was_ended_is_replaced(self, scratch: str, install: Install) -> None:
        install("ledger")
        migrate(scratch)
        with connections[scratch].cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            (pid,) = cursor.fetchone()
        killer = connections[scratch].copy()
        with killer.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])
        killer.close()

        assert KnownMigrations().check(connections[scratch]).is_ready

    def test_a_missing_table_does_not_spoil_a_transaction(self, scratch: str) -> None:
        with transaction.atomic(using=scratch):
            assert not KnownMigrations().check(connections[scratch]).is_ready

            with connections[scratch].cursor() as cursor:
                cursor.execute("SELECT 1")


class TestCost:
    def test_is_one_query_and_one_read_of_the_files(
        self, scratch: str, install: Install, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from django.db.migrations.loader import MigrationLoader

        install("ledger")
        migrate(scratch)
        reads: list[None] = []
        load = MigrationLoader.load_disk

        def counted(loader: MigrationLoader) -> None:
            reads.append(None)
            load(loader)

        monkeypatch.setattr(MigrationLoader, "load_disk", counted)
        known = KnownMigrations()
        known.check(connections[scratch])
        record(scratch, "ledger", "0009_newer")

        with CaptureQueriesContext(connections[scratch]) as queries:
            known.check(connections[scratch])

        assert len(queries) == 1
        assert len(reads) == 1
