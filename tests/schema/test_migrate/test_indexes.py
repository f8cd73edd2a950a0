from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest
from django.db import connections

from hodei.schema.run.concurrently import IndexStands
from tests.processes import eventually
from tests.schema.test_migrate.kit import Install, migrate, outcomes


class TestIndexes:
    """An index that was to be built CONCURRENTLY, and what an earlier attempt has left."""

    INDEX = "harbour_ship_name_idx"

    @pytest.fixture
    def first(self, scratch: str, install: Install) -> str:
        install("harbour")
        migrate(scratch, "harbour", "0001")
        return scratch

    def execute(self, alias: str, statement: str) -> None:
        with connections[alias].cursor() as cursor:
            cursor.execute(statement)

    def found(self, alias: str) -> tuple[bool, int]:
        with connections[alias].cursor() as cursor:
            cursor.execute(
                "SELECT indisvalid, indexrelid::bigint FROM pg_index WHERE indexrelid = "
                f"'{self.INDEX}'::regclass"
            )
            row: tuple[bool, int] = cursor.fetchone()
        return row

    def test_one_that_is_invalid_is_built_again(self, first: str) -> None:
        self.execute(first, f"CREATE INDEX {self.INDEX} ON harbour_ship (name)")
        self.execute(
            first,
            f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{self.INDEX}'::regclass",
        )

        said = migrate(first, "harbour", "0002")

        assert self.found(first)[0]
        assert "left invalid by a failed build" in said

    def test_one_that_is_as_it_should_be_is_only_recorded(self, first: str) -> None:
        self.execute(first, f"CREATE INDEX {self.INDEX} ON harbour_ship (name)")
        before = self.found(first)

        said = migrate(first, "harbour", "0002")

        assert self.found(first) == before
        assert "it is not rebuilt" in said
        assert outcomes(first, "harbour")[-1] == ("0002_index", "forward", "ok")

    @pytest.mark.parametrize(
        "other", ["(name DESC)", "(dock_id)", "(name) WHERE name <> ''", "(name) INCLUDE (id)"]
    )
    def test_another_one_of_that_name_is_told(self, first: str, other: str) -> None:
        self.execute(first, f"CREATE INDEX {self.INDEX} ON harbour_ship {other}")

        with pytest.raises(IndexStands, match="not as the migration builds it"):
            migrate(first, "harbour", "0002")

        assert outcomes(first, "harbour")[-1] == ("0002_index", "forward", "failed")

    def test_it_waits_for_a_long_transaction_without_limit(
        self, first: str, another: psycopg.Connection[Any], settings: Any
    ) -> None:
        settings.HODEI_SCHEMA_LOCK_TIMEOUT = 0.2
        another.execute("BEGIN; INSERT INTO harbour_ship (name) VALUES ('late')")
        waiting = (
            "SELECT FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND "
            "datname = current_database() AND clock_timestamp() - waitstart > '1 second' AND "
            "query LIKE 'CREATE INDEX CONC%'"
        )

        def end_it() -> None:
            with psycopg.connect(another.info.dsn, autocommit=True) as third:
                assert eventually(lambda: third.execute(waiting).rowcount > 0)
            another.execute("COMMIT")

        thread = threading.Thread(target=end_it)
        thread.start()
        migrate(first, "harbour", "0002")
        thread.join(30)

        assert self.found(first)[0]
