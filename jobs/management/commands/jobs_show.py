"""Show one job whole. Exit codes: 0 shown, 1 there is no such job, 2 misuse, 3 no connection.

JSON (``--format json``), one object whose keys stay: docs/reference/jobs_show.md lists them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from hodei.redaction import redact, redact_text
from hodei.schema.management.arguments import id_of
from hodei.schema.management.reports import FINE, FOUND, ReportCommand
from hodei.values import printable
from hodei.wording import iso, moment_of
from jobs.services.inspection import JobDetail, detail
from jobs.services.lifecycle import JobNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.management.base import CommandParser

FORMAT_VERSION = 1
TIMES = (
    *("created_at", "run_after", "started_at", "completed_at", "lease_until"),
    "cancel_requested_at",
)


class Command(ReportCommand):
    help = (
        "Show one job: what it runs, where it is, and each attempt that failed. Secrets are left "
        "out. Exit codes: 0 shown, 1 there is no such job, 2 misuse, 3 the database could not be "
        "read."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("job", type=id_of("job"), metavar="ID", help="The job's id.")

    def report(self, **options: Any) -> int:
        try:
            found = detail(options["job"], using=options["database"])
        except JobNotFound as error:
            raise CommandError(str(error), returncode=FOUND) from error
        if options["format"] == "json":
            self.print_json(document(options["database"], found))
        else:
            for line in lines(options["database"], found):
                self.stdout.write(printable(line))
        return FINE


def document(database: str, found: JobDetail) -> dict[str, Any]:
    """The JSON report."""
    job, lease = found.job, found.lease
    return {
        "format_version": FORMAT_VERSION,
        "database": database,
        "id": str(job.pk),
        "name": job.name,
        "state": job.state,
        "queue": job.queue,
        "priority": job.priority,
        "spec": redact(job.spec),
        "attempts": job.attempts,
        "max_attempts": job.max_attempts,
        "lost_leases": job.lost_leases,
        "created_at": iso(job.created_at),
        "run_after": iso(job.run_after),
        "started_at": iso(job.started_at),
        "completed_at": iso(job.completed_at),
        "timeout_seconds": job.timeout.total_seconds() if job.timeout else None,
        "worker": str(job.worker_id) if job.worker_id else None,
        "lease_until": iso(lease.expires_at) if lease else None,
        "cancel_requested_at": iso(lease.cancel_requested_at) if lease else None,
        "correlation_id": job.correlation_id,
        "idempotency_key": job.idempotency_key,
        "result": redact(job.result),
        "error": redact_text(job.error_message) if job.error_message else None,
        "failed_attempts": [
            {
                "attempt": attempt.attempt,
                "failed_at": iso(attempt.failed_at),
                "worker": str(attempt.worker_id) if attempt.worker_id else None,
                "kind": attempt.kind,
                "error_class": attempt.error_class,
                "message": redact_text(attempt.message or ""),
                "traceback": redact_text(attempt.traceback or ""),
            }
            for attempt in found.failed_attempts
        ],
    }


def lines(database: str, found: JobDetail) -> Iterator[str]:
    """The same for a person."""
    facts = document(database, found)
    yield f"{'job':21}{facts['id']}"
    for name in ("name", "state", "queue", "priority"):
        if facts[name] != "":
            yield f"{name:21}{facts[name]}"
    yield f"{'attempts':21}{facts['attempts']} of {facts['max_attempts']}"
    for name in (
        *("lost_leases", "created_at", "run_after", "started_at", "completed_at", "worker"),
        *("lease_until", "cancel_requested_at", "correlation_id", "idempotency_key"),
    ):
        if facts[name]:
            value = moment_of(facts[name]) if name in TIMES else facts[name]
            yield f"{name.replace('_', ' '):21}{value}"
    yield f"{'spec':21}{json.dumps(facts['spec'])}"
    if facts["result"] is not None:
        yield f"{'result':21}{json.dumps(facts['result'])}"
    if facts["error"]:
        yield f"{'error':21}{facts['error']}"
    for attempt in facts["failed_attempts"]:
        yield ""
        yield (
            f"attempt {attempt['attempt']} failed at {moment_of(attempt['failed_at'])}: "
            f"{attempt['kind']}, {attempt['message']}"
        )
        for line in attempt["traceback"].splitlines():
            yield f"    {line}"
