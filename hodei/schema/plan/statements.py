"""Pure: what a statement does to which table, and the lock that it takes, from its text alone.

Sources: the manual's chapter "Explicit Locking" and the pages of the commands; the tests take each
lock on a real server and hold this file against ``pg_locks``. Left out are locks on catalogs, on
indexes, and those that foreign keys and triggers take row by row, which keep nobody from reading or
writing. What is not understood is said to be unknown, and never guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hodei.schema.plan.actions import UNKNOWN, Action, Analysis, Does, Lock, Reach
from hodei.schema.plan.alterations import alter_table
from hodei.schema.plan.locks import LockMode
from hodei.schema.plan.reading import Name, Reader
from hodei.schema.plan.rows import WRITES, Read, query, reads

NOTHING = Analysis()
AE = LockMode.ACCESS_EXCLUSIVE

#: No table is locked that anybody else uses; each stands for every statement that begins so.
_HARMLESS = (
    *("set", "reset", "show", "begin", "start", "commit", "end", "rollback", "savepoint"),
    *("release", "discard", "listen", "notify", "unlisten", "deallocate", "grant", "revoke"),
    *("create extension", "create type", "create domain", "create function", "create schema"),
    *("create or replace function", "create procedure", "create or replace procedure"),
    *("create aggregate", "create or replace aggregate", "create cast", "create collation"),
    *("create operator", "create role", "create user", "create sequence", "create publication"),
    *("create text search", "create event trigger", "create temporary sequence"),
    *("create temp sequence", "create database", "create server", "create foreign data wrapper"),
    *("alter function", "alter procedure", "alter type", "alter schema", "alter extension"),
    *("alter role", "alter database", "alter system", "alter default privileges", "alter index"),
    *("alter collation", "alter sequence", "alter operator", "alter event trigger"),
    *("drop function", "drop procedure", "drop aggregate", "drop cast", "drop collation"),
    *("drop operator", "drop role", "drop user", "drop sequence", "drop event trigger"),
    *("drop text search", "drop publication", "drop server", "checkpoint", "load"),
    *("drop schema", "drop type", "drop domain", "drop extension", "drop owned"),
    *("comment on schema", "comment on function", "comment on type", "comment on index"),
    *("comment on extension", "comment on sequence", "comment on database", "comment on role"),
    *("comment on domain", "comment on collation", "comment on procedure"),
)
#: Locks the table named after ON.
_BY_ON = (
    ("create trigger", LockMode.SHARE_ROW_EXCLUSIVE),
    ("create constraint trigger", LockMode.SHARE_ROW_EXCLUSIVE),
    ("create or replace trigger", LockMode.SHARE_ROW_EXCLUSIVE),
    ("drop trigger", AE),
    ("alter trigger", AE),
    ("create policy", AE),
    ("alter policy", AE),
    ("drop policy", AE),
    ("drop rule", AE),
    ("comment on constraint", LockMode.ACCESS_SHARE),
    ("comment on trigger", LockMode.ACCESS_SHARE),
    ("comment on policy", LockMode.ACCESS_SHARE),
    ("comment on rule", LockMode.ACCESS_SHARE),
)
#: Locks the relations that follow at once.
_BY_LIST = (
    ("comment on table", LockMode.SHARE_UPDATE_EXCLUSIVE, None),
    ("comment on view", LockMode.SHARE_UPDATE_EXCLUSIVE, None),
    ("comment on materialized view", LockMode.SHARE_UPDATE_EXCLUSIVE, None),
    ("drop view", AE, None),
    ("drop materialized view", AE, None),
    ("alter view", AE, None),
    ("alter materialized view", AE, None),
    ("vacuum full", AE, Does.REWRITE),
    ("vacuum", LockMode.SHARE_UPDATE_EXCLUSIVE, None),
    ("analyze", LockMode.SHARE_UPDATE_EXCLUSIVE, None),
    ("cluster", AE, Does.REWRITE),
    ("refresh materialized view concurrently", LockMode.EXCLUSIVE, None),
    ("refresh materialized view", AE, None),
)


def analyse(statement: str) -> Analysis:
    """Say what one statement does. Two statements in one text count as unknown."""
    reader = Reader.of(statement)
    if reader.next is None:
        return NOTHING
    for words, read in _GRAMMAR:
        if reader.take(words):
            found = read(reader) or UNKNOWN
            return _with_cascade(found, statement)
    if reader.take_any(*_HARMLESS):
        return _with_cascade(NOTHING, statement)
    return UNKNOWN


def _with_cascade(found: Analysis, statement: str) -> Analysis:
    """DROP ... CASCADE takes what depends on it along, whatever that is. Where a loss is told
    anyway that goes without saying, the more so as Django drops every table so."""
    reader = Reader.of(statement)
    drops = reader.take("drop") or (reader.take("alter") and reader.has("drop"))
    if not drops or found.actions or not reader.has("cascade") or not found.is_known:
        return found
    return Analysis(
        is_known=bool(found.locks),
        locks=found.locks,
        actions=(*found.actions, Action(does=Does.LOSE, detail="whatever depends on it (CASCADE)")),
        is_concurrent=found.is_concurrent,
    )


def _one(mode: LockMode, *actions: Does) -> Callable[[Reader], Analysis | None]:
    """A reader of ``name [, ...]`` that locks each relation so."""

    def read(reader: Reader) -> Analysis | None:
        reader.take("if exists")
        names = reader.names()
        return Analysis(
            locks=tuple(Lock(relation=name, mode=mode) for name in names),
            actions=tuple(
                Action(does=does, table=name, detail="it copies the table")
                for name in names
                for does in actions
            ),
        )

    return read


def _on(mode: LockMode) -> Callable[[Reader], Analysis | None]:
    """A reader of ``... ON table ...``."""

    def read(reader: Reader) -> Analysis | None:
        if not reader.seek("on"):
            return None
        name = reader.name()
        return Analysis(locks=(Lock(relation=name, mode=mode),)) if name else None

    return read


def _create_table(reader: Reader) -> Analysis | None:
    reader.take("if not exists")
    table = reader.name()
    if table is None:
        return None
    actions = [Action(does=Does.CREATE_TABLE, table=table)]
    locks = []
    if reader.take("partition of"):
        parent = reader.name()
        if parent is None:
            return None
        locks.append(Lock(relation=parent, mode=AE))
    for constraint, target in _references(reader):
        if target != table:
            locks.append(Lock(relation=target, mode=LockMode.SHARE_ROW_EXCLUSIVE))
        actions.append(
            Action(does=Does.ADD_FOREIGN_KEY, table=table, detail=constraint, target=target)
        )
    if reader.seek("inherits") and reader.sign("("):
        locks.extend(
            Lock(relation=name, mode=LockMode.SHARE_UPDATE_EXCLUSIVE) for name in reader.names()
        )
    elif reader.seek("as"):
        locks.extend(reads(reader.rest))
    return Analysis(locks=tuple(locks), actions=tuple(actions))


def _references(reader: Reader) -> Iterator[tuple[str, Name]]:
    """The foreign keys in the definition of a table: name, if it has one, and target."""
    everything = Reader(reader.rest)
    constraint = ""
    while everything.next is not None:
        if everything.take("constraint"):
            constraint = everything.word() or ""
        elif everything.take("references"):
            target = everything.name()
            if target is not None:
                yield constraint, target
            constraint = ""
        else:
            everything.skip()


def _drop_table(reader: Reader) -> Analysis | None:
    reader.take("if exists")
    names = reader.names()
    cascade = reader.has("cascade")
    locks = []
    for name in names:
        locks.append(Lock(relation=name, mode=AE))
        locks.append(Lock(relation=name, mode=AE, reach=Reach.TARGETS_OF_TABLE))
        if cascade:
            locks.append(Lock(relation=name, mode=AE, reach=Reach.REFERRERS))
    return Analysis(
        locks=tuple(locks),
        actions=tuple(Action(does=Does.DROP_TABLE, table=name) for name in names),
    )


def _truncate(reader: Reader) -> Analysis | None:
    reader.take("table")
    names = reader.names()
    locks = [Lock(relation=name, mode=AE) for name in names]
    if reader.has("cascade"):
        locks.extend(Lock(relation=name, mode=AE, reach=Reach.REFERRERS) for name in names)
    return Analysis(
        locks=tuple(locks),
        actions=tuple(Action(does=Does.LOSE, table=name, detail="all its rows") for name in names),
    )


def _create_index(reader: Reader) -> Analysis | None:
    concurrent = reader.take("concurrently")
    reader.take("if not exists")
    index = ""
    if not reader.take("on"):
        index = reader.word() or ""
        if not reader.take("on"):
            return None
    reader.take("only")
    table = reader.name()
    if table is None:
        return None
    mode = LockMode.SHARE_UPDATE_EXCLUSIVE if concurrent else LockMode.SHARE
    return Analysis(
        locks=(Lock(relation=table, mode=mode),),
        actions=(Action(does=Does.BUILD_INDEX, table=table, detail=index),),
        is_concurrent=concurrent,
    )


def _drop_index(reader: Reader) -> Analysis | None:
    concurrent = reader.take("concurrently")
    reader.take("if exists")
    names = reader.names()
    mode = LockMode.SHARE_UPDATE_EXCLUSIVE if concurrent else AE
    return Analysis(
        locks=tuple(Lock(relation=n, mode=mode, reach=Reach.TABLE_OF_INDEX) for n in names),
        actions=tuple(Action(does=Does.DROP_INDEX, detail=name.name) for name in names),
        is_concurrent=concurrent,
    )


def _reindex(reader: Reader) -> Analysis | None:
    what = reader.take_any("index", "table")
    if what is None:
        return None
    concurrent = reader.take("concurrently")
    name = reader.name()
    if name is None:
        return None
    mode = LockMode.SHARE_UPDATE_EXCLUSIVE if concurrent else LockMode.SHARE
    reach = Reach.TABLE_OF_INDEX if what == "index" else Reach.ITSELF
    done = Action(does=Does.BUILD_INDEX, table=name if what == "table" else None, detail=name.name)
    return Analysis(
        locks=(Lock(relation=name, mode=mode, reach=reach),),
        actions=(done,),
        is_concurrent=concurrent,
    )


def _comment_on_column(reader: Reader) -> Analysis | None:
    path = reader.path()
    if len(path) < 2:
        return None
    table = Name(path[-3] if len(path) > 2 else None, path[-2])
    return Analysis(locks=(Lock(relation=table, mode=LockMode.SHARE_UPDATE_EXCLUSIVE),))


def _create_statistics(reader: Reader) -> Analysis | None:
    if not reader.seek("from") or (table := reader.name()) is None:
        return None
    return Analysis(locks=(Lock(relation=table, mode=LockMode.SHARE_UPDATE_EXCLUSIVE),))


def _view(reader: Reader) -> Analysis | None:
    return Analysis(locks=tuple(reads(reader.rest)))


def _create_rule(reader: Reader) -> Analysis | None:
    if not reader.seek("to") or (table := reader.name()) is None:
        return None
    return Analysis(locks=(Lock(relation=table, mode=AE),))


def _lock(reader: Reader) -> Analysis | None:
    reader.take("table")
    names = reader.names()
    mode = AE
    if reader.take("in"):
        words = []
        while (word := reader.word()) not in {None, "mode"}:
            words.append(str(word).upper())
        mode = LockMode(" ".join(words))
    return Analysis(locks=tuple(Lock(relation=name, mode=mode) for name in names))


def _copy(reader: Reader) -> Analysis | None:
    table = reader.name()
    if table is None:  # COPY (query) TO
        return Analysis(locks=tuple(reads(reader.rest)))
    writes = reader.has("from")
    mode = LockMode.ROW_EXCLUSIVE if writes else LockMode.ACCESS_SHARE
    return Analysis(locks=(Lock(relation=table, mode=mode),))


def _partition(reader: Reader) -> Analysis | None:
    """A reader of ALTER TABLE parent ATTACH or DETACH PARTITION child."""
    reader.take("if exists")
    parent = reader.name()
    attaches = reader.take("attach partition")
    if parent is None or not (attaches or reader.take("detach partition")):
        return None
    child = reader.name()
    if child is None:
        return None
    concurrent = reader.has("concurrently")
    gentle = attaches or concurrent
    mode = LockMode.SHARE_UPDATE_EXCLUSIVE if gentle else AE
    scan = Action(does=Does.SCAN, table=child, detail="the partition's bounds")
    return Analysis(
        locks=(Lock(relation=parent, mode=mode), Lock(relation=child, mode=AE)),
        actions=(scan,) if attaches else (),
        is_concurrent=concurrent,
    )


def _alter_table(reader: Reader) -> Analysis | None:
    return _partition(Reader(reader.rest)) or alter_table(reader)


#: By the first words; the first that fits reads on.
_GRAMMAR: tuple[tuple[str, Read], ...] = (
    ("alter table", _alter_table),
    ("create index", _create_index),
    ("create unique index", _create_index),
    ("create table", _create_table),
    ("create unlogged table", _create_table),
    ("create temporary table", _create_table),
    ("create temp table", _create_table),
    ("create view", _view),
    ("create or replace view", _view),
    ("create materialized view", _view),
    ("create statistics", _create_statistics),
    ("create rule", _create_rule),
    ("create or replace rule", _create_rule),
    ("drop table", _drop_table),
    ("drop index", _drop_index),
    ("truncate", _truncate),
    ("reindex", _reindex),
    ("comment on column", _comment_on_column),
    ("lock", _lock),
    ("copy", _copy),
    ("select", query),
    ("with", query),
    *WRITES,
    *((words, _on(mode)) for words, mode in _BY_ON),
    *((words, _one(mode, *([does] if does else []))) for words, mode, does in _BY_LIST),
)
