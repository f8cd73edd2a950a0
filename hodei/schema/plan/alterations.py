"""Pure: what each form of ALTER TABLE does, and the lock it needs.

Source: the manual's page on ALTER TABLE, which names the lock of each form where it is not ACCESS
EXCLUSIVE; the tests hold this file against ``pg_locks``.
"""

from __future__ import annotations

from collections.abc import Callable

from hodei.schema.plan.actions import Action, Analysis, Does, Lock, Reach
from hodei.schema.plan.columns import new_column, type_text
from hodei.schema.plan.locks import LockMode
from hodei.schema.plan.reading import Name, Reader

AE, SRE, SUE = (
    LockMode.ACCESS_EXCLUSIVE,
    LockMode.SHARE_ROW_EXCLUSIVE,
    LockMode.SHARE_UPDATE_EXCLUSIVE,
)

#: Forms that say by their first words all there is to say; the longer before the shorter.
_SIMPLE: tuple[tuple[str, LockMode, Does | None, str], ...] = (
    ("enable row level security", AE, None, ""),
    ("disable row level security", AE, None, ""),
    ("force row level security", AE, None, ""),
    ("no force row level security", AE, None, ""),
    ("enable trigger", SRE, None, ""),
    ("disable trigger", SRE, None, ""),
    ("enable always trigger", SRE, None, ""),
    ("enable replica trigger", SRE, None, ""),
    ("enable rule", AE, None, ""),
    ("disable rule", AE, None, ""),
    ("enable always rule", AE, None, ""),
    ("enable replica rule", AE, None, ""),
    ("cluster on", SUE, None, ""),
    ("set without cluster", SUE, None, ""),
    ("set without oids", AE, None, ""),
    ("set logged", AE, Does.REWRITE, "SET LOGGED"),
    ("set unlogged", AE, Does.REWRITE, "SET UNLOGGED"),
    ("set tablespace", AE, Does.REWRITE, "SET TABLESPACE"),
    ("set access method", AE, Does.REWRITE, "SET ACCESS METHOD"),
    ("set schema", AE, None, ""),
    ("rename constraint", AE, None, ""),
    ("replica identity", AE, None, ""),
    ("owner to", AE, None, ""),
    ("alter constraint", AE, None, ""),
    ("not of", AE, None, ""),
    ("of", AE, None, ""),
)
_COLUMN: tuple[tuple[str, LockMode, Does | None, str], ...] = (
    ("set statistics", SUE, None, ""),
    ("reset", SUE, None, ""),
    ("set storage", AE, None, ""),
    ("set compression", AE, None, ""),
    ("set default", AE, None, ""),
    ("drop default", AE, None, ""),
    ("set not null", AE, Does.SET_NOT_NULL, ""),
    ("drop not null", AE, None, ""),
    ("set expression", AE, Does.REWRITE, "a new generated expression"),
    ("drop expression", AE, None, ""),
    ("add generated", AE, None, ""),
    ("set generated", AE, None, ""),
    ("set increment", AE, None, ""),
    ("set start", AE, None, ""),
    ("restart", AE, None, ""),
    ("drop identity", AE, None, ""),
)


def alter_table(reader: Reader) -> Analysis | None:
    """Read what stands behind ALTER TABLE; None where a form is not known."""
    reader.take("if exists")
    reader.take("only")
    table = reader.name()
    if table is None:
        return None
    reader.sign("*")
    locks: list[Lock] = []
    actions: list[Action] = []
    strongest: LockMode | None = None
    concurrent = False
    for part in reader.parts():
        concurrent = concurrent or part.has("concurrently")
        found = _form(table, part)
        if found is None:
            return None
        mode, others, done = found
        if strongest is None or mode.strength > strongest.strength:
            strongest = mode
        locks.extend(others)
        actions.extend(done)
    if strongest is None:
        return None
    own = Lock(relation=table, mode=strongest)
    return Analysis(locks=(own, *locks), actions=tuple(actions), is_concurrent=concurrent)


_Form = tuple[LockMode, list[Lock], list[Action]]


def _form(table: Name, part: Reader) -> _Form | None:
    for words, mode, does, detail in _SIMPLE:
        if part.take(words):
            done = [Action(does=does, table=table, detail=detail)] if does else []
            return mode, [], done
    for words, read in _FORMS:
        if part.take(words):
            return read(table, part)
    return None


def _inherit(_table: Name, part: Reader) -> _Form | None:
    parent = part.name()
    return (AE, [Lock(relation=parent, mode=SUE)], []) if parent else None


def _storage(_table: Name, part: Reader) -> _Form | None:
    """Storage parameters need little, but for the one that changes what a table is."""
    if not part.sign("("):
        return None
    is_special = any(token.is_word("user_catalog_table") for token in part.rest)
    return AE if is_special else SUE, [], []


