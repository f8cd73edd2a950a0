"""What squawk says of the SQL, where it is installed: ``pip install 'hodei[lint]'``.

It runs as a process that gets the SQL on its standard input, and neither reaches out nor is
fetched. A ``.squawk.toml`` in the working directory counts, as it does for squawk itself.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hodei.schema.errors import SchemaError
from hodei.schema.plan.collection import PlannedMigration

SECONDS = 60
#: ``migrate`` sets the timeouts, where squawk cannot see it, and Django chooses the types.
NOT_FOR_MIGRATIONS = (
    *("require-lock-timeout", "require-statement-timeout", "prefer-text-field"),
    *("prefer-bigint-over-int", "prefer-bigint-over-smallint", "prefer-identity"),
)


class LintFailed(SchemaError):  # noqa: N818  (it reads as the fact it states)
    """squawk is there and does not work."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class LintFinding:
    """One remark, about the statement of that place in the migration."""

    rule: str
    message: str
    #: What squawk proposes, or None.
    advice: str | None
    #: Counted from 0 over the statements of the migration.
    statement: int


def program() -> Path | None:
    """Where squawk is: beside this Python, or else on the PATH. None where it is not installed."""
    found = shutil.which("squawk", path=sysconfig.get_path("scripts")) or shutil.which("squawk")
    return Path(found) if found else None


def lint(squawk: Path, migration: PlannedMigration, server_version: int) -> list[LintFinding]:
    """Return squawk's remarks on one migration. ``server_version`` is as libpq has it: 150004."""
    statements = [statement.sql for statement in migration.statements]
    if not statements:
        return []
    command = [
        str(squawk),
        *("--reporter", "json", "--exclude", ",".join(NOT_FOR_MIGRATIONS)),
        *("--pg-version", f"{server_version // 10_000}.{server_version % 10_000}"),
    ]
    if migration.atomic:
        command.append("--assume-in-transaction")
    try:
        done = subprocess.run(  # noqa: S603  (the program that the operator installed)
            command,
            input="".join(f"{sql};\n" for sql in statements),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        remarks = json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired, json.JSONDecodeError) as error:
        raise LintFailed(
            f"{squawk} cannot be used: {str(error).rstrip('.')}. Reinstall squawk-cli, or "
            "uninstall it: the plan does without."
        ) from error
    starts = _first_lines(statements)
    found = [
        LintFinding(
            rule=remark["rule_name"],
            message=" ".join(remark["message"].split()),
            advice=" ".join(remark["help"].split()) if remark.get("help") else None,
            statement=max(place for place, line in enumerate(starts) if line <= remark["line"]),
        )
        for remark in remarks
    ]
    # One rule may speak of every column of a statement in the same words.
    return list(dict.fromkeys(found))


def _first_lines(statements: Sequence[str]) -> list[int]:
    """The line, counted from 0, on which each statement begins."""
    lines, at = [], 0
    for sql in statements:
        lines.append(at)
        at += sql.count("\n") + 1
    return lines
