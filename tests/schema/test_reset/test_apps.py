"""What a reset drops and builds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.management.base import CommandError
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder
from django.db.models.signals import post_migrate, pre_migrate

from hodei.schema import MigrationService
from hodei.schema import signals as hooks
from hodei.schema.history import read_runs
from hodei.schema.reset.service import AfterwardsFailed
from tests.databases import alias_of, new_database
from tests.schema.test_reset.kit import (
    Install,
    check_valid,
    content,
    execute,
    identities,
    migrate,
    name_of,
    outcomes,
    reset,
    rows,
    session,
    unchanged,
)


class TestReset:
    def test_drops_what_the_app_made_and_builds_it_again(self, depot: str) -> None:
        before = dict(identities(depot))
        shown = reset(depot)

        assert content(depot)["depot_shelf"] == ["(1, 'first')"]
        assert (
            not {oid for oid, name in before.items() if name.startswith("depot")}
            & dict(identities(depot)).keys()
        )
        assert [one for one in dict(identities(depot)).items() if "hauler" in one[1]] == [
            one for one in before.items() if "hauler" in one[1]
        ]
        assert "depot_crate      depot  1" in shown
        assert "depot_shelf      depot  2" in shown
        assert "Reset: 2 tables with 3 rows dropped, 3 migrations run." in shown
        assert max(len(line) for line in shown.splitlines()) <= 100
        check_valid(depot)

    def test_the_history_tells_of_both_ways(self, depot: str) -> None:
        made = outcomes(depot, "depot")
        reset(depot)

        names = ["0001_initial", "0002_stock", "0003_index"]
        assert outcomes(depot, "depot") == [
            *made,
            *((name, "backward", "reset") for name in reversed(names)),
            *((name, "forward", "ok") for name in names),
        ]
        (batch,) = {run.batch for run in read_runs(depot, app="depot")[:6]}
        assert batch not in {run.batch for run in read_runs(depot, app="depot")[6:]}
        assert read_runs(depot, app="depot")[0].command == "schema_reset"

    def test_records_of_other_apps_stay_as_they_are(self, depot: str) -> None:
        recorder = MigrationRecorder(connections[depot])
        others = list(recorder.migration_qs.exclude(app="depot").values())
        reset(depot)

        assert list(recorder.migration_qs.exclude(app="depot").values()) == others
        assert len(recorder.migration_qs.filter(app="depot")) == 3
        migrate(depot)

    def test_an_empty_database_is_built(self, alias: str, install: Install) -> None:
        install("depot")

        assert "0 tables with 0 rows dropped, 3 migrations run" in reset(alias)
        assert content(alias)["depot_shelf"] == ["(1, 'first')"]

    def test_signals_are_those_of_migrate(self, depot: str) -> None:
        seen: list[tuple[Any, ...]] = []

        def before(**facts: Any) -> None:
            seen.append(("pre", facts["using"], [(str(m), b) for m, b in facts["plan"]]))

        def after(apps: Any, **_facts: Any) -> None:
            with session(depot) as other:  # it sees what is committed
                labels = other.execute("SELECT label FROM depot_shelf").fetchall()
            seen.append(("post", apps.get_model("depot", "Crate")._meta.db_table, labels))

        def finished(results: Any, success: bool, **_facts: Any) -> None:
            seen.append(("finished", len(results), success))

        from django.apps import apps as installed

        sender = installed.get_app_config("depot")
        pre_migrate.connect(before, sender=sender)
        post_migrate.connect(after, sender=sender)
        hooks.run_finished.connect(finished)
        try:
            reset(depot)
        finally:
            pre_migrate.disconnect(before, sender=sender)
            post_migrate.disconnect(after, sender=sender)
            hooks.run_finished.disconnect(finished)

        plan = [(f"depot.{name}", False) for name in ("0001_initial", "0002_stock", "0003_index")]
        assert seen == [
            ("pre", depot, plan),
            ("finished", 6, True),
            ("post", "depot_crate", [("first",)]),
        ]

    def test_a_receiver_that_fails_afterwards_is_told_apart(self, depot: str) -> None:
        def fail(**_facts: Any) -> None:
            raise ValueError("no mail server")

        post_migrate.connect(fail)
        try:
            plan = MigrationService(depot).plan_reset()
            with pytest.raises(AfterwardsFailed, match=r"The schema is reset.*no mail"):
                MigrationService(depot).reset(plan, confirm=plan.database, backup=None)
        finally:
            post_migrate.disconnect(fail)
        check_valid(depot)

    def test_what_was_dropped_by_hand_is_built_again(self, depot: str) -> None:
        execute(depot, "DROP VIEW depot_labels; DROP TABLE depot_crate")

        assert "1 table with 2 rows dropped" in reset(depot)
        check_valid(depot)

    def test_what_was_added_by_hand_is_told_and_goes(self, depot: str) -> None:
        execute(
            depot,
            "CREATE INDEX quick ON depot_shelf (label); GRANT SELECT ON depot_crate TO PUBLIC",
        )
        shown = reset(depot)

        assert "Note: No migration makes index depot_shelf.quick, so it goes for good." in shown
        assert "Note: No migration makes privileges depot_crate, so it goes for good." in shown
        check_valid(depot)

    def test_a_record_without_a_file_goes_and_is_told(self, depot: str) -> None:
        MigrationRecorder(connections[depot]).record_applied("depot", "0009_gone")
        shown = reset(depot)

        assert "Recorded, and not on disk: depot.0009_gone." in " ".join(shown.split())
        assert rows(depot, "SELECT FROM django_migrations WHERE name = '0009_gone'") == []
        assert ("0009_gone", "backward", "reset") in outcomes(depot, "depot")

    def test_half_applied_it_is_built_to_the_end(self, alias: str, install: Install) -> None:
        install("depot")
        migrate(alias)
        migrate(alias, "depot", "0001")
        shown = reset(alias, backup=Path("half.dump"))

        assert content(alias)["depot_shelf"] == ["(1, 'first')"]
        assert "correct the records with migrate APP NAME --fake" in " ".join(shown.split())
        check_valid(alias)

    def test_what_other_apps_wrote_stays_and_is_told(self, depot: str) -> None:
        execute(depot, "INSERT INTO hauler_trip (crate_id) VALUES (1)")
        shown = " ".join(reset(depot).split())

        assert "hauler.0001_initial stays applied, and was run after depot.0001_initial" in shown
        assert content(depot)["hauler_trip"] == ["(1, 1)"]

    def test_two_apps_at_once_and_in_either_order(self, depot: str) -> None:
        reset(depot, "hauler", "depot")

        assert content(depot)["hauler_trip"] == []
        assert [key for key, *_ in outcomes(depot, "hauler")] == ["0001_initial"] * 3
        check_valid(depot)

    def test_only_the_database_that_was_named(
        self, depot: str, template: str, server: dict[str, Any]
    ) -> None:
        with new_database(template) as found, alias_of({**found, **server}, "second") as second:
            with unchanged(depot):
                reset(second)
            with unchanged(second), pytest.raises(CommandError, match="is not the name of this"):
                reset(second, confirm=name_of(depot))

    def test_where_a_router_allows_no_table_there_is_none(
        self, alias: str, install: Install, settings: Any
    ) -> None:
        install("ledger")
        settings.DATABASE_ROUTERS = ["tests.schema.routers.NoLedger"]
        execute(alias, "CREATE TABLE ledger_entry (id int); INSERT INTO ledger_entry VALUES (7)")
        MigrationRecorder(connections[alias]).ensure_schema()
        MigrationRecorder(connections[alias]).record_applied("ledger", "0001_initial")

        plan = MigrationService(alias).plan_reset(["ledger"])

        assert plan.rows == {}
