"""An adoption that fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from hodei.schema.adoption import service
from hodei.schema.adoption.survey import survey
from hodei.schema.adoption.transaction import RepairFailed
from hodei.schema.catalog.model import Relation
from hodei.schema.history import read_runs
from hodei.schema.results import FindingKind
from hodei.schema.run.failures import MigrationFailed
from tests.schema.apps.homestead import adoption
from tests.schema.test_adopt.kit import (
    CASCADE,
    REASONS,
    adopt,
    adopt_the_baselines,
    execute,
    traces,
)


class TestFailure:
    """Of what an app says in its adoption, and of what others do at the wrong moment."""

    @pytest.fixture
    def say(self, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
        """A function that changes what homestead says."""

        def change(**changes: Any) -> None:
            monkeypatch.setattr(adoption, "ADOPTION", replace(adoption.ADOPTION, **changes))

        return change

    def test_of_a_repair_undoes_all(self, homestead: str, say: Callable[..., None]) -> None:
        (rule,) = adoption.ADOPTION.rows
        say(rows=(replace(rule, statements=("UPDATE fences SET length = 1 / 0",)),))
        execute(
            homestead,
            "ALTER TABLE fences ALTER length DROP NOT NULL; UPDATE fences SET length = NULL; "
            "ALTER TABLE plots DROP COLUMN size",
        )
        before = traces(homestead)
        plan = survey(homestead).plan

        with pytest.raises(MigrationFailed, match="division by zero") as caught:
            service.adopt(homestead, plan)

        assert caught.value.exit_code == 5
        assert {one for one in before if one not in traces(homestead)} == set()
        assert "size" not in {row[1] for row in traces(homestead) if row[0] == "plots"}
        (run,) = read_runs(homestead, app="homestead")
        assert (run.outcome, run.sqlstate) == ("failed", "22012")
        assert "have no length" in str(run.operation)

    def test_rows_with_deferred_keys_do_not_hinder_it(
        self, homestead: str, say: Callable[..., None]
    ) -> None:
        (rule,) = adoption.ADOPTION.rows
        adding = "INSERT INTO fences (plot_id, length) SELECT id, 1 FROM plots"
        say(rows=(replace(rule, statements=(*rule.statements, adding)),))
        execute(homestead, "ALTER TABLE fences ALTER length DROP NOT NULL")
        execute(homestead, "UPDATE fences SET length = NULL")

        adopt_the_baselines(homestead)

        assert execute(homestead, "SELECT count(*) FROM fences") == [(10,)]

    def test_a_conversion_that_is_not_what_it_says_is_noticed(
        self, homestead: str, say: Callable[..., None]
    ) -> None:
        (shape,) = adoption.ADOPTION.older_shapes

        def convert(table: Relation) -> tuple[tuple[str, ...], Relation]:
            statements, made = shape.convert(table)
            columns = (
                replace(one, default="1") if one.name == "size" else one for one in made.columns
            )
            return statements, replace(made, columns=tuple(columns))

        say(older_shapes=(replace(shape, convert=convert),))
        execute(
            homestead,
            "ALTER TABLE plots RENAME name TO title; ALTER TABLE plots ALTER size DROP DEFAULT",
        )
        plan = survey(homestead).plan

        with pytest.raises(RepairFailed, match=r"The default of plots\.size is not the") as caught:
            service.adopt(homestead, plan)

        assert caught.value.exit_code == 5
        assert "title" in {row[1] for row in traces(homestead) if row[0] == "plots"}

    def test_rows_that_an_app_wrongly_took_care_of_are_told_at_the_end(
        self, homestead: str, say: Callable[..., None]
    ) -> None:
        execute(homestead, REASONS["1 row of fences point at no row of plots (plot_id)"])
        found = survey(homestead).plan
        assert found is not None
        key = next(
            step.subject
            for step in found.apps[0].steps
            if step.finding and step.finding.kind is FindingKind.MISSING_FOREIGN_KEY
        )
        (rule,) = adoption.ADOPTION.rows
        say(rows=(replace(rule, where="false", covers=frozenset({key})),))

        code, said = adopt(homestead)

        assert code == 1
        assert f"The database is adopted and migrated, but {key} is not valid" in said
        execute(homestead, "DELETE FROM fences WHERE plot_id = 99")
        code, said = adopt(homestead)
        assert code == 0
        assert f"Validated {key}." in said

    def test_a_table_locked_at_the_end_is_told(
        self,
        homestead: str,
        another: psycopg.Connection[Any],
        settings: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        settings.HODEI_SCHEMA_LOCK_TIMEOUT = 0.1
        execute(homestead, CASCADE)
        finish = service._finish

        def late(*words: Any) -> Any:
            another.execute("BEGIN; LOCK TABLE fences IN SHARE MODE")
            return finish(*words)

        monkeypatch.setattr(service, "_finish", late)

        code, said = adopt(homestead)

        another.execute("ROLLBACK")
        assert code == 4
        assert "another session has locked fences" in said
        monkeypatch.undo()
        assert adopt(homestead)[0] == 0
