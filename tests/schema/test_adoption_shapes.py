from __future__ import annotations

import pytest

from hodei.schema.adoption.shapes import is_wider, reasons
from hodei.schema.catalog.model import Column, Constraint, Relation


class TestShapes:
    """Pure: what a table of a baseline can have become."""

    @pytest.mark.parametrize(
        ("expected", "actual", "fits"),
        [
            ("character varying(20)", "character varying(10)", True),
            ("character varying(10)", "character varying(20)", False),
            ("character varying(10)", "text", False),
            ("text", "character varying(20)", True),
            ("text", "character varying", True),
            ("text", "integer", False),
            ("bigint", "integer", False),
            ("jsonb", "json", False),
        ],
    )
    def test_only_text_that_grows_fits(self, expected: str, actual: str, fits: bool) -> None:
        assert is_wider(expected, actual) is fits

    @pytest.mark.parametrize(
        ("column", "fits"),
        [
            (Column(name="new", type="integer", nullable=True), True),
            (Column(name="new", type="integer", nullable=False), False),
            (Column(name="new", type="integer", nullable=False, default="0"), True),
            (Column(name="new", type="text", nullable=False, default="'a'::text"), True),
            (Column(name="new", type="uuid", nullable=False, default="gen_random_uuid()"), False),
            (Column(name="new", type="uuid", nullable=True, default="gen_random_uuid()"), True),
            (Column(name="new", type="bigint", nullable=False, identity="ALWAYS"), False),
        ],
    )
    def test_a_column_is_added_where_nothing_is_made_up(self, column: Column, fits: bool) -> None:
        key = Constraint(name="t_pkey", type="p", definition="PRIMARY KEY (id)", columns=("id",))
        here = Relation(
            name="t",
            kind="table",
            columns=(Column(name="id", type="bigint", nullable=False),),
            constraints=(key,),
        )
        wanted = Relation(
            name="t", kind="table", columns=(*here.columns, column), constraints=(key,)
        )

        assert (reasons(wanted, here) == []) is fits
