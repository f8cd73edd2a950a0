"""What others do while it is adopted."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from hodei.schema.adoption import service
from hodei.schema.adoption.survey import survey
from hodei.schema.history import read_runs
from hodei.schema.run.failures import MigrationBlocked
from hodei.schema.stakes import TablesBusy
from tests.schema.test_adopt.kit import execute, recorded, traces


class TestOthersInTheTables:
    def test_name_who_is_in_the_way(
        self, homestead: str, another: psycopg.Connection[Any], settings: Any
    ) -> None:
        settings.HODEI_SCHEMA_LOCK_TIMEOUT = 0.1
        execute(homestead, "DROP INDEX plots_size_idx")
        before = traces(homestead)
        plan = survey(homestead).plan
        another.execute("BEGIN; UPDATE plots SET size = 3 WHERE id = 1")

        with pytest.raises(TablesBusy) as caught:
            service.adopt(homestead, plan, lock_retries=0)

        assert caught.value.exit_code == 4
        assert f"pid {another.info.backend_pid} (somebody else, " in str(caught.value)
        another.execute("ROLLBACK")
        assert [one for one in traces(homestead) if one in before] == before
        assert not {name for name in recorded(homestead) if name.startswith("homestead")}
        (run,) = read_runs(homestead, app="homestead")
        assert (run.event, run.outcome) == ("adopt", "failed")

    def test_a_reader_is_told_of_too(
        self, homestead: str, another: psycopg.Connection[Any], settings: Any
    ) -> None:
        settings.HODEI_SCHEMA_LOCK_TIMEOUT = 0.1
        execute(homestead, "ALTER TABLE plots ALTER size DROP DEFAULT")
        plan = survey(homestead).plan
        another.execute("BEGIN; SELECT * FROM plots")

        with pytest.raises(MigrationBlocked) as caught:
            service.adopt(homestead, plan, lock_retries=0)

        assert caught.value.exit_code == 4
        another.execute("ROLLBACK")

    def test_it_is_tried_again(
        self,
        homestead: str,
        another: psycopg.Connection[Any],
        settings: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        settings.HODEI_SCHEMA_LOCK_TIMEOUT = 0.1
        execute(homestead, "DROP INDEX plots_size_idx")
        plan = survey(homestead).plan
        another.execute("BEGIN; UPDATE plots SET size = 3 WHERE id = 1")
        waits: list[float] = []

        def wait(seconds: float) -> None:
            waits.append(seconds)
            another.execute("COMMIT")

        monkeypatch.setattr("hodei.schema.adoption.transaction.time.sleep", wait)

        assert service.adopt(homestead, plan).is_valid

        assert len(waits) == 1
        outcomes = [run.outcome for run in read_runs(homestead, app="homestead")]
        assert outcomes == ["ok", "ok", "adopted", "adopted", "failed"]


class TestChangedMeanwhile:
    def test_it_is_not_done_but_shown_anew(self, homestead: str) -> None:
        plan = survey(homestead).plan
        execute(homestead, "DROP INDEX plots_size_idx")
        before = traces(homestead)

        with pytest.raises(service.PlanChanged) as caught:
            service.adopt(homestead, plan)

        assert caught.value.exit_code == 1
        assert traces(homestead) == before

    def test_also_at_the_last_moment(
        self, homestead: str, another: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plan = survey(homestead).plan
        carry_out = service.AdoptionTransaction.carry_out

        def late(self: Any, *, retries: int) -> None:
            another.execute("DROP INDEX plots_size_idx")
            carry_out(self, retries=retries)

        monkeypatch.setattr(service.AdoptionTransaction, "carry_out", late)

        with pytest.raises(service.PlanChanged):
            service.adopt(homestead, plan)

        assert not {name for name in recorded(homestead) if name.startswith("homestead")}

    def test_new_rows_are_treated_as_the_old_ones(self, homestead: str) -> None:
        execute(homestead, "ALTER TABLE fences ALTER length DROP NOT NULL")
        plan = survey(homestead).plan
        execute(homestead, "UPDATE fences SET length = NULL WHERE id = 1")

        assert service.adopt(homestead, plan).is_valid

        assert execute(homestead, "SELECT length FROM fences WHERE id = 1") == [(0,)]
