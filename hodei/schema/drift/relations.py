"""Pure: what is true of a table or view as a whole, and what acts on it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from hodei.schema.catalog.model import Policy, Relation, Trigger
from hodei.schema.drift import statements as sql
from hodei.schema.drift.canonical import Canonical, canonical, same
from hodei.schema.drift.matching import Matched, match
from hodei.schema.drift.wording import found
from hodei.schema.results import Finding, FindingKind


def whole_relation(expected: Relation, actual: Relation) -> Iterator[Finding]:
    name = actual.name
    if expected.unlogged != actual.unlogged:
        yield found(
            FindingKind.UNLOGGED,
            table=name,
            expected="UNLOGGED" if expected.unlogged else "LOGGED",
            actual="UNLOGGED" if actual.unlogged else "LOGGED",
            repair=(sql.alter(actual, f"SET {'UNLOGGED' if expected.unlogged else 'LOGGED'}"),),
            remark="" if expected.unlogged else "After a crash it is empty.",
        )
    for part, words in (
        ("row_security", ("ENABLE", "DISABLE", "")),
        ("force_row_security", ("FORCE", "NO FORCE", "forced ")),
    ):
        wanted, has = getattr(expected, part), getattr(actual, part)
        if wanted != has:
            action = f"{words[0] if wanted else words[1]} ROW LEVEL SECURITY"
            yield found(
                FindingKind.ROW_SECURITY,
                table=name,
                expected=f"{words[2]}{'on' if wanted else 'off'}",
                actual=f"{words[2]}{'on' if has else 'off'}",
                repair=(sql.alter(actual, action),),
            )
    if expected.options != actual.options:
        yield found(
            FindingKind.STORAGE_PARAMETERS,
            table=name,
            expected=", ".join(expected.options) or None,
            actual=", ".join(actual.options) or None,
            repair=tuple(_set_options(expected, actual)),
        )
    if expected.replica_identity != actual.replica_identity and actual.holds_rows:
        yield found(
            FindingKind.CHANGED_TABLE,
            table=name,
            expected=f"REPLICA IDENTITY {expected.replica_identity}",
            actual=f"REPLICA IDENTITY {actual.replica_identity}",
            repair=(sql.alter(actual, f"REPLICA IDENTITY {expected.replica_identity}"),),
        )
    if not same(_place(expected), _place(actual)):
        yield found(
            FindingKind.CHANGED_TABLE,
            table=name,
            expected=_place(expected),
            actual=_place(actual),
            repair=tuple(_move(expected, actual)),
        )
    if not same(expected.definition, actual.definition):
        anew = (*sql.drop_relation(actual), *sql.create_relation(expected))
        yield found(
            FindingKind.CHANGED_VIEW,
            table=name,
            expected=expected.definition,
            actual=actual.definition,
            repair=anew,
        )


def _set_options(expected: Relation, actual: Relation) -> Iterator[str]:
    wanted = {option.partition("=")[0] for option in expected.options}
    gone = [o.partition("=")[0] for o in actual.options if o.partition("=")[0] not in wanted]
    if gone:
        yield sql.alter(actual, f"RESET ({', '.join(gone)})")
    if expected.options:
        yield sql.alter(actual, f"SET ({', '.join(expected.options)})")


def _place(relation: Relation) -> str:
    if relation.parent is not None:
        return f"partition of {relation.parent} {relation.bound}"
    if relation.partition_key is not None:
        return f"partitioned by {relation.partition_key}"
    return "a table of its own"


def _move(expected: Relation, actual: Relation) -> Iterator[str]:
    """Attach and detach; nothing makes a table partitioned that is not."""
    this = sql.quoted(actual.name)
    if expected.partition_key != actual.partition_key:
        return
    if actual.parent is not None:
        yield f"ALTER TABLE {sql.quoted(actual.parent)} DETACH PARTITION {this}"
    if expected.parent is not None:
        parent = sql.quoted(expected.parent)
        yield f"ALTER TABLE {parent} ATTACH PARTITION {this} {expected.bound}"


def comments(expected: Relation, actual: Relation) -> Iterator[Finding]:
    if expected.comment != actual.comment:
        yield found(
            FindingKind.COMMENT,
            table=actual.name,
            expected=expected.comment,
            actual=actual.comment,
            repair=(sql.comment_on_relation(actual, expected.comment),),
        )
    there = {column.name: column for column in actual.columns}
    for column in expected.columns:
        has = there.get(column.name)
        if has is not None and has.comment != column.comment:
            target = f"COLUMN {sql.quoted(actual.name)}.{sql.quoted(column.name)}"
            yield found(
                FindingKind.COMMENT,
                table=actual.name,
                object=column.name,
                expected=column.comment,
                actual=has.comment,
                repair=(sql.comment(target, column.comment),),
            )


def _matched_triggers(expected: Relation, actual: Relation) -> Matched[Trigger]:
    def meaning(trigger: Trigger) -> Canonical:
        return canonical(trigger.definition.replace(f" {trigger.name} ", " ", 1))

    return match(expected.triggers, actual.triggers, meaning)


def unexpected_triggers(expected: Relation, actual: Relation) -> Iterator[Finding]:
    for trigger in _matched_triggers(expected, actual).unexpected:
        yield found(
            FindingKind.UNEXPECTED_TRIGGER,
            table=actual.name,
            object=trigger.name,
            actual=trigger.definition,
            repair=(_drop_trigger(actual, trigger.name),),
        )


def triggers(expected: Relation, actual: Relation) -> Iterator[Finding]:
    matched = _matched_triggers(expected, actual)
    for trigger in matched.missing:
        yield found(
            FindingKind.MISSING_TRIGGER,
            table=actual.name,
            object=trigger.name,
            expected=trigger.definition,
            repair=sql.create_trigger(actual, trigger),
        )
    for wanted, has in matched.renamed:
        rename = (
            f"ALTER TRIGGER {sql.quoted(has.name)} ON {sql.quoted(actual.name)} "
            f"RENAME TO {sql.quoted(wanted.name)}"
        )
        yield found(
            FindingKind.RENAMED,
            table=actual.name,
            object=has.name,
            expected=wanted.name,
            actual=has.name,
            repair=(rename,),
        )
    for wanted, has in (*matched.same_name, *matched.renamed):
        yield from _trigger_differences(actual, wanted, has)


def _trigger_differences(actual: Relation, wanted: Trigger, has: Trigger) -> Iterator[Finding]:
    if wanted.name == has.name and not same(wanted.definition, has.definition):
        yield found(
            FindingKind.CHANGED_TRIGGER,
            table=actual.name,
            object=wanted.name,
            expected=wanted.definition,
            actual=has.definition,
            repair=(_drop_trigger(actual, wanted.name), *sql.create_trigger(actual, wanted)),
        )
    if wanted.enabled != has.enabled:
        yield found(
            FindingKind.DISABLED_TRIGGER,
            table=actual.name,
            object=wanted.name,
            expected=wanted.enabled,
            actual=has.enabled,
            repair=(sql.alter(actual, f"{wanted.enabled} TRIGGER {sql.quoted(wanted.name)}"),),
        )
    if wanted.comment != has.comment:
        target = f"TRIGGER {sql.quoted(wanted.name)} ON {sql.quoted(actual.name)}"
        yield found(
            FindingKind.COMMENT,
            table=actual.name,
            object=wanted.name,
            expected=wanted.comment,
            actual=has.comment,
            repair=(sql.comment(target, wanted.comment),),
        )


def _drop_trigger(relation: Relation, name: str) -> str:
    return f"DROP TRIGGER {sql.quoted(name)} ON {sql.quoted(relation.name)}"


def _matched_policies(expected: Relation, actual: Relation) -> Matched[Policy]:
    return match(expected.policies, actual.policies, _policy_meaning)


def _policy_meaning(policy: Policy) -> Hashable:
    texts = canonical(policy.using or ""), canonical(policy.check or "")
    return policy.command, policy.permissive, policy.roles, texts


def _drop_policy(relation: Relation, name: str) -> str:
    return f"DROP POLICY {sql.quoted(name)} ON {sql.quoted(relation.name)}"


def unexpected_policies(expected: Relation, actual: Relation) -> Iterator[Finding]:
    for policy in _matched_policies(expected, actual).unexpected:
        yield found(
            FindingKind.UNEXPECTED_POLICY,
            table=actual.name,
            object=policy.name,
            actual=sql.create_policy(actual, policy),
            repair=(_drop_policy(actual, policy.name),),
        )


def policies(expected: Relation, actual: Relation) -> Iterator[Finding]:
    matched = _matched_policies(expected, actual)
    for policy in matched.missing:
        yield found(
            FindingKind.MISSING_POLICY,
            table=actual.name,
            object=policy.name,
            expected=sql.create_policy(actual, policy),
            repair=(sql.create_policy(actual, policy),),
        )
    for wanted, has in matched.renamed:
        rename = (
            f"ALTER POLICY {sql.quoted(has.name)} ON {sql.quoted(actual.name)} "
            f"RENAME TO {sql.quoted(wanted.name)}"
        )
        yield found(
            FindingKind.RENAMED,
            table=actual.name,
            object=has.name,
            expected=wanted.name,
            actual=has.name,
            repair=(rename,),
        )
    for wanted, has in matched.same_name:
        if _policy_meaning(wanted) != _policy_meaning(has):
            yield found(
                FindingKind.CHANGED_POLICY,
                table=actual.name,
                object=wanted.name,
                expected=sql.create_policy(actual, wanted),
                actual=sql.create_policy(actual, has),
                repair=(_drop_policy(actual, has.name), sql.create_policy(actual, wanted)),
            )
