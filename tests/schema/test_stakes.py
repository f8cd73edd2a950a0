from __future__ import annotations

from typing import Any

import psycopg
import pytest
from django.db import connections
from django.db.transaction import atomic

from hodei.schema.stakes import TablesBusy, contents_of, lock_tables, sessions_in


@pytest.fixture
def other(database: dict[str, Any]) -> Any:
    """A session of somebody else's."""
    with psycopg.connect(
        host=database["HOST"],
        port=database["PORT"],
        user=database["USER"],
        dbname=database["NAME"],
        password=database["PASSWORD"],
        application_name="somebody else",
        autocommit=True,
    ) as session:
        yield session


@pytest.fixture
def tables(scratch: str) -> str:
    with connections[scratch].cursor() as cursor:
        cursor.execute('CREATE TABLE "Odd name" (id int); CREATE TABLE plain (id int)')
        cursor.execute("INSERT INTO plain SELECT generate_series(1, 3)")
    return scratch


class TestLockTables:
    def test_others_read_and_do_not_write(self, tables: str, other: Any) -> None:
        other.execute("SET lock_timeout = '100ms'")
        with atomic(tables):
            lock_tables(connections[tables], ["plain", "Odd name"])

            assert other.execute("SELECT count(*) FROM plain").fetchone() == (3,)
            with pytest.raises(psycopg.errors.LockNotAvailable):
                other.execute("INSERT INTO plain VALUES (4)")
        other.execute("INSERT INTO plain VALUES (4)")

    def test_names_who_is_in_the_way(self, tables: str, other: Any) -> None:
        with connections[tables].cursor() as cursor:
            cursor.execute("SET lock_timeout = '100ms'")
        other.execute("BEGIN; INSERT INTO plain VALUES (4)")

        with pytest.raises(TablesBusy) as caught, atomic(tables):
            lock_tables(connections[tables], ["plain"])

        assert caught.value.exit_code == 4
        assert [session.pid for session in caught.value.sessions] == [other.info.backend_pid]
        assert f"pid {other.info.backend_pid} (somebody else, " in str(caught.value)
        assert "INSERT INTO plain VALUES (4)" in str(caught.value)

    def test_of_no_table_it_does_nothing(self, tables: str) -> None:
        lock_tables(connections[tables], [])


class TestContents:
    def test_rows_are_counted(self, tables: str) -> None:
        found = contents_of(connections[tables], ["plain", "Odd name"])

        assert {table: content.rows for table, content in found.items()} == {
            "plain": 3,
            "Odd name": 0,
        }

    @pytest.mark.parametrize(
        "sql",
        [
            "UPDATE plain SET id = id",
            "INSERT INTO plain VALUES (4)",
            "DELETE FROM plain WHERE id = 1",
            "DELETE FROM plain WHERE id = 1; INSERT INTO plain VALUES (1)",
            "TRUNCATE plain; INSERT INTO plain SELECT generate_series(1, 3)",
        ],
    )
    def test_whatever_is_written_makes_another_one(self, tables: str, other: Any, sql: str) -> None:
        before = contents_of(connections[tables], ["plain"])
        other.execute(sql)

        assert contents_of(connections[tables], ["plain"]) != before

    def test_what_is_not_kept_and_what_is_only_moved_does_not(
        self, tables: str, other: Any
    ) -> None:
        other.execute(
            "INSERT INTO plain SELECT generate_series(4, 9); DELETE FROM plain WHERE id = 2"
        )
        before = contents_of(connections[tables], ["plain"])
        other.execute("BEGIN; UPDATE plain SET id = 0; ROLLBACK")
        other.execute("BEGIN; SELECT FROM plain FOR UPDATE; COMMIT")
        other.execute("VACUUM FREEZE plain")
        other.execute("VACUUM FULL plain")

        assert contents_of(connections[tables], ["plain"]) == before


class TestSessions:
    def test_one_that_only_reads_is_seen(self, tables: str, other: Any) -> None:
        other.execute("BEGIN; SELECT FROM plain")
        with connections[tables].cursor() as cursor:
            (session,) = sessions_in(cursor, ["plain"])

        assert (session.application, session.state) == ("somebody else", "idle in transaction")

    def test_one_that_is_elsewhere_is_not(self, tables: str, other: Any) -> None:
        other.execute('BEGIN; SELECT FROM "Odd name"')
        with connections[tables].cursor() as cursor:
            assert sessions_in(cursor, ["plain"]) == []
