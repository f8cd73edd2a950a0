from __future__ import annotations

import dataclasses
import json

import pytest

from hodei.schema import drift
from hodei.schema.catalog.model import (
    Catalog,
    Column,
    Constraint,
    Index,
    IndexKey,
    Relation,
    Sequence,
)
from hodei.schema.drift.canonical import same
from hodei.schema.results import FindingKind, Severity

ID = Column(name="id", type="bigint", nullable=False)
NAME = Column(name="name", type="text", nullable=True)


def table(name: str, *columns: Column, **parts: object) -> Relation:
    return Relation(name=name, kind="table", columns=columns or (ID,), **parts)  # type: ignore[arg-type]


def catalog(*relations: Relation, sequences: tuple[Sequence, ...] = ()) -> Catalog:
    return Catalog(
        server=15,
        relations={relation.name: relation for relation in relations},
        sequences={sequence.name: sequence for sequence in sequences},
    )


def index(name: str, *columns: str) -> Index:
    return Index(
        name=name,
        definition=f"CREATE INDEX {name} ON shop USING btree ({', '.join(columns)})",
        method="btree",
        unique=False,
        keys=tuple(IndexKey(text=column) for column in columns),
    )


def serial(table_name: str, name: str = "numbers") -> Sequence:
    return Sequence(
        name=name,
        type="bigint",
        increment=1,
        minimum=1,
        maximum=9,
        cycle=False,
        owned_by=(table_name, "id"),
    )


class TestSameness:
    def test_order_of_columns(self) -> None:
        one, other = catalog(table("shop", ID, NAME)), catalog(table("shop", NAME, ID))

        assert drift.compare(one, other) == []

    def test_serial_and_identity(self) -> None:
        numbered = dataclasses.replace(ID, default="nextval('numbers'::regclass)")
        identity = dataclasses.replace(ID, identity="BY DEFAULT")
        expected = catalog(table("shop", identity), sequences=(serial("shop"),))
        actual = catalog(table("shop", numbered), sequences=(serial("shop"),))

        assert drift.compare(expected, actual) == []
        assert drift.compare(actual, expected) == []

    def test_a_table_of_bookkeeping(self) -> None:
        theirs = catalog(table("shop"), table("django_migrations"), table("schema_migration_runs"))

        assert drift.compare(catalog(table("shop")), theirs) == []

    def test_a_table_that_is_accounted_for(self) -> None:
        theirs = catalog(table("shop"), table("legacy"))

        assert drift.compare(catalog(table("shop")), theirs, known={"legacy"}) == []

    @pytest.mark.parametrize(
        ("one", "other", "expected"),
        [
            (
                "state::text = ANY (ARRAY['A'::character varying, 'B'::character varying]::text[])",
                "state::text = ANY (ARRAY['A'::character varying::text, 'B'::text])",
                True,
            ),
            ("note = 'a'", "note  =  'a'", True),
            ("note = 'a'::text", "note = 'a'::citext", False),
            ("note = 'a'", "note = 'A'", False),
            ('"Note" IS NULL', "note IS NULL", False),
            ("amount = '5'::integer", "amount = '5'::bigint", False),
            ("state::text = 'a'", "state = 'a'", False),
            (None, None, True),
            (None, "a", False),
        ],
    )
    def test_texts(self, one: str | None, other: str | None, expected: bool) -> None:
        assert same(one, other) is expected


class TestNames:
    def test_another_name_is_a_rename(self) -> None:
        expected = catalog(table("shop", ID, NAME, indexes=(index("shop_name_1a2b", "name"),)))
        actual = catalog(table("shop", ID, NAME, indexes=(index("shop_name_3c4d", "name"),)))

        (finding,) = drift.compare(expected, actual)

        assert (finding.kind, finding.severity) == (FindingKind.RENAMED, Severity.INFO)
        assert finding.repair == ('ALTER INDEX "shop_name_3c4d" RENAME TO "shop_name_1a2b"',)

    def test_a_second_copy_is_unexpected_and_says_of_what(self) -> None:
        both = (index("shop_name", "name"), index("shop_name_ccnew", "name"))
        expected = catalog(table("shop", ID, NAME, indexes=both[:1]))

        (finding,) = drift.compare(expected, catalog(table("shop", ID, NAME, indexes=both)))

        assert (finding.kind, finding.subject) == (
            FindingKind.UNEXPECTED_INDEX,
            "shop.shop_name_ccnew",
        )
        assert finding.message.endswith("It does what shop_name does.")

    def test_names_are_quoted_in_repairs(self) -> None:
        expected = catalog(
            table('odd "table"', ID, Column(name="o'clock", type="text", nullable=True))
        )

        (finding,) = drift.compare(expected, catalog(table('odd "table"')))

        assert finding.repair == ('ALTER TABLE "odd ""table""" ADD COLUMN "o\'clock" text',)


class TestOrder:
    def test_what_is_used_is_repaired_before_what_uses_it(self) -> None:
        key = Constraint(name="pk", type="p", definition="PRIMARY KEY (id)", columns=("id",))
        to_town = Constraint(
            name="fk",
            type="f",
            definition="FOREIGN KEY (id) REFERENCES town(id)",
            columns=("id",),
            target="town",
            target_columns=("id",),
        )
        expected = catalog(
            table("shop", ID, NAME, constraints=(to_town,), indexes=(index("i", "name"),)),
            table("town", constraints=(key,)),
        )

        found = [one.kind for one in drift.compare(expected, catalog(table("shop", ID)))]

        assert found == [
            FindingKind.MISSING_TABLE,
            FindingKind.MISSING_COLUMN,
            FindingKind.MISSING_INDEX,
            FindingKind.MISSING_FOREIGN_KEY,
        ]


class TestArchive:
    def test_says_what_it_keeps(self) -> None:
        actual = catalog(table("shop"), table("shop_head_rows"))

        (finding,) = drift.compare(catalog(table("shop")), actual)

        assert finding.severity is Severity.WARNING
        assert "moved out of shop" in finding.message


class TestCatalogAsJson:
    def test_comes_back_as_it_was(self) -> None:
        whole = catalog(
            table("shop", ID, NAME, indexes=(index("i", "name"),), options=("fillfactor=80",)),
            sequences=(serial("shop"),),
        )

        text = json.dumps(whole.to_json())

        assert Catalog.from_json(json.loads(text)) == whole

    def test_tells_of_no_roles_unless_it_is_asked_to(self) -> None:
        owned = catalog(table("shop", owner="somebody", privileges=("PUBLIC=SELECT",)))

        assert "somebody" not in json.dumps(owned.to_json())
        assert Catalog.from_json(owned.to_json(rights=True)) == owned
