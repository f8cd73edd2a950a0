"""A reset that fails leaves everything as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.management.base import CommandError

from hodei.schema import MigrationService
from hodei.schema.history import read_runs
from hodei.schema.reset.service import ResetBlocked, ResetFailed
from tests.schema.test_reset.kit import Install, migrate, reset, session, unchanged
from tests.schema.test_reset.test_processes import status


class TestFailure:
    def test_a_migration_that_raises_leaves_everything_as_it_was(
        self, depot: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DEPOT_SQL", "SELECT 1/0")
        plan = MigrationService(depot).plan_reset()
        with unchanged(depot), pytest.raises(ResetFailed) as caught:
            MigrationService(depot).reset(plan, confirm=plan.database, backup=Path("b.dump"))

        assert caught.value.exit_code == 5
        assert "Migration depot.0002_stock failed" in str(caught.value)
        assert "division by zero" in str(caught.value)
        assert "as it was before the reset" in str(caught.value)
        assert Path("b.dump").exists()
        found = read_runs(depot, app="depot")
        assert [(run.name, run.direction.value, run.outcome) for run in found[:5]] == [
            ("0002_stock", "forward", "failed"),
            ("0001_initial", "forward", "failed"),
            ("0001_initial", "backward", "failed"),
            ("0002_stock", "backward", "failed"),
            ("0003_index", "backward", "failed"),
        ]
        assert found[0].sqlstate == "22012"
        assert "Rolled back" in str(found[1].error)
        states = [one.state.value for one in status(depot)]
        assert states == ["applied"] * 3

    def test_python_that_controls_the_transaction_is_stopped(
        self, depot: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DEPOT_SQL", "COMMIT")
        with unchanged(depot), pytest.raises(CommandError, match=r"itself \(COMMIT\)") as caught:
            reset(depot)
        assert caught.value.returncode == 5

    def test_a_lock_that_a_migration_does_not_get(
        self, depot: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DEPOT_SQL", "LOCK TABLE hauler_trip")
        plan = MigrationService(depot).plan_reset()
        with session(depot) as other:
            other.execute("BEGIN; LOCK TABLE hauler_trip IN SHARE MODE")
            with pytest.raises(ResetBlocked) as caught:
                MigrationService(depot).reset(plan, confirm=plan.database, backup=None)
        assert caught.value.exit_code == 4
        assert "depot.0002_stock did not get its locks" in str(caught.value)

    def test_what_cannot_be_replayed_is_told(
        self, alias: str, install: Install, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        install("errand")
        migrate(alias)
        monkeypatch.setenv("ERRAND_SQL", "SELECT no_such_function()")
        with unchanged(alias), pytest.raises(CommandError, match="no_such_function") as caught:
            reset(alias, "errand")
        assert caught.value.returncode == 3
