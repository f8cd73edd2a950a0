"""Print what a job has written. Exit codes: 0 printed, 1 there is no such job, 2 misuse, 3 the
database or the file could not be read."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from hodei.schema.management.arguments import id_of
from hodei.schema.management.output import write_no_more, writing
from hodei.schema.management.reports import FINE, FOUND, UNVERIFIED, DatabaseCommand
from jobs.logs.store import LogMissing, LogUnreadable, chunks
from jobs.services.lifecycle import JobNotFound
from jobs.services.logs import LogView, look

if TYPE_CHECKING:
    from datetime import datetime

    from django.core.management.base import CommandParser

#: Seconds between two looks of --follow.
POLL_SECONDS = 0.5


class Command(DatabaseCommand):
    help = (
        "Print what a job has written: its log file and, while it runs, the newest 64 KiB of the "
        "run, from whichever machine. Secrets are masked. Exit codes: 0 printed, 1 there is no "
        "such job, 2 misuse, 3 the database or the file could not be read."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("job", type=id_of("job"), metavar="ID", help="The job's id.")
        parser.add_argument(
            "--follow",
            action="store_true",
            help="Go on printing what it writes until the job has ended.",
        )

    def report(self, **options: Any) -> int:
        job_id, using = options["job"], options["database"]
        try:
            view = look(job_id, using=using)
            printed = self.print_from(0, view)
            stale = None
            while options["follow"] and not view.has_ended:
                time.sleep(POLL_SECONDS)
                before, view = view, look(job_id, using=using)
                if view.lost_runs > before.lost_runs:
                    self.stderr.write("The run was lost with its worker; the next one follows.")
                    printed, stale = min(printed, before.size_bytes), before.tail_at
                printed = self.print_from(printed, view, stale)
            if not printed and not view.lost_runs:
                self.stderr.write(f"Job {job_id} is {view.state} and has written nothing.")
        except JobNotFound as error:
            raise CommandError(str(error), returncode=FOUND) from error
        except LogUnreadable as error:
            raise CommandError(str(error), returncode=UNVERIFIED) from error
        except KeyboardInterrupt:
            return FINE
        except BrokenPipeError:
            # Whoever reads has seen enough; nothing is to be flushed into the closed pipe.
            write_no_more()
        return FINE

    def print_from(self, printed: int, view: LogView, stale: datetime | None = None) -> int:
        """Print what lies beyond that position; returns the new one. A tail of the time ``stale``
        is a lost run's, and was printed."""
        if view.storage_uri is not None and view.size_bytes > printed:
            try:
                self.print_bytes(chunks(view.storage_uri, printed))
            except LogMissing:
                # A further attempt may have replaced it just now.
                if not view.has_ended:
                    return printed
                raise
            printed = view.size_bytes
        new = view.tail_ends_at - printed
        if new > 0 and (stale is None or view.tail_at != stale):
            if new > len(view.tail):
                self.stderr.write(
                    f"{new - len(view.tail):,} bytes came too fast to be seen here; the log file "
                    "will have them when the run has ended."
                )
            self.print_bytes([view.tail[-new:]])
            printed = view.tail_ends_at
        return printed

    def print_bytes(self, pieces: Iterable[bytes]) -> None:
        """As they are, wherever stdout can take bytes."""
        stdout: Any = self.stdout
        raw = getattr(getattr(stdout, "_out", stdout), "buffer", None)
        for piece in pieces:
            if raw is None:
                stdout.write(piece.decode(errors="replace"), ending="")
            else:
                with writing():
                    raw.write(piece)
        stdout.flush()
