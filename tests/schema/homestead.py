"""The other program, whose tables ``homestead`` may be asked to adopt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

#: As another program made them, by hand: no default, a key in SQL, names of its own.
PLOTS = """
CREATE TABLE plots (
    id bigserial PRIMARY KEY, name varchar(20) NOT NULL, kind varchar(20) NOT NULL DEFAULT 'FIELD',
    size integer DEFAULT 1, CONSTRAINT plots_name_key UNIQUE (name),
    CONSTRAINT plots_kind_check CHECK (kind IN ('FIELD', 'WOOD')));
CREATE INDEX plots_size_idx ON plots (size);
COMMENT ON COLUMN plots.name IS 'As on the map';
INSERT INTO plots (name, kind) SELECT 'plot ' || n, 'WOOD' FROM generate_series(1, 5) n;
"""
FENCES = """
CREATE TABLE fences (
    id bigserial PRIMARY KEY,
    plot_id bigint NOT NULL REFERENCES plots (id) DEFERRABLE INITIALLY DEFERRED,
    length integer NOT NULL);
INSERT INTO fences (plot_id, length) SELECT id, 10 FROM plots;
"""


@contextmanager
def session(database: dict[str, Any]) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(
        dbname=database["NAME"],
        host=database["HOST"],
        port=database["PORT"],
        user=database["USER"],
        password=database["PASSWORD"],
        application_name="somebody else",
        autocommit=True,
    ) as connection:
        yield connection
