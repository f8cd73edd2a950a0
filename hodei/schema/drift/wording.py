"""Pure: how a difference becomes a finding: its severity, its subject and its sentence."""

from __future__ import annotations

from hodei.schema.results import Finding, FindingKind, Severity

_INFO = frozenset({FindingKind.RENAMED, FindingKind.COMMENT, FindingKind.STORAGE_PARAMETERS})
_WARNING = frozenset({FindingKind.OWNER, FindingKind.PRIVILEGES})

#: What the kinds are called in a sentence, where the words of the kind itself do not do.
_NOUNS = {
    FindingKind.UNLOGGED: "persistence",
    FindingKind.ROW_SECURITY: "row-level security",
    FindingKind.CHANGED_TABLE: "table",
    FindingKind.RENAMED: "name",
    FindingKind.INVALID_INDEX: "index",
    FindingKind.DISABLED_TRIGGER: "trigger's state",
    FindingKind.NOT_VALID: "constraint's validation",
    FindingKind.IDENTITY: "identity",
    FindingKind.GENERATED: "generated expression",
    FindingKind.CHANGED_PRIMARY_KEY: "primary key",
    FindingKind.CHANGED_UNIQUE: "unique constraint",
    FindingKind.CHANGED_EXCLUSION: "exclusion constraint",
    FindingKind.CHANGED_TRIGGER: "trigger",
    FindingKind.CHANGED_POLICY: "policy",
    FindingKind.CHANGED_VIEW: "view",
    FindingKind.CHANGED_SEQUENCE: "sequence",
    FindingKind.CHANGED_TYPE: "type",
}
_LONGEST = 120


def severity_of(kind: FindingKind) -> Severity:
    """Missing or changed is an error; what nobody asked for is a warning."""
    if kind in _INFO:
        return Severity.INFO
    if kind in _WARNING or kind.value.startswith("unexpected_"):
        return Severity.WARNING
    return Severity.ERROR


def found(
    kind: FindingKind,
    *,
    table: str | None = None,
    object: str | None = None,  # noqa: A002  (the word of the report)
    expected: str | None = None,
    actual: str | None = None,
    repair: tuple[str, ...] = (),
    severity: Severity | None = None,
    remark: str = "",
) -> Finding:
    """A finding with its sentence; ``remark`` is a second one."""
    subject = ".".join(part for part in (table, object) if part)
    sentence = _sentence(kind, subject, expected, actual)
    return Finding(
        kind=kind,
        severity=severity or severity_of(kind),
        subject=subject,
        message=f"{sentence} {remark}".rstrip(),
        table=table,
        object=object,
        expected=expected,
        actual=actual,
        repair=repair,
    )


def _sentence(kind: FindingKind, subject: str, expected: str | None, actual: str | None) -> str:
    words = kind.value.replace("_", " ")
    if kind.value.startswith("missing_"):
        return f"{words.removeprefix('missing ').capitalize()} {subject} is missing."
    if kind.value.startswith("unexpected_"):
        noun = words.removeprefix("unexpected ").capitalize()
        return f"{noun} {subject} is there, and no applied migration makes it."
    noun = _NOUNS.get(kind, words)
    return (
        f"The {noun} of {subject} is {_short(actual)}; the migrations make it {_short(expected)}."
    )


def _short(text: str | None) -> str:
    if text is None:
        return "none"
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."
