from __future__ import annotations

import json
import math
import uuid
from typing import Any

import pytest

from hodei.values import DEEPEST, SHOWN, NotJson, depth, identifier, json_text, shown, unstorable
from tests.hostile import KINDS, SECRET, nested

EVERYTHING = [
    pytest.param(value, id=f"{kind}: {name}")
    for kind, values in KINDS.items()
    for name, value in values.items()
]


class TestShown:
    @pytest.mark.parametrize("value", EVERYTHING)
    def test_whatever_it_is_it_is_short_and_tells_no_secret(self, value: Any) -> None:
        text = shown(value)

        assert 0 < len(text) <= SHOWN
        assert SECRET not in text
        text.encode()

    @pytest.mark.parametrize(
        "value", [1, None, True, "a'b", "", [1, [2]], (), (1,), (1, 2), {"a": {"b": [None]}}, 1.5]
    )
    def test_what_is_harmless_is_written_as_python_does(self, value: Any) -> None:
        assert shown(value) == repr(value)

    def test_secrets_at_any_depth(self) -> None:
        assert shown([{"token": "abc", "n": 1}]) == "[{'token': '[redacted]', 'n': 1}]"
        assert shown({"name": "DB_PASSWORD", "value": "x"}).endswith("'value': '[redacted]'}")


class TestJsonText:
    @pytest.mark.parametrize(
        ("value", "words"),
        [
            (math.nan, "cannot be JSON: it holds nan, which JSON does not know."),
            ({"a": nested(500, lambda inner: [inner, -math.inf])}, "it holds -inf, which"),
            ([{1, 2}], "Give dicts, lists, texts, numbers, booleans and None."),
            (nested(50_000), "cannot be JSON: it is nested too deeply."),
            (nested(DEEPEST + 1), "is nested more than 100 levels deep."),
            ({"a\0": 1}, "holds a NUL character, which PostgreSQL cannot store."),
            (["\udc00"], r"holds half a surrogate pair \('\\udc00'\), which is no character."),
            (["x" * 100], "has 104 bytes as JSON; at most 50 are allowed."),
        ],
    )
    def test_says_what_is_wrong(self, value: Any, words: str) -> None:
        with pytest.raises(NotJson, match=words):
            json_text(value, 50 if value == ["x" * 100] else 10**6)

    def test_what_holds_itself_ends(self) -> None:
        value: list[Any] = [math.nan]
        value += [value, value]

        with pytest.raises(NotJson, match="cannot be JSON"):
            json_text(value, 1_000)

    @pytest.mark.parametrize(
        "value",
        [
            "\\u0000",
            {"\\u0000": ["\\\\u0000"]},
            nested(DEEPEST),
            ["[" * 200, "{" * 200, '"[\\"[' * 200],
            {"n": 10**300, "é": "\U0010ffff"},
        ],
    )
    def test_keeps_what_can_be_stored(self, value: Any) -> None:
        assert json.loads(json_text(value, 10**6)) == value


def test_depth_looks_at_brackets_outside_of_texts() -> None:
    assert depth(json.dumps({"[[[[": nested(120)})) == 121
    assert depth(json.dumps(["[" * 1_000])) == 1
    assert depth("[[]]") == 0


def test_what_no_text_column_holds() -> None:
    assert unstorable("a\0") == "holds a NUL character, which PostgreSQL cannot store"
    assert "half a surrogate pair" in (unstorable("a\ud83d") or "")
    assert unstorable("a\x01\U0010ffff\u202e") is None


def test_identifiers() -> None:
    known = uuid.uuid4()

    assert identifier(known) is known
    assert identifier(str(known)) == known
    for value in (None, "", "nonsense", 7, b"x", "\0"):
        assert identifier(value) is None
