"""Rows and tables that came after the look at them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connections

from hodei.schema import MigrationService
from hodei.schema.reset.guards import (
    RowsChanged,
    SchemaChanged,
)
from tests.databases import HERE
from tests.processes import eventually
from tests.schema.test_reset.kit import content, execute, migrate, outcomes, session, unchanged


class TestRows:
    def test_rows_that_came_after_the_count_are_named(self, depot: str) -> None:
        plan = MigrationService(depot).plan_reset()
        execute(depot, "INSERT INTO depot_shelf (label) VALUES ('late')")

        with unchanged(depot), pytest.raises(RowsChanged) as caught:
            MigrationService(depot).reset(plan, confirm=plan.database, backup=Path("none.dump"))

        assert caught.value.counts == {"depot_shelf": (2, 3)}
        assert "depot_shelf had 2 and has 3" in str(caught.value)
        assert not Path("none.dump").exists()
        assert len(outcomes(depot, "depot")) == 3, "nothing was attempted"

    @pytest.mark.parametrize(
        "sql",
        [
            "UPDATE depot_shelf SET label = 'late' WHERE id = 2",
            "DELETE FROM depot_shelf WHERE id = 2; INSERT INTO depot_shelf VALUES (2, 'late')",
        ],
    )
    def test_other_rows_of_the_same_number_are_named_too(self, depot: str, sql: str) -> None:
        plan = MigrationService(depot).plan_reset()
        with session(depot) as other:
            other.execute(sql)

        with unchanged(depot), pytest.raises(RowsChanged) as caught:
            MigrationService(depot).reset(plan, confirm=plan.database, backup=Path("none.dump"))

        assert caught.value.counts == {"depot_shelf": (2, 2)}
        assert "depot_shelf has 2 as before, and not the same ones" in str(caught.value)
        assert not Path("none.dump").exists()

    @pytest.mark.parametrize(
        "level",
        [psycopg.IsolationLevel.READ_COMMITTED, psycopg.IsolationLevel.REPEATABLE_READ],
        ids=str,
    )
    def test_a_writer_that_ends_while_its_lock_is_waited_for(
        self,
        depot: str,
        settings: Any,
        monkeypatch: pytest.MonkeyPatch,
        level: psycopg.IsolationLevel,
    ) -> None:
        """Also where the connection's transactions would see only what was there at their start."""
        settings.HODEI_SCHEMA_LOCK_TIMEOUT = 30
        monkeypatch.setitem(connections[depot].settings_dict, "OPTIONS", {"isolation_level": level})
        connections[depot].close()
        plan = MigrationService(depot).plan_reset()
        with session(depot) as writer, session(depot) as watcher, ThreadPoolExecutor(1) as pool:
            writer.execute("BEGIN; UPDATE depot_crate SET name = 'late'")

            def commit() -> bool:
                waited = eventually(
                    lambda: (
                        watcher.execute(
                            f"SELECT FROM pg_locks WHERE {HERE} AND NOT granted AND relation = "
                            "'depot_crate'::regclass AND mode = 'ExclusiveLock'"
                        ).fetchall()
                        != []
                    )
                )
                writer.execute("COMMIT")
                return waited

            committed = pool.submit(commit)
            with pytest.raises(RowsChanged) as caught:
                MigrationService(depot).reset(plan, confirm=plan.database, backup=None)
            assert committed.result()

        assert caught.value.counts == {"depot_crate": (1, 1)}
        assert content(depot)["depot_crate"] != []

    def test_a_schema_that_has_changed_is_looked_at_again(self, depot: str) -> None:
        plan = MigrationService(depot).plan_reset()
        migrate(depot, "depot", "0002")

        with unchanged(depot), pytest.raises(SchemaChanged):
            MigrationService(depot).reset(plan, confirm=plan.database, backup=None)

    def test_a_table_that_was_made_meanwhile(self, depot: str) -> None:
        plan = MigrationService(depot).plan_reset()
        execute(
            depot,
            "CREATE TABLE depot_shelf_head_rows "
            "(moved_at timestamptz, reason text, row_data jsonb)",
        )
        with unchanged(depot), pytest.raises(SchemaChanged):
            MigrationService(depot).reset(plan, confirm=plan.database, backup=None)
