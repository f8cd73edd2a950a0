"""Make the roles of the admin as groups. Exit codes: 0 fine, 1 there are no permissions yet, 2
misuse, 3 the database could not be used.

JSON (``--format json``), one object whose keys stay: see docs/reference/hodei_roles.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from hodei.schema.management.reports import FINE, ActionCommand
from hodei.schema.roles import ROLES, GroupChange, group_name, make_groups
from hodei.values import printable

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

FORMAT_VERSION = 1


class Command(ActionCommand):
    help = (
        f"Make the groups {', '.join(map(group_name, ROLES))}, and give them the permissions of "
        "their roles in the admin. Who is in them, and what they may beside that, is left alone. "
        "Run it again after an upgrade: it adds what is new. Exit codes: 0 fine, 1 the permissions "
        "are not there yet (migrate makes them), 2 misuse, 3 the database could not be used."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--exact",
            action="store_true",
            help="Take away from these groups whatever they may beside their roles.",
        )
        parser.add_argument(
            "--format",
            default="table",
            choices=("table", "json"),
            help="How to print: to read (this is the default), or JSON for a script.",
        )

    def report(self, **options: Any) -> int:
        dry_run, using = options["dry_run"], options["database"]
        changes = make_groups(exact=options["exact"], dry_run=dry_run, using=using)
        if options["format"] == "json":
            self.print_json(
                {
                    "format_version": FORMAT_VERSION,
                    "database": using,
                    "dry_run": dry_run,
                    "groups": [document(change) for change in changes],
                }
            )
            return FINE
        for change in changes:
            for line in words_of(change, dry_run=dry_run):
                self.stdout.write(printable(line))
        if dry_run:
            self.stderr.write("Nothing was changed.")
        return FINE


def document(change: GroupChange) -> dict[str, Any]:
    """One group, as JSON has it."""
    return {
        "group": change.group,
        "is_new": change.is_new,
        "added": list(change.added),
        "removed": list(change.others) if change.removed else [],
        "others": [] if change.removed else list(change.others),
    }


def words_of(change: GroupChange, *, dry_run: bool) -> Iterator[str]:
    """The same for a person."""
    is_to = "would be" if dry_run else "is"
    if change.is_new:
        yield f"{change.group} {is_to} made, with {len(change.added)} permissions."
    elif change.added:
        yield f"{change.group} {is_to} given {_listed(change.added)}."
    if change.others and change.removed:
        yield f"{change.group} {'would lose' if dry_run else 'loses'} {_listed(change.others)}."
    elif change.others:
        yield f"{change.group} keeps {_listed(change.others)}, given by others (see --exact)."
    if not change.changes and not change.others:
        yield f"{change.group} is as it is to be."


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
