"""What the commands have in common: their options, their output and their ends."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError
from django.core.management.color import no_style
from django.db import DEFAULT_DB_ALIAS, Error, connections

from hodei.schema.connection import require_postgresql, words_of
from hodei.schema.errors import SchemaError
from hodei.schema.management.output import StreamCommand, write_no_more
from hodei.schema.suggestions import not_found
from hodei.values import shown, unstorable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from django.core.management.base import CommandParser
    from django.core.management.color import Style

FINE = 0
FOUND = 1
MISUSE = 2
UNVERIFIED = 3
#: As a shell has it of a program that SIGINT ended, or SIGPIPE.
INTERRUPTED, NOBODY_READS = 130, 141


@contextmanager
def quiet_ends() -> Iterator[None]:
    """Inside the block Ctrl-C, and a reader that has gone, end the command without a traceback."""
    try:
        yield
    except BrokenPipeError:
        write_no_more()
        sys.exit(NOBODY_READS)
    except KeyboardInterrupt:
        raise CommandError("Interrupted.", returncode=INTERRUPTED) from None


class DatabaseCommand(StreamCommand):
    """Acts on one database: what it was asked for on stdout, everything else on stderr.

    Exit codes: 0 fine, 1 found something or refused, 2 misuse or configuration, 3 could not verify,
    or not print, 130 ended by Ctrl-C, 141 nobody reads what it prints any more (``| head``).
    An error is one line, never a traceback, unless ``--traceback`` is given.
    """

    # An operator asks about a database; the models may be broken, and checking them takes longer.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--database",
            default=DEFAULT_DB_ALIAS,
            metavar="ALIAS",
            help=(
                "The database: a name in the DATABASES setting "
                f"({', '.join(connections).replace('%', '%%')}). Without it: {DEFAULT_DB_ALIAS}."
            ),
        )

    def print_json(self, document: object) -> None:
        self.stdout.write(json.dumps(document, indent=2))

    def report(self, **options: Any) -> int:
        """Do it, print what there is to say, and return the exit code."""
        raise NotImplementedError("A command defines report().")

    def handle(self, *_args: object, **options: Any) -> None:
        database = options["database"]
        if database not in connections.settings:
            raise CommandError(
                not_found("database", database, list(connections.settings)), returncode=MISUSE
            )
        _check_texts(options)
        try:
            with quiet_ends():
                require_postgresql(database)
                code = self.report(**options)
                self.stdout.flush()
        except SchemaError as error:
            raise CommandError(str(error), returncode=error.exit_code) from error
        except Error as error:
            raise CommandError(words_of(error, database), returncode=UNVERIFIED) from error
        if code:
            sys.exit(code)

    def colours(self, **options: Any) -> Style:
        """The command's colours where they are wanted: on a terminal, or by ``--force-color``."""
        return self.style if self.stdout.isatty() or options.get("force_color") else no_style()


def _check_texts(options: Mapping[str, Any]) -> None:
    """Raise CommandError for words that are no text: arguments may be any bytes."""
    for name, given in options.items():
        for one in given if isinstance(given, list | tuple) else [given]:
            wrong = unstorable(one) if isinstance(one, str) else None
            if wrong is not None:
                option = f"--{name.replace('_', '-')}"
                raise CommandError(f"{option} is {shown(one)}; it {wrong}.", returncode=MISUSE)


class ReportCommand(DatabaseCommand):
    """Reads a database and reports, as a table or for a program."""

    formats: tuple[str, ...] = ("table", "json")

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--format",
            default="table",
            choices=self.formats,
            help=(
                "How to print: a table to read (this is the default), or JSON for a script, "
                "whose keys are documented and stay."
                if "table" in self.formats
                else "How to print; there is one way."
            ),
        )


class ActionCommand(DatabaseCommand):
    """Changes a database, after it has shown what would go; ``--dry-run`` only shows."""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--dry-run", action="store_true", help="Show what would be done, and do none of it."
        )

    def ask(self, question: str, *, instead: str) -> str:
        """Return what a person answers. Without a terminal there is nobody to ask: then it raises
        CommandError, whose text ends with ``instead``, the option that answers beforehand."""
        if not sys.stdin or not sys.stdin.isatty():
            raise CommandError(
                f"Nothing was changed: there is no terminal to ask on. {instead}", returncode=MISUSE
            )
        self.stderr.write(question, ending=" ")
        self.stderr.flush()
        try:
            return input().strip()
        except (EOFError, KeyboardInterrupt):
            raise CommandError("Nothing was changed.", returncode=FOUND) from None


class PlanCommand(ActionCommand):
    """An action whose ``--dry-run`` speaks to programs, too."""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--format",
            default="table",
            choices=("table", "json"),
            help=(
                "How --dry-run prints: to read (this is the default), or JSON for a script, whose "
                "keys are documented and stay."
            ),
        )

    def handle(self, *args: object, **options: Any) -> None:
        if options["format"] == "json" and not options["dry_run"]:
            raise CommandError(
                "--format json prints what would be done, and does nothing: add --dry-run.",
                returncode=MISUSE,
            )
        super().handle(*args, **options)
