"""Secrets of a job are nowhere to be read."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from jobs.services import lifecycle
from tests.jobs.conftest import Commands, program, script
from tests.jobs.test_logs.kit import files_in


class TestSecrets:
    def test_they_are_in_no_log_result_audit_or_event(
        self, commands: Commands, settings: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings.JOBS_LOG_SECRETS = ["swordfish"]
        secrets = {"API_TOKEN": "hunter2hunter2", "DB_URL": "postgresql://me:opensesame@db/x"}
        leak = (
            "env; echo $API_TOKEN >&2; printf hunter2; sleep 0.2; printf 'hunter2\\n'; "
            "echo sword''fish"
        )
        job = commands.run({**script(f"{leak}; exit 3"), "env": secrets})
        lifecycle.retry(job, reason="once more", actor="me")

        shown = io.StringIO()
        call_command("jobs_show", str(job), stdout=shown)
        everywhere = [
            *(commands.raw_log(job).decode(), shown.getvalue(), caplog.text),
            *(path.read_text() for path in files_in(tmp_path)),
            *(
                str(commands.rows(f"SELECT * FROM {table}"))
                for table in (
                    *("audit_logs", "outbox_events", "job_failed_attempts", "job_log_tails"),
                )
            ),
            str(commands.rows("SELECT result, error_message FROM jobs")),
        ]
        assert len(everywhere[0]) > 100
        assert "kind=NonZeroExitCode error=" in caplog.text
        for text in everywhere:
            for secret in ("hunter2hunter2", "opensesame", "swordfish"):
                assert secret not in text
        assert commands.lines(job, "ERROR") == ["[redacted]"]
        assert commands.lines(job)[-2:] == ["[redacted]", "[redacted]"]

    def test_nor_those_of_the_command_line(self, commands: Commands) -> None:
        url = "postgresql://me:opensesame@db/x"
        header = "Authorization: Bearer eyJhbGciOiJIUzI1NiJ9"
        words = ("--password", "hunter2hunter2", f"--dsn={url}", "API_TOKEN=swordfish", header)
        job = commands.run(program("printf", "%s\n", *words, "hunter2hunter2", url))

        assert commands.lines(job) == [
            *("--password", "[redacted]", "--dsn=[redacted]", "API_TOKEN=[redacted]"),
            *("Authorization: Bearer [redacted]", "[redacted]", "[redacted]"),
        ]
        everywhere = commands.log(job) + str(commands.rows("SELECT result FROM jobs"))
        for secret in ("hunter2hunter2", "opensesame", "swordfish", "eyJh"):
            assert secret not in everywhere

    def test_the_admin_shows_none(self, commands: Commands, admin_client_of: Any) -> None:
        job = commands.run(
            {
                **script("echo $API_TOKEN; echo $API_TOKEN >&2; exit 1"),
                "env": {"API_TOKEN": "hunter2hunter2"},
            }
        )

        page = admin_client_of(f"/admin/jobs/job/{job}/change/")
        assert "NonZeroExitCode" in page or "Exit code 1." in page
        assert "hunter2hunter2" not in page


@pytest.fixture
def admin_client_of(commands: Commands, settings: Any) -> Iterator[Any]:
    """A page of the admin, as a superuser sees it."""
    from django.contrib.auth.models import User
    from django.test import Client

    settings.SECURE_SSL_REDIRECT = False
    settings.ALLOWED_HOSTS = ["testserver"]
    user = User.objects.create_superuser(f"admin-{uuid.uuid4()}")
    client = Client()
    client.force_login(user)

    def page(path: str) -> str:
        response = client.get(path, follow=True)
        assert response.status_code == 200
        return response.content.decode()

    try:
        yield page
    finally:
        user.delete()
