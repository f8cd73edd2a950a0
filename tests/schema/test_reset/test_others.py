"""What others need, and what only looks like the app's: named, and not touched."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management.base import CommandError
from django.db.models.signals import pre_migrate

from hodei.schema import MigrationService
from hodei.schema.reset.guards import (
    ResetRefused,
    SchemaChanged,
)
from tests.schema.test_reset.kit import (
    A_VIEW,
    DEPENDENCIES,
    Install,
    execute,
    migrate,
    outcomes,
    reset,
    rows,
    unchanged,
)


class TestOfOthers:
    def test_what_others_need_is_named_and_not_touched(self, depot: str) -> None:
        for sql in DEPENDENCIES[::2]:
            execute(depot, sql)
        with unchanged(depot):
            plan = MigrationService(depot).plan_reset()
            with pytest.raises(ResetRefused) as refused:
                MigrationService(depot).reset(plan, confirm=plan.database, backup=None)
            with pytest.raises(CommandError, match="View a_view depends on") as caught:
                reset(depot)
        assert caught.value.returncode == 1
        for told in DEPENDENCIES[1::2]:
            assert any(one.startswith(f"{told}: ") for one in refused.value.obstacles), told
        assert len(refused.value.obstacles) == len(DEPENDENCIES) / 2
        assert outcomes(depot, "depot")[-1] == ("0003_index", "forward", "ok")

    def test_one_that_came_after_the_look_is_found_too(self, depot: str) -> None:
        plan = MigrationService(depot).plan_reset()
        execute(depot, A_VIEW)
        with unchanged(depot), pytest.raises(SchemaChanged):
            MigrationService(depot).reset(plan, confirm=plan.database, backup=None)

    def test_one_that_comes_at_the_last_moment_stops_the_server(self, depot: str) -> None:
        """Readers are let in while the backup is written, and a view is made by readers."""
        plan = MigrationService(depot).plan_reset()

        def late(**_facts: Any) -> None:
            execute(depot, "CREATE VIEW late AS SELECT * FROM depot_crate")

        from django.apps import apps as installed

        sender = installed.get_app_config("depot")
        pre_migrate.connect(late, sender=sender)
        try:
            with unchanged(depot), pytest.raises(ResetRefused, match="view late depends on"):
                MigrationService(depot).reset(plan, confirm=plan.database, backup=None)
        finally:
            pre_migrate.disconnect(late, sender=sender)
        assert {outcome for *_, outcome in outcomes(depot, "depot")[3:]} == {"failed"}

    @pytest.mark.parametrize("chosen", ["depot", "errand"])
    def test_a_table_that_two_apps_have_made_is_reset_with_both(
        self, alias: str, install: Install, monkeypatch: pytest.MonkeyPatch, chosen: str
    ) -> None:
        monkeypatch.setenv("ERRAND_SQL", "ALTER TABLE depot_shelf ADD COLUMN extra int")
        install("depot", "errand")
        migrate(alias)

        with (
            unchanged(alias),
            pytest.raises(
                CommandError,
                match="depot_shelf is made by app depot and changed by migrations of app errand",
            ),
        ):
            reset(alias, chosen)
        reset(alias, "depot", "errand")
        assert rows(alias, "SELECT extra FROM depot_shelf") == [(None,)]

    def test_something_else_of_that_name_is_not_dropped(self, depot: str) -> None:
        execute(depot, "DROP VIEW depot_labels; CREATE TABLE depot_labels (mine int)")
        with (
            unchanged(depot),
            pytest.raises(CommandError, match="Table depot_labels has the name of the view"),
        ):
            reset(depot)

    def test_a_part_in_another_schema_is_named(self, alias: str, install: Install) -> None:
        install("foundry")
        migrate(alias)
        execute(
            alias,
            "CREATE SCHEMA old; CREATE TABLE old.foundry_event_2024 PARTITION OF foundry_event "
            "FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')",
        )
        with unchanged(alias), pytest.raises(CommandError, match="lies outside of schema public"):
            reset(alias, "foundry")

    def test_migrations_of_others_that_are_pending_are_not_run(
        self, alias: str, install: Install
    ) -> None:
        install("depot", "hauler")
        with pytest.raises(CommandError, match=r"needs depot\.0001_initial, which is not applied"):
            reset(alias, "hauler")

    def test_scripts_that_control_the_transaction_are_named_before(
        self, alias: str, install: Install, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        install("errand")
        migrate(alias)
        monkeypatch.setenv("ERRAND_SQL", "CREATE TABLE a (); COMMIT")
        with (
            unchanged(alias),
            pytest.raises(
                CommandError, match=r"errand.0001_initial cannot run in one transaction.*\(COMMIT\)"
            ),
        ):
            reset(alias, "errand")
