"""Write the schema that the migrations build to a file, for ``schema_validate --expected``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from hodei.schema.connection import check_connection
from hodei.schema.management.databases import heading
from hodei.schema.management.reports import FINE, MISUSE, ReportCommand
from hodei.schema.validation import snapshot

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(ReportCommand):
    help = (
        "Write the schema that the applied migrations build as JSON, to be kept in version control "
        "and given to schema_validate --expected. The same schema gives the same text, so a diff "
        "shows what a migration changes. One file per major version of PostgreSQL. Nothing in the "
        "database is changed. Exit codes: 0 written, 2 misuse or wrong configuration, 3 the "
        "database could not be read or the migrations not be replayed."
    )
    formats = ("json",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.set_defaults(format="json")
        parser.add_argument(
            "--output",
            type=Path,
            metavar="FILE",
            help="The file to write. Without it: to standard output.",
        )
        source = parser.add_mutually_exclusive_group()
        source.add_argument(
            "--rebuild",
            action="store_true",
            help=(
                "Replay in a temporary database on the same server, as schema_validate --rebuild "
                "does."
            ),
        )
        source.add_argument(
            "--live",
            action="store_true",
            help="Write what the database is, not what its migrations build.",
        )

    def report(self, **options: Any) -> int:
        check_connection(options["database"])
        text = snapshot(options["database"], live=options["live"], in_database=options["rebuild"])
        path: Path | None = options["output"]
        if path is None:
            self.stdout.write(text, ending="")
            return FINE
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise CommandError(
                f"Cannot write {path}: {error.strerror}. Name a file in a folder that is there.",
                returncode=MISUSE,
            ) from error
        for line in (*heading(options["database"]), f"Written: {path}"):
            self.stderr.write(line)
        return FINE
