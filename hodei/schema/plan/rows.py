"""Pure: the statements that read and write rows, and the tables that they name."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from hodei.schema.plan.actions import Action, Analysis, Does, Lock
from hodei.schema.plan.locks import LockMode
from hodei.schema.plan.reading import Name, Reader
from hodei.schema.plan.tokens import Kind, Token


def _write(*, loses: bool) -> Callable[[Reader], Analysis | None]:
    """A reader of what stands behind INSERT INTO, UPDATE, DELETE FROM, MERGE INTO."""

    def read(reader: Reader) -> Analysis | None:
        reader.take("only")
        table = reader.name()
        if table is None:
            return None
        which = "some of its rows" if reader.has("where") else "all its rows"
        lost = [Action(does=Does.LOSE, table=table, detail=which)] if loses else []
        own = Lock(relation=table, mode=LockMode.ROW_EXCLUSIVE)
        return Analysis(locks=(own, *reads(reader.rest, table)), actions=tuple(lost))

    return read


def query(reader: Reader) -> Analysis | None:
    """A reader of SELECT and WITH: what is read, and what a WITH writes."""
    locks: list[Lock] = []
    actions: list[Action] = []
    rest = reader.rest
    for place in range(len(rest)):
        inner = Reader(rest[place:])
        begins = place == 0 or rest[place - 1].text in {"(", ")"}
        if not begins:
            continue
        for words, read in WRITES:
            if inner.take(words):
                found = read(inner)
                if found is not None:
                    locks.append(found.locks[0])
                    actions.extend(found.actions)
                break
    strong = any(
        token.is_word("for") and after.is_word("update", "no", "share", "key")
        for token, after in pairwise(rest)
    )
    mode = LockMode.ROW_SHARE if strong else LockMode.ACCESS_SHARE
    return Analysis(locks=(*locks, *reads(rest, mode=mode)), actions=tuple(actions))


def reads(
    tokens: list[Token], besides: Name | None = None, mode: LockMode = LockMode.ACCESS_SHARE
) -> list[Lock]:
    """What stands behind FROM, JOIN and USING and looks like a table."""
    found: dict[Name, None] = {}
    for place, token in enumerate(tokens):
        if not token.is_word("from", "join", "using"):
            continue
        if place and tokens[place - 1].is_word("distinct"):
            continue
        reader = Reader(tokens[place + 1 :])
        while True:
            reader.take_any("only", "lateral")
            name = reader.name()
            follows = reader.next
            if name is None or (follows and follows.kind is Kind.SIGN and follows.text == "("):
                break
            # A WITH query is named like a table; "name AS (" in front of it says so.
            if name != besides and not (name.schema is None and _is_query(name.name, tokens)):
                found[name] = None
            reader.take("as")
            if follows is not None and follows.is_name and not follows.is_word(*_CLAUSES):
                reader.word()
            if not reader.sign(","):
                break
    return [Lock(relation=name, mode=mode) for name in found]


_CLAUSES = (
    *("where", "join", "left", "right", "full", "inner", "cross", "natural", "on", "using"),
    *("group", "order", "limit", "offset", "union", "except", "intersect", "having", "window"),
    *("for", "fetch", "returning", "when", "set", "as", "tablesample"),
)


def _is_query(name: str, tokens: list[Token]) -> bool:
    return any(
        one.is_name and one.text == name and two.is_word("as") and three.text == "("
        for one, two, three in zip(tokens, tokens[1:], tokens[2:], strict=False)
    )


Read = Callable[[Reader], Analysis | None]
WRITES: tuple[tuple[str, Read], ...] = (
    ("insert into", _write(loses=False)),
    ("update", _write(loses=False)),
    ("delete from", _write(loses=True)),
    ("merge into", _write(loses=False)),
)
