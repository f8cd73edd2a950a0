from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
from django.db import connections
from django.db.migrations import RunPython, RunSQL
from django.db.models.signals import post_migrate, pre_migrate

from hodei.schema import MigrationFailed, MigrationService, signals
from hodei.schema.history import ROLLED_BACK, read_runs
from hodei.schema.rollback.guards import Irreversible
from hodei.schema.rollback.service import go_back
from hodei.schema.rollback.targets import After
from tests.schema.test_rollback.kit import catalog, outcomes, rows
from tests.schema.vineyard import Applied, migrate, run, session_on


class TestAllOrNothing:
    def test_the_steps_are_undone_and_recorded(self, vineyard: str) -> None:
        before = catalog(vineyard)

        results = MigrationService(vineyard).rollback_to("vineyard", "0002")

        order = [
            *("0006_pour", "0005_plant", "0004_wide"),
            *("0002_shelf", "0001_initial", "0003_columns"),
        ]
        assert [one.name for one in results] == order
        assert outcomes(vineyard) == [(name, "ok") for name in order]
        assert {one.command for one in read_runs(vineyard, limit=6)} == {
            "rollback_to vineyard 0002"
        }
        for one in read_runs(vineyard, limit=6):
            assert (one.reason, one.duration_ms is None, one.error) == (None, False, None)
        assert len({one.batch for one in read_runs(vineyard, limit=6)}) == 1
        found = rows(vineyard, "SELECT name FROM django_migrations WHERE app = 'vineyard'")
        assert found == [("0001_initial",), ("0002_press",)]
        migrate(vineyard)
        assert catalog(vineyard) == before

    def test_a_step_that_fails_in_the_middle_leaves_everything(
        self, vineyard: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("VINEYARD_PRESS", "SELECT 1 / 0")
        before = catalog(vineyard), rows(vineyard, "SELECT * FROM django_migrations ORDER BY id")

        with pytest.raises(MigrationFailed, match="division by zero") as caught:
            MigrationService(vineyard).rollback_to("vineyard", "0001")

        assert caught.value.exit_code == 5
        assert "Undone in this run before it, and kept: 0." in str(caught.value)
        assert [one.name for one in caught.value.results] == ["0002_press"]
        after = catalog(vineyard), rows(vineyard, "SELECT * FROM django_migrations ORDER BY id")
        assert after == before
        told = {one.name: one.error for one in read_runs(vineyard, failed_only=True)}
        assert told.pop("0002_press") != ROLLED_BACK
        assert set(told.values()) == {ROLLED_BACK}
        assert len(told) == 6

    def test_an_irreversible_one_in_the_middle_touches_nothing(self, applied: Applied) -> None:
        alias = applied("oneway")
        before = catalog(alias)

        with pytest.raises(Irreversible):
            MigrationService(alias).rollback_to("oneway", "zero", allow_data_loss=True)

        assert catalog(alias) == before
        assert outcomes(alias) == []

    def test_a_step_that_is_not_atomic_makes_them_go_one_by_one(
        self, applied: Applied, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        alias = applied("harbour")
        first = import_module("tests.schema.apps.harbour.migrations.0001_initial")
        monkeypatch.setattr(
            first.Migration,
            "operations",
            [*first.Migration.operations, RunSQL("SELECT 1", "SELECT 1 / 0")],
        )

        with pytest.raises(MigrationFailed, match="kept: 2") as caught:
            MigrationService(alias).rollback_to("harbour", "zero")

        assert [one.success for one in caught.value.results] == [True, True, False]
        assert rows(alias, "SELECT name FROM django_migrations WHERE app = 'harbour'") == [
            ("0001_initial",)
        ]
        assert outcomes(alias) == [
            ("0003_depth", "ok"),
            ("0002_index", "ok"),
            ("0001_initial", "failed"),
        ]

    def test_what_one_step_leaves_to_check_is_checked_before_the_next(
        self, vineyard: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A deferred key with something to check refuses the DDL of a later step."""
        run(vineyard, "INSERT INTO vineyard_plant (id, name) VALUES (7, 'x')")
        monkeypatch.setenv("VINEYARD_POUR", "INSERT INTO cellar_cask (vine_id) VALUES (7)")

        MigrationService(vineyard).rollback_to("vineyard", "zero", allow_data_loss=True)

        assert rows(vineyard, "SELECT to_regclass('cellar_cask')") == [(None,)]

    def test_a_key_that_breaks_is_the_failure_of_its_step(
        self, vineyard: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("VINEYARD_POUR", "INSERT INTO cellar_cask (vine_id) VALUES (7)")

        with pytest.raises(MigrationFailed, match=r"0006_pour .*SQLSTATE 23503"):
            MigrationService(vineyard).rollback_to("vineyard", "0004")

    def test_the_state_of_a_step_is_what_is_left_when_it_is_undone(
        self, applied: Applied, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Django's own order would give it a column that is gone already."""
        alias = applied("vineyard", "cellar")
        seen = []

        def look(apps: Any, schema_editor: Any) -> None:
            seen.append([field.name for field in apps.get_model("vineyard", "Vine")._meta.fields])

        shelf = import_module("tests.schema.apps.cellar.migrations.0002_shelf")
        monkeypatch.setattr(
            shelf.Migration,
            "operations",
            [*shelf.Migration.operations, RunPython(RunPython.noop, look)],
        )

        go_back(alias, After("vineyard", "0002"), command="test")

        # 0005_plant calls it title, and was undone before.
        assert seen == [["id", "name", "label", "age"]]


class TestSignals:
    def test_those_of_django_are_sent_around_it(self, vineyard: str) -> None:
        heard = []

        def hear(signal: Any, plan: Any, using: str, apps: Any, **_: Any) -> None:
            names = [(migration.name, backwards) for migration, backwards in plan]
            has_table = "cellar_shelf" in connections[using].introspection.table_names()
            models = {model._meta.model_name for model in apps.get_models()}
            heard.append((signal, names, using, has_table, "shelf" in models))

        # Django sends them for apps with models; those of the others are in their migrations only.
        for signal_ in (pre_migrate, post_migrate):
            signal_.connect(hear, sender=_config("contenttypes"))
        MigrationService(vineyard).rollback_to("cellar", "0001")

        plan = [("0002_shelf", True)]
        assert heard == [
            (pre_migrate, plan, vineyard, True, True),
            (post_migrate, plan, vineyard, False, False),
        ]

    def test_of_several_in_one_transaction_they_come_after_the_commit(
        self, vineyard: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        heard: list[tuple[str, bool]] = []

        def finished(result: Any, using: str, **_: Any) -> None:
            with session_on(using) as session:
                gone = session.execute("SELECT to_regclass('cellar_shelf') IS NULL").fetchone() == (
                    True,
                )
            heard.append((result.name, gone))

        signals.migration_finished.connect(finished)
        MigrationService(vineyard).rollback_to("cellar", "zero")
        assert heard == [("0002_shelf", True), ("0001_initial", True)]

        heard.clear()
        monkeypatch.setenv("VINEYARD_PRESS", "SELECT 1 / 0")
        with pytest.raises(MigrationFailed):
            MigrationService(vineyard).rollback_to("vineyard", "0001")
        assert heard == []


def _config(label: str) -> Any:
    from django.apps import apps

    return apps.get_app_config(label)
