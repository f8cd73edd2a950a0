"""What a job has left behind, on its page: its output, as a file too, and its failures."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from itertools import chain

from django.core.exceptions import PermissionDenied
from django.db.models.functions import Left
from django.http import Http404, HttpRequest, StreamingHttpResponse
from django.urls import reverse
from django.utils.html import format_html

from hodei.admin.rendering import (
    button,
    code,
    first_line,
    link,
    list_link,
    table,
    text_block,
    when,
)
from jobs.logs import store
from jobs.models import FailedAttempt, Job, LogFile, LogTail
from jobs.services import logs
from jobs.services.lifecycle import JobNotFound

#: Failed attempts that the page of a job shows, characters of an error, bytes of the output.
ATTEMPTS_SHOWN, ERROR_SHOWN, TAIL_SHOWN = 50, 400, 8 * 1024
#: What one must be allowed to view to read what a job has written.
READS_LOGS = ("jobs.view_job", "jobs.view_logfile", "jobs.view_logtail")


class NothingWritten(Exception):  # noqa: N818  (it reads as the fact it states)
    """There is no output of this job."""


def attempts_panel(job: Job) -> str:
    """The newest failures of a job, whatever became of it since."""
    failed = (
        FailedAttempt.objects.filter(job_id=job.pk)
        .order_by("-id")
        .defer("message", "traceback")
        .annotate(message_start=Left("message", ERROR_SHOWN))[:ATTEMPTS_SHOWN]
    )
    rows = [
        (
            link("jobs_failedattempt", one.pk, str(one.attempt)),
            one.kind,
            first_line(one.message_start, ERROR_SHOWN),
            when(one.failed_at),
            link("jobs_worker", one.worker_id, code(one.worker_id, short=True)),
        )
        for one in failed
    ]
    every = list_link("jobs_failedattempt", "All of them", job=job.pk)
    return table(
        f"Newest {ATTEMPTS_SHOWN} failed attempts",
        ["Attempt", "Kind", "Error", "When", "Worker"],
        rows,
        remark=every if len(rows) == ATTEMPTS_SHOWN else "",
    )


def output_panel(job: Job) -> str:
    """The newest output of a run that is not stored yet, and a way to the whole."""
    tail = LogTail.objects.filter(job_id=job.pk).first()
    if tail is None and not LogFile.objects.filter(job_id=job.pk).exists():
        return "It has written nothing."
    download = button(reverse("admin:jobs_job_log", args=(job.pk,)), "Download all of it")
    if tail is None:
        return download
    newest = bytes(tail.tail)[-TAIL_SHOWN:].decode(errors="replace")
    said = format_html("{} bytes, the last of them {}", tail.total_bytes, when(tail.updated_at))
    return format_html("{}{}{}", said, text_block(newest), download)


def log_of(request: HttpRequest, job_id: str, using: str) -> StreamingHttpResponse:
    """What the job has written: the stored log, and beyond it the newest of a run that goes on.

    Raises PermissionDenied, Http404, NothingWritten, and LogUnreadable.
    """
    if not request.user.has_perms(READS_LOGS):
        raise PermissionDenied
    try:
        key = uuid.UUID(job_id)
        found = logs.look(key, using=using)
    except (ValueError, JobNotFound):
        raise Http404("There is no such job any more.") from None
    pieces = _pieces(found)
    # What cannot be read is told before the answer has begun.
    first = next(pieces, None)
    if first is None:
        raise NothingWritten(f"Job {key} is {found.state} and has written nothing.")
    answer = StreamingHttpResponse(chain([first], pieces), content_type="text/plain; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="job-{key}.log"'
    answer["X-Content-Type-Options"] = "nosniff"
    return answer


def _pieces(found: logs.LogView) -> Iterator[bytes]:
    if found.storage_uri is not None:
        yield from store.chunks(found.storage_uri)
    beyond = found.tail_ends_at - found.size_bytes
    if beyond > 0 and found.tail:
        yield found.tail[-beyond:]
