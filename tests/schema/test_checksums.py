from __future__ import annotations

import ast
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hodei.schema.checksums import comparable, fingerprint, tag

SOURCE = '''"""Add a column."""
from django.db import migrations, models


def fill(apps, schema_editor):
    """Fill it."""
    apps.get_model("shop", "Order").objects.update(total=0)


class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]
    operations = [
        migrations.AddField("order", "total", models.IntegerField(default=0)),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.RunSQL("SELECT 'a' FROM shop_order"),
    ]
'''

SAME = {
    "comments": SOURCE.replace("operations =", "# what it does\n    operations ="),
    "the module's docstring": SOURCE.replace("Add a column.", "Add the total of an order."),
    "no docstrings": SOURCE.replace('"""Add a column."""\n', "").replace(
        '    """Fill it."""\n', ""
    ),
    "line ends": SOURCE.replace("\n", "\r\n"),
    "no last line end": SOURCE.rstrip("\n"),
    "quotes": SOURCE.replace('"order"', "'order'"),
    "formatting": SOURCE.replace('("shop", "0001_initial")', '(\n  "shop",\n  "0001_initial",\n)'),
    "a split string": SOURCE.replace("SELECT 'a' FROM", "SELECT 'a' \" \"FROM"),
    "a unicode mark": SOURCE.replace('"order"', 'u"order"'),
    "parentheses": SOURCE.replace("default=0", "default=(0)"),
    "a number's notation": SOURCE.replace("default=0", "default=0x0"),
}
OTHER = {
    "a value": SOURCE.replace("default=0", "default=1"),
    "a value's type": SOURCE.replace("default=0", "default=0.0"),
    "a truth": SOURCE.replace("default=0", "default=False"),
    "a name": SOURCE.replace('"total"', '"sum"'),
    "the SQL": SOURCE.replace("SELECT 'a'", "SELECT 'b'"),
    "spaces in the SQL": SOURCE.replace("'a' FROM", "'a'  FROM"),
    "one operation less": SOURCE.replace(
        "        migrations.RunPython(fill, migrations.RunPython.noop),\n", ""
    ),
    "nesting": SOURCE.replace('[("shop", "0001_initial")]', '[[("shop", "0001_initial")]]'),
    "a statement": SOURCE.replace("    operations =", "    atomic = False\n    operations ="),
    "code in the function": SOURCE.replace("update(total=0)", "update(total=2)"),
}


class TestFingerprint:
    @pytest.mark.parametrize("source", SAME.values(), ids=SAME)
    def test_is_deaf_to_what_does_not_matter(self, source: str) -> None:
        assert source != SOURCE
        assert fingerprint(source) == fingerprint(SOURCE)

    @pytest.mark.parametrize("source", OTHER.values(), ids=OTHER)
    def test_hears_every_edit(self, source: str) -> None:
        assert source != SOURCE
        assert fingerprint(source) != fingerprint(SOURCE)

    def test_names_algorithm_and_python(self) -> None:
        prefix, digest = fingerprint(SOURCE).split(":")

        assert prefix == tag() == f"ast1-3.{sys.version_info.minor}"
        assert len(digest) == 64

    def test_reads_a_sum_that_is_deeper_than_python_calls(self) -> None:
        # 600 nested additions: hashing by recursion would end at about 300.
        long = "sql = " + " + ".join(['"x"'] * 600)

        assert fingerprint(long) != fingerprint(long + ' + "x"')

    def test_refuses_what_is_no_python(self) -> None:
        with pytest.raises(SyntaxError):
            fingerprint("class Migration(")

    @settings(deadline=None)
    @given(
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.text()
            | st.binary()
            | st.floats(allow_nan=False, allow_infinity=False),
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(st.text(), inner, max_size=3)
                | st.tuples(inner, inner)
            ),
            max_leaves=12,
        )
    )
    def test_survives_reformatting_of_any_value(self, value: object) -> None:
        written = f"operations = {value!r}"
        formatted = f'"""Said anew."""\n\n{ast.unparse(ast.parse(written))}  # done\r\n'

        assert fingerprint(formatted) == fingerprint(written)

    @settings(deadline=None)
    @given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
    def test_is_equal_only_for_equal_values(self, one: list[str], other: list[str]) -> None:
        same = fingerprint(f"value = {one!r}") == fingerprint(f"value = {other!r}")

        assert same == (one == other)


class TestComparable:
    def test_only_what_one_python_made(self) -> None:
        assert comparable(fingerprint("a = 1"), fingerprint("a = 2"))
        assert not comparable(fingerprint("a = 1"), "ast1-3.9:" + "0" * 64)
        assert not comparable(fingerprint("a = 1"), "bytes1:" + "0" * 64)
