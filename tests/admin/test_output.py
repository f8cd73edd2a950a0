"""What a job has written and how it failed, on its page; and its log as a file."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from jobs.logs import store
from jobs.models import FailedAttempt, Job, LogFile, LogTail
from tests.admin.deciding import job, told
from tests.admin.pages import page_of
from tests.admin.test_permissions import staff_with

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sample")]


@pytest.fixture(autouse=True)
def folder(settings: Any, tmp_path: Path) -> None:
    files = {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(tmp_path)},
    }
    settings.STORAGES = {**settings.STORAGES, "job_logs": files}


@pytest.fixture
def running() -> Job:
    return job("transcode 2207")


def address(row: Job) -> str:
    return reverse("admin:jobs_job_log", args=(row.pk,))


def stored(row: Job, content: bytes) -> LogFile:
    return LogFile.objects.create(
        job=row,
        storage_uri=store.save(store.uri_of(f"{row.pk}.log"), io.BytesIO(content)),
        size_bytes=len(content),
        expires_at=datetime(2027, 1, 1, tzinfo=UTC),
    )


def content(answer: Any) -> bytes:
    return b"".join(answer.streaming_content)


class TestDownload:
    def test_has_the_stored_log_byte_for_byte(self, page: Client, running: Job) -> None:
        stored(running, b"<script>\xff\r\n" * 50_000)

        answer = page.get(address(running))

        assert content(answer) == b"<script>\xff\r\n" * 50_000
        assert answer["Content-Type"] == "text/plain; charset=utf-8"
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert answer["Content-Disposition"] == f'attachment; filename="job-{running.pk}.log"'

    def test_ends_with_what_a_run_has_written_since(self, page: Client, running: Job) -> None:
        stored(running, b"first\n")
        LogTail.objects.create(job=running, tail=b"first\nsecond\n", total_bytes=13)

        assert content(page.get(address(running))) == b"first\nsecond\n"

    def test_of_what_is_not_stored_yet_has_the_newest(self, page: Client, running: Job) -> None:
        LogTail.objects.create(job=running, tail=b"newest\n", total_bytes=1_000)

        assert content(page.get(address(running))) == b"newest\n"

    def test_without_any_it_says_so_on_the_page(self, page: Client, running: Job) -> None:
        answer = page.get(address(running))

        assert answer.url == page_of(running)
        assert told(answer) == [f"Job {running.pk} is RUNNING and has written nothing."]

    def test_a_file_that_is_gone_is_told_on_the_page(self, page: Client, running: Job) -> None:
        store.delete(stored(running, b"x").storage_uri)

        answer = page.get(address(running))

        assert answer.url == page_of(running)
        assert told(answer)[0].endswith("there is no such file.")

    @pytest.mark.parametrize("uri", ["file:///etc/passwd", "storage://other/x", "http://[x"])
    def test_no_other_file_can_be_had(self, page: Client, running: Job, uri: str) -> None:
        log = stored(running, b"x")
        LogFile.objects.filter(pk=log.pk).update(storage_uri=uri)

        answer = page.get(address(running))

        assert answer.url == page_of(running)
        assert len(told(answer)) == 1

    @pytest.mark.parametrize("key", ["nonsense", "00000000-0000-0000-0000-000000000007"])
    def test_of_no_job_there_is_none(self, page: Client, key: str) -> None:
        assert page.get(reverse("admin:jobs_job_log", args=(key,))).status_code == 404

    def test_needs_the_right_to_view_logs(self, client: Client, running: Job) -> None:
        stored(running, b"secret")
        staff = staff_with(client, "view_job", "view_logtail")

        assert staff.get(address(running)).status_code == 403

    def test_the_right_to_view_them_is_enough(self, client: Client, running: Job) -> None:
        stored(running, b"mine")
        staff = staff_with(client, "view_job", "view_logtail", "view_logfile")

        assert content(staff.get(address(running))) == b"mine"
        assert staff.post(address(running)).status_code == 405

    def test_is_for_staff(self, client: Client, running: Job) -> None:
        assert client.get(address(running)).status_code == 302


class TestPage:
    def test_has_the_newest_output(self, page: Client, running: Job) -> None:
        LogTail.objects.create(job=running, tail=b"<b>half\xff", total_bytes=2_048)

        text = page.get(page_of(running)).text

        assert "&lt;b&gt;half\N{REPLACEMENT CHARACTER}" in text
        assert "2048 bytes, the last of them" in text
        assert address(running) in text

    def test_offers_what_there_is(self, page: Client, running: Job) -> None:
        before = page.get(page_of(running)).text
        stored(running, b"x")

        assert "It has written nothing." in before
        assert address(running) not in before
        assert address(running) in page.get(page_of(running)).text

    def test_has_the_failed_attempts_the_newest_first(self, page: Client, running: Job) -> None:
        for number in (1, 2):
            FailedAttempt.objects.create(
                job=running, attempt=number, kind="IoError", message=f"no. {number}\nsecond line"
            )

        text = page.get(page_of(running)).text

        assert text.index("no. 2") < text.index("no. 1")
        assert "second line" not in text
        assert "IoError" in text
        assert page_of(FailedAttempt.objects.get(attempt=2)) in text

    def test_panels_need_their_own_right(self, client: Client, running: Job) -> None:
        LogTail.objects.create(job=running, tail=b"written\n", total_bytes=8)
        FailedAttempt.objects.create(job=running, attempt=1, kind="IoError", message="no")
        staff = staff_with(client, "view_job")

        text = staff.get(page_of(running)).text

        assert "written" not in text
        assert "IoError" not in text
