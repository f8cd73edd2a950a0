from __future__ import annotations

from importlib import import_module
from typing import Any

import psycopg
import pytest
from django.db.migrations import RunSQL

from hodei.schema import MigrationService
from hodei.schema.rollback.witness import LostUnseen
from tests.schema.test_rollback.kit import MIGRATIONS, catalog, outcomes, rows
from tests.schema.vineyard import Applied, migrate, run

IN_A_SAVEPOINT = """
SAVEPOINT a; DELETE FROM cellar_cask; TRUNCATE cellar_cask;
INSERT INTO cellar_cask VALUES (1), (2), (3); RELEASE a; INSERT INTO cellar_cask VALUES (4)
"""


REWRITTEN_AND_WRITTEN = """
INSERT INTO cellar_cask VALUES (3); SET CONSTRAINTS ALL IMMEDIATE;
ALTER TABLE cellar_cask ADD noise float DEFAULT random(); INSERT INTO cellar_cask VALUES (4)
"""


class TestWitness:
    """What Python code does on the way back is seen before it is committed."""

    @pytest.mark.parametrize(
        ("sql", "told"),
        [
            ("DELETE FROM cellar_cask", "2 rows of cellar_cask"),
            ("DROP TABLE cellar_shelf", "table cellar_shelf"),
            (
                "ALTER TABLE vineyard_plant DROP COLUMN age",
                "column vineyard_plant.age",
            ),
            ("DO $$ BEGIN DROP TABLE cellar_shelf; END $$", "table cellar_shelf"),
            ("TRUNCATE cellar_cask", "all rows of cellar_cask"),
            ("DO $$ BEGIN TRUNCATE cellar_cask; END $$", "all rows of cellar_cask"),
            (IN_A_SAVEPOINT, "all rows of cellar_cask"),
            (
                "ALTER TABLE cellar_cask ADD noise float DEFAULT random(); TRUNCATE cellar_cask",
                "all rows of cellar_cask",
            ),
        ],
    )
    def test_a_loss_that_nobody_could_see_before(
        self, vineyard: str, monkeypatch: pytest.MonkeyPatch, sql: str, told: str
    ) -> None:
        run(vineyard, "INSERT INTO cellar_cask SELECT generate_series(1, 2)")
        monkeypatch.setenv("VINEYARD_POUR", sql)
        before = catalog(vineyard)

        with pytest.raises(LostUnseen, match=f"could not be seen before: {told}\\."):
            MigrationService(vineyard).rollback_to("vineyard", "0005")

        assert catalog(vineyard) == before
        assert rows(vineyard, "SELECT count(*) FROM cellar_cask") == [(2,)]
        assert outcomes(vineyard) == [("0006_pour", "failed")]
        MigrationService(vineyard).rollback_to("vineyard", "0005", allow_data_loss=True)

    def test_what_it_moves_or_renames_is_not_lost(
        self, vineyard: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(
            "VINEYARD_POUR",
            "ALTER TABLE cellar_shelf RENAME TO cellar_board; "
            "ALTER TABLE cellar_cask RENAME COLUMN vine_id TO plant_id; "
            "CREATE TABLE passing (id int); INSERT INTO passing VALUES (1); DROP TABLE passing",
        )

        MigrationService(vineyard).rollback_to("vineyard", "0005")

        assert outcomes(vineyard) == [("0006_pour", "ok")]

    @pytest.mark.parametrize(
        "sql",
        [
            "TRUNCATE cellar_shelf",
            "SAVEPOINT a; TRUNCATE cellar_cask; ROLLBACK TO a",
            "ALTER TABLE cellar_cask ADD noise float DEFAULT random()",
            REWRITTEN_AND_WRITTEN,
            "ALTER TABLE cellar_shelf ADD noise float DEFAULT random()",
        ],
        ids=[
            "of nothing",
            "taken back",
            "rewritten",
            "rewritten and written",
            "empty and rewritten",
        ],
    )
    def test_a_table_with_another_file_has_not_always_lost_its_rows(
        self, vineyard: str, monkeypatch: pytest.MonkeyPatch, sql: str
    ) -> None:
        run(vineyard, "INSERT INTO cellar_cask SELECT generate_series(1, 2)")
        run(vineyard, "INSERT INTO cellar_shelf DEFAULT VALUES; DELETE FROM cellar_shelf")
        monkeypatch.setenv("VINEYARD_POUR", sql)

        MigrationService(vineyard).rollback_to("vineyard", "0005")

        assert outcomes(vineyard) == [("0006_pour", "ok")]
        assert rows(vineyard, "SELECT count(*) > 1 FROM cellar_cask") == [(True,)]

    def test_a_table_that_somebody_holds_is_not_waited_for(
        self,
        vineyard: str,
        other: psycopg.Connection[Any],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        run(vineyard, "INSERT INTO cellar_cask SELECT generate_series(1, 2)")
        monkeypatch.setenv("VINEYARD_POUR", "TRUNCATE cellar_cask")
        other.execute("BEGIN; LOCK TABLE cellar_shelf")

        with pytest.raises(LostUnseen, match=r"all rows of cellar_cask\."):
            MigrationService(vineyard).rollback_to("vineyard", "0005")

    def test_partitions_go_with_what_they_are_parts_of(
        self, applied: Applied, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        alias = applied("vineyard")
        press = import_module(f"{MIGRATIONS}.0002_press")
        run(
            alias,
            "CREATE TABLE parts (id int, note text) PARTITION BY LIST (id); "
            "CREATE TABLE parts_1 (note text, id int); "
            "ALTER TABLE parts ATTACH PARTITION parts_1 FOR VALUES IN (1)",
        )
        monkeypatch.setattr(
            press.Migration,
            "operations",
            [RunSQL("SELECT 1", "ALTER TABLE parts DROP COLUMN note")],
        )
        MigrationService(alias).rollback_to("vineyard", "0001")
        migrate(alias, "vineyard", "0002")
        monkeypatch.setattr(press.Migration, "operations", [RunSQL("SELECT 1", "DROP TABLE parts")])

        MigrationService(alias).rollback_to("vineyard", "0001")

        assert rows(alias, "SELECT to_regclass('parts_1')") == [(None,)]
