"""Commands that list rows, the newest first, up to a limit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from hodei.schema.management.arguments import whole
from hodei.schema.management.reports import FINE, ReportCommand
from hodei.values import printable

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

FORMAT_VERSION = 1
LIMIT = 50


class ListCommand(ReportCommand):
    """One row after another, or one JSON object that has them under their name.

    A list that reached the limit says so on stderr: it may not be all.
    """

    #: What is listed: the word for it, and the key in JSON; and how many at most.
    things: ClassVar[str]
    most: ClassVar[int]

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        self.add_filters(parser)
        parser.add_argument(
            "--limit",
            type=whole(self.things, most=self.most),
            default=LIMIT,
            metavar="N",
            help=f"At most so many. Without it: {LIMIT}.",
        )

    def report(self, **options: Any) -> int:
        found = self.find(options)
        if options["format"] == "json":
            self.print_json(
                {
                    "format_version": FORMAT_VERSION,
                    "database": options["database"],
                    self.things: [self.document(one) for one in found],
                }
            )
            return FINE
        for line in self.lines(found):
            self.stdout.write(printable(line))
        if len(found) == options["limit"]:
            self.stderr.write(
                f"There may be more than {len(found):,}; --limit goes up to {self.most:,}."
            )
        return FINE

    def add_filters(self, parser: CommandParser) -> None:
        """The options that say which."""
        raise NotImplementedError("A list defines add_filters().")

    def find(self, options: dict[str, Any]) -> Sequence[Any]:
        """Those that match, at most as many as ``limit`` says."""
        raise NotImplementedError("A list defines find().")

    def document(self, one: Any) -> dict[str, Any]:
        """One of them, as JSON has it."""
        raise NotImplementedError("A list defines document().")

    def lines(self, found: Sequence[Any]) -> Iterator[str]:
        """All of them, for a person."""
        raise NotImplementedError("A list defines lines().")
