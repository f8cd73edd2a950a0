"""Pure: the definition of a column, and what adding it to a table with rows costs."""

from __future__ import annotations

from hodei.schema.plan.actions import Action, Does, Lock
from hodei.schema.plan.locks import LockMode
from hodei.schema.plan.reading import Name, Reader
from hodei.schema.plan.tokens import Kind, Token

_ENDS_TYPE = (
    *("constraint", "not", "null", "default", "generated", "unique", "primary", "check"),
    *("references", "collate", "storage", "compression", "using", "deferrable", "initially"),
)
_SERIAL = ("serial", "bigserial", "smallserial", "serial4", "serial8", "serial2")
#: Functions one meets in defaults that give one value for all rows of a statement.
_STEADY = frozenset(
    {
        *("now", "current_timestamp", "transaction_timestamp", "statement_timestamp"),
        *("localtimestamp", "current_date", "current_time", "localtime", "current_user"),
        *("session_user", "current_schema", "current_setting", "timezone", "date_trunc"),
        *("to_timestamp", "jsonb_build_object", "jsonb_build_array", "make_interval"),
        *("coalesce", "lower", "upper", "md5", "array", "cast", "concat", "length", "tsrange"),
        *("tstzrange", "daterange", "int4range", "int8range", "numrange", "to_tsvector"),
        # Types with a length, in a cast.
        *("varchar", "char", "character", "numeric", "decimal", "varying", "bit"),
        *("timestamp", "timestamptz", "time", "interval"),
    }
)
_VOLATILE = frozenset(
    {
        *("random", "clock_timestamp", "timeofday", "nextval", "setval", "gen_random_uuid"),
        *("uuid_generate_v1", "uuid_generate_v4", "uuidv4", "uuidv7", "txid_current"),
    }
)


def type_text(reader: Reader) -> str:
    """Step over a type and return it: ``character varying(40)[]``."""
    taken: list[Token] = []
    depth = 0
    while (token := reader.next) is not None:
        if token.kind is Kind.SIGN:
            depth += {"(": 1, ")": -1}.get(token.text, 0)
        if depth == 0 and token.is_word(*_ENDS_TYPE):
            break
        taken.append(token)
        reader.skip()
    text = ""
    for token in taken:
        glue = token.kind is Kind.SIGN or (text and text[-1] in "(,.[")
        text += ("" if glue or not text else " ") + token.text
    return text


def new_column(table: Name, reader: Reader) -> tuple[list[Lock], list[Action]]:
    """Read a column's name and definition: locks on other tables, and what is done to this one."""
    column = reader.word() or ""
    kind = type_text(reader)
    actions = [Action(does=Does.ADD_COLUMN, table=table, column=column, detail=kind)]

    def does(what: Does, detail: str, target: Name | None = None) -> None:
        actions.append(Action(does=what, table=table, column=column, detail=detail, target=target))

    actions.extend(_rewrites(table, column, kind, reader))
    if reader.has("unique") or reader.has("primary key"):
        does(Does.BUILD_INDEX, column)
    if reader.has("check"):
        does(Does.SCAN, f"the check of {column}")
    locks = []
    target_reader = Reader(reader.rest)
    if target_reader.seek("references") and (target := target_reader.name()) is not None:
        locks.append(Lock(relation=target, mode=LockMode.SHARE_ROW_EXCLUSIVE))
        does(Does.ADD_FOREIGN_KEY, _constraint_name(reader), target)
        # A column that is NULL in every row needs no check.
        if reader.has("default") or reader.has("generated"):
            does(Does.SCAN, f"the foreign key of {column}", target)
    return locks, actions


def _rewrites(table: Name, column: str, kind: str, reader: Reader) -> list[Action]:
    """What makes PostgreSQL write every row, or nothing."""

    def action(what: Does, detail: str) -> list[Action]:
        return [Action(does=what, table=table, column=column, detail=detail)]

    if kind in _SERIAL:
        return action(Does.REWRITE, f"a new {kind} column")
    if reader.has("as identity"):
        return action(Does.REWRITE, "a new identity column")
    if reader.has("stored"):
        return action(Does.REWRITE, "a new stored generated column")
    function = _function_in_default(reader)
    if function is None:
        return []
    name, is_volatile = function
    if is_volatile:
        return action(Does.REWRITE, f"a default that differs by row, {name}()")
    return action(Does.MAY_REWRITE, name)


def _constraint_name(reader: Reader) -> str:
    copy = Reader(reader.rest)
    return (copy.word() or "") if copy.seek("constraint") else ""


def _function_in_default(reader: Reader) -> tuple[str, bool] | None:
    """The first function in the DEFAULT that is not known to be steady, and whether it is known to
    be volatile; None where the default is the same for all rows."""
    copy = Reader(reader.rest)
    if not copy.seek("default"):
        return None
    found = None
    expression = copy.rest
    depth = 0
    for token, following in zip(expression, [*expression[1:], None], strict=True):
        if token.kind is Kind.SIGN:
            depth += {"(": 1, ")": -1}.get(token.text, 0)
        if depth == 0 and token.is_word(*_ENDS_TYPE):
            break
        if token.is_name and following is not None and following.is_sign("("):
            name = token.text
            if name in _VOLATILE:
                return name, True
            if name not in _STEADY and found is None:
                found = name, False
    return found
