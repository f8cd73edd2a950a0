"""Show one job whole. Exit codes: 0 shown, 1 there is no such job, 2 misuse, 3 no connection.

JSON (``--format json``), one object whose keys stay: docs/reference/jobs_show.md lists them.
"""

from __future__ import annotations

import json
import uuid
from argparse import ArgumentTypeError
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from hodei.redaction import redact, redact_text
from hodei.schema.management.reports import FINE, FOUND, ReportCommand
from jobs.services.inspection import JobDetail, detail
from jobs.services.lifecycle import JobNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.management.base import CommandParser

FORMAT_VERSION = 1


class Command(ReportCommand):
    help = (
        "Show one job: what it runs, where it is, and each attempt that failed. Secrets are left "
        "out. Exit codes: 0 shown, 1 there is no such job, 2 misuse, 3 the database could not be "
        "read."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("job", type=_id, metavar="ID", help="The job's id.")

    def report(self, **options: Any) -> int:
        try:
            found = detail(options["job"], using=options["database"])
        except JobNotFound as error:
            raise CommandError(str(error), returncode=FOUND) from error
        if options["format"] == "json":
            self.print_json(document(found))
        else:
            for line in lines(found):
                self.stdout.write(line)
        return FINE


def document(found: JobDetail) -> dict[str, Any]:
    """The JSON report."""
    job, lease = found.job, found.lease
    return {
        "format_version": FORMAT_VERSION,
        "id": str(job.pk),
        "name": job.name,
        "state": job.state,
        "queue": job.queue,
        "priority": job.priority,
        "spec": redact(job.spec),
        "attempts": job.attempts,
        "max_attempts": job.max_attempts,
        "lost_leases": job.lost_leases,
        "created_at": _time(job.created_at),
        "run_after": _time(job.run_after),
        "started_at": _time(job.started_at),
        "completed_at": _time(job.completed_at),
        "timeout_seconds": job.timeout.total_seconds() if job.timeout else None,
        "worker": str(job.worker_id) if job.worker_id else None,
        "lease_until": _time(lease.expires_at) if lease else None,
        "cancel_requested_at": _time(lease.cancel_requested_at) if lease else None,
        "correlation_id": job.correlation_id,
        "idempotency_key": job.idempotency_key,
        "result": redact(job.result),
        "error": redact_text(job.error_message) if job.error_message else None,
        "failed_attempts": [
            {
                "attempt": attempt.attempt,
                "failed_at": _time(attempt.failed_at),
                "worker": str(attempt.worker_id) if attempt.worker_id else None,
                "kind": attempt.kind,
                "error_class": attempt.error_class,
                "message": redact_text(attempt.message or ""),
                "traceback": redact_text(attempt.traceback or ""),
            }
            for attempt in found.failed_attempts
        ],
    }


def lines(found: JobDetail) -> Iterator[str]:
    """The same for a person."""
    facts = document(found)
    yield f"{'job':21}{facts['id']}"
    for name in ("name", "state", "queue", "priority"):
        yield f"{name:21}{facts[name]}"
    yield f"{'attempts':21}{facts['attempts']} of {facts['max_attempts']}"
    for name in (
        *("lost_leases", "created_at", "run_after", "started_at", "completed_at", "worker"),
        *("lease_until", "cancel_requested_at", "correlation_id", "idempotency_key"),
    ):
        if facts[name]:
            yield f"{name.replace('_', ' '):21}{facts[name]}"
    yield f"{'spec':21}{json.dumps(facts['spec'])}"
    if facts["result"] is not None:
        yield f"{'result':21}{json.dumps(facts['result'])}"
    if facts["error"]:
        yield f"{'error':21}{facts['error']}"
    for attempt in facts["failed_attempts"]:
        yield ""
        yield (
            f"attempt {attempt['attempt']} failed at {attempt['failed_at']}: {attempt['kind']}, "
            f"{attempt['message']}"
        )
        for line in attempt["traceback"].splitlines():
            yield f"    {line}"


def _time(instant: Any) -> str | None:
    return instant.isoformat(timespec="seconds") if instant else None


def _id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is no id of a job.") from error