def _add(table: Name, part: Reader) -> _Form | None:
    is_named = part.take("constraint")
    name = (part.word() or "") if is_named else ""
    not_valid = part.has("not valid")
    if part.take("check"):
        return AE, [], [_check(table, part, name, not_valid=not_valid)]
    if part.take("not null"):
        does = Does.ADD_CHECK_NOT_VALID if not_valid else Does.SET_NOT_NULL
        return AE, [], [Action(does=does, table=table, column=part.word(), detail=name)]
    if part.take("foreign key"):
        return _add_foreign_key(table, part, name, not_valid=not_valid)
    if part.take_any("unique", "primary key", "exclude"):
        builds = Action(does=Does.BUILD_INDEX, table=table, detail=name)
        return AE, [], [] if part.has("using index") else [builds]
    part.take("column")
    part.take("if not exists")
    return None if is_named else (AE, *new_column(table, part))


def _add_foreign_key(table: Name, part: Reader, name: str, *, not_valid: bool) -> _Form | None:
    if not part.seek("references") or (target := part.name()) is None:
        return None
    done = [Action(does=Does.ADD_FOREIGN_KEY, table=table, detail=name, target=target)]
    if not not_valid:
        detail = f"the foreign key {name}".strip()
        done.append(Action(does=Does.SCAN, table=table, detail=detail, target=target))
    return SRE, [Lock(relation=target, mode=SRE)], done


def _check(table: Name, part: Reader, name: str, *, not_valid: bool) -> Action:
    tokens = [token for token in part.rest if token.text not in {"(", ")"}]
    column = None
    if [token.text for token in tokens[1:4]] == ["is", "not", "null"] and (
        len(tokens) == 4 or tokens[4].is_word("not", "no")
    ):
        column = tokens[0].text
    does = Does.ADD_CHECK_NOT_VALID if not_valid else Does.ADD_CHECK
    return Action(does=does, table=table, column=column, detail=name)


def _drop(table: Name, part: Reader) -> _Form | None:
    if part.take("constraint"):
        part.take("if exists")
        name = part.word()
        if name is None:
            return None
        lock = Lock(relation=table, mode=AE, reach=Reach.TARGET_OF_CONSTRAINT, part=name)
        return AE, [lock], [Action(does=Does.DROP_CONSTRAINT, table=table, detail=name)]
    part.take("column")
    part.take("if exists")
    column = part.word()
    if column is None:
        return None
    locks = [Lock(relation=table, mode=AE, reach=Reach.TARGETS_OF_COLUMN, part=column)]
    if part.take("cascade"):
        locks.append(Lock(relation=table, mode=AE, reach=Reach.REFERRERS_TO_COLUMN, part=column))
    return AE, locks, [Action(does=Does.DROP_COLUMN, table=table, column=column)]


def _alter_column(table: Name, part: Reader) -> _Form | None:
    part.take("column")
    column = part.word()
    if column is None:
        return None
    for words, mode, does, detail in _COLUMN:
        if part.take(words):
            done = [Action(does=does, table=table, column=column, detail=detail)] if does else []
            return mode, [], done
    if part.take("set data type") or part.take("type"):
        # The foreign keys on both of its sides are made anew.
        locks = [
            Lock(relation=table, mode=AE, reach=reach, part=column)
            for reach in (Reach.TARGETS_OF_COLUMN, Reach.REFERRERS_TO_COLUMN)
        ]
        kind = type_text(part)
        return AE, locks, [Action(does=Does.CHANGE_TYPE, table=table, column=column, detail=kind)]
    if part.take("set"):  # ( attribute = value )
        return SUE, [], []
    return None


def _validate(table: Name, part: Reader) -> _Form | None:
    name = part.word()
    if name is None:
        return None
    lock = Lock(
        relation=table,
        mode=LockMode.ROW_SHARE,
        reach=Reach.TARGET_OF_CONSTRAINT,
        part=name,
    )
    return SUE, [lock], [Action(does=Does.VALIDATE, table=table, detail=name)]


def _rename(table: Name, part: Reader) -> _Form | None:
    if part.take("to"):
        new = part.word() or ""
        return AE, [], [Action(does=Does.RENAME_TABLE, table=table, detail=new)]
    part.take("column")
    column = part.word()
    if column is None or not part.take("to"):
        return None
    new = part.word() or ""
    return AE, [], [Action(does=Does.RENAME_COLUMN, table=table, column=column, detail=new)]


#: The other forms: tried in this order, and read on from behind these words.
_FORMS: tuple[tuple[str, Callable[[Name, Reader], _Form | None]], ...] = (
    ("add", _add),
    ("drop", _drop),
    ("alter", _alter_column),
    ("validate constraint", _validate),
    ("rename", _rename),
    ("inherit", _inherit),
    ("no inherit", _inherit),
    ("set", _storage),
    ("reset", _storage),
)
