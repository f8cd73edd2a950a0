"""Django's ``migrate``, one at a time, within limits and on record.

The same options, the same output and the same signals. Exit codes: 0 fine, 1 refused, 2 misuse or
configuration, 3 the database is out of reach or not writable, 4 a lock was not free in time, 5 a
migration failed. Called from Python it raises what Django raises, and SchemaError for the rest.

With HODEI_SCHEMA_EXTEND_MIGRATE = False the next ``migrate`` of INSTALLED_APPS is used instead.
"""

from __future__ import annotations

import shlex
import sys
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db import Error, connections

from hodei.schema import conf
from hodei.schema.connection import connection_failed
from hodei.schema.errors import SchemaError
from hodei.schema.management.arguments import seconds, whole
from hodei.schema.management.databases import heading
from hodei.schema.run.progress import Lines, Progress, Terminal
from hodei.schema.run.start import migration_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.management.base import CommandParser

    from hodei.schema.run.run import MigrationRun


class Migrate(migrate.Command):
    help = (
        f"{migrate.Command.help} One at a time for each database: a second one waits, then finds "
        "nothing to do. A migration that waits too long for a lock gives way and is tried again. "
        "Every attempt is recorded: see schema_history. Exit codes: 0 fine, 1 refused, 2 misuse "
        "or wrong configuration, 3 the database is out of reach or not writable, 4 a lock was not "
        "free in time, 5 a migration failed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--lock-wait",
            type=seconds(),
            default=conf.LOCK_WAIT_SECONDS,
            metavar="SECONDS",
            help=(
                "How long to wait for another migrate on this database before giving up with "
                f"exit code 4 (default: {conf.LOCK_WAIT_SECONDS:.0f}). 0 waits not at all."
            ),
        )
        parser.add_argument(
            "--lock-retries",
            type=whole("attempts", 0),
            default=conf.LOCK_RETRIES,
            metavar="N",
            help=(
                "How often to try a migration again that could not get its locks in time "
                f"(default: {conf.LOCK_RETRIES}). Only one that runs in a transaction is."
            ),
        )

    def handle(self, *args: Any, **options: Any) -> None:
        using = options["database"]
        if options["verbosity"] >= 1:
            for line in heading(using):
                self.stderr.write(line, lambda plain: plain)
        looks_only = options["plan"] or options["check_unapplied"]
        if connections[using].vendor != "postgresql" or looks_only:
            with self._errors_told(using):
                super().handle(*args, **options)
            return
        with (
            self._errors_told(using) as told,
            migration_run(
                using,
                command=self._words(options),
                lock_wait=options["lock_wait"],
                lock_retries=options["lock_retries"],
                progress=self._progress(options["verbosity"]),
            ) as run,
        ):
            told.append(run)
            super().handle(*args, **options)

    @contextmanager
    def _errors_told(self, using: str) -> Iterator[list[MigrationRun]]:
        """On the command line: one line and an exit code, for what is no fault of the program."""
        runs: list[MigrationRun] = []
        try:
            yield runs
        except CommandError:
            raise
        except Exception as error:
            if not getattr(self, "_called_from_command_line", False):
                raise
            told: Exception | None = error if isinstance(error, SchemaError) else None
            if told is None and isinstance(error, Error):
                told = connection_failed(error, using)
            if told is None:
                told = next((failure for run in runs if (failure := run.failure())), None)
            if not isinstance(told, SchemaError):
                raise
            # Django's line of the migration is still open.
            self.stdout.write("", ending="\n" if runs and runs[0].results else "")
            raise CommandError(str(told), returncode=told.exit_code) from error

    def _words(self, options: dict[str, Any]) -> str:
        if getattr(self, "_called_from_command_line", False):
            return shlex.join(sys.argv[1:])
        words = [options[name] for name in ("app_label", "migration_name") if options.get(name)]
        return shlex.join(["migrate", *words])

    def _progress(self, verbosity: int) -> Progress:
        if verbosity >= 1 and self.stdout.isatty():
            return Terminal(self.stdout, self.stderr)
        return Lines(self.stderr)


def __getattr__(name: str) -> Any:
    """``Command`` is what the settings say, at the time when it is asked for."""
    if name != "Command":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return Migrate if conf.extends_migrate() else _next_command()


def _next_command() -> type[migrate.Command]:
    """The class that would be ``migrate`` if this app were not installed."""
    configs = list(apps.get_app_configs())
    names = [config.name for config in configs]
    ours = next((i for i, name in enumerate(names) if __name__.startswith(f"{name}.")), -1)
    for name in names[ours + 1 :]:
        module = f"{name}.management.commands.migrate"
        if find_spec(f"{name}.management") and _exists(module):
            found: type[migrate.Command] = import_module(module).Command
            return found
    return migrate.Command


def _exists(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
