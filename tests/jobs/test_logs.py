"""What jobs write: masked, framed, spooled, stored, tailed, read, and purged."""

from __future__ import annotations

import io
import re
import resource
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import FileSystemStorage
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from hodei.redaction import secret_values
from hodei.sessions import connect
from jobs import leases
from jobs.logs import keeper, lines, store
from jobs.logs.lines import Liner
from jobs.logs.masking import MASK, Masker, needles
from jobs.logs.spool import LARGEST_TAIL, Spool
from jobs.services import lifecycle, logs
from tests.jobs.conftest import Commands, program, script
from tests.jobs.test_worker import running
from tests.processes import eventually

LINE = re.compile(
    rb"\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\] \[(INFO|ERROR|NOTE)(\+?)\] (.*)", re.DOTALL
)


def streams(log: bytes) -> dict[bytes, bytes]:
    """What was written, from what was kept of it."""
    found: dict[bytes, bytes] = {b"INFO": b"", b"ERROR": b"", b"NOTE": b""}
    for line in log.split(b"\n")[:-1]:
        parsed = LINE.fullmatch(line)
        assert parsed is not None, line
        kind, plus, text = parsed.groups()
        found[kind] += text + (b"" if plus else b"\n")
    return found


#: Of three letters, so that secrets of three letters come up.
small = st.text("abc", max_size=12).map(str.encode)


class TestMasking:
    @given(
        secrets=st.lists(st.text("abc", min_size=4, max_size=6), min_size=1, max_size=3),
        pieces=st.lists(small, max_size=12),
    )
    def test_a_secret_never_shows_however_it_comes_in_pieces(
        self, secrets: list[str], pieces: list[bytes]
    ) -> None:
        found = needles(secrets)
        masker, whole = Masker(found), Masker(found)

        shown = b"".join([*map(masker.feed, pieces), masker.close()])

        assert not any(secret in shown.replace(MASK, b"#") for secret in found)
        assert shown == whole.feed(b"".join(pieces)) + whole.close()

    @given(pieces=st.lists(st.binary(max_size=20)))
    def test_what_is_no_secret_stays_byte_for_byte(self, pieces: list[bytes]) -> None:
        masker = Masker(needles(["a secret that never comes"]))

        shown = b"".join([*map(masker.feed, pieces), masker.close()])

        assert shown == b"".join(pieces)

    def test_secrets_that_overlap_are_one(self) -> None:
        masker = Masker(needles(["abcd", "cdef", "abcdefgh"]))

        assert masker.feed(b"xabcdefx") + masker.close() == b"x[redacted]x"

    def test_the_beginning_of_a_secret_is_held_back_and_not_lost(self) -> None:
        masker = Masker(needles(["hunter2"]))

        assert masker.feed(b"my hunt") == b"my "
        assert masker.feed(b"ing") == b"hunting"
        assert masker.feed(b" hunter") == b" "
        assert masker.feed(b"2.") == b"[redacted]."

    def test_the_lines_of_a_key_are_masked_one_by_one(self) -> None:
        masker = Masker(
            needles(["-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0B\n-----END KEY-----"])
        )

        assert masker.feed(b"> kqhkiG9w0B <\n") + masker.close() == b"> [redacted] <\n"

    def test_what_is_short_hides_nothing(self) -> None:
        assert needles(["", "1", "yes", "true"]) == (b"true",)

    def test_which_values_are_secret(self) -> None:
        variables = {
            "API_TOKEN": "t0ken",
            "LANG": "C",
            "DATABASE_URL": "postgresql://me:hunter2@db/x?password=no",
            "EMPTY_PASSWORD": "",
        }

        assert secret_values(variables) == {"t0ken", "hunter2"}


class TestLines:
    @given(pieces=st.lists(st.tuples(st.binary(max_size=30), st.booleans())))
    def test_the_stream_can_be_had_back(self, pieces: list[tuple[bytes, bool]]) -> None:
        liner, log, now = Liner("INFO"), b"", 1.7e9
        for data, late in pieces:
            log += liner.feed(data, now)
            now += 2.0 if late else 0.001
            log += liner.flush_late(now)
        log += liner.flush(now)

        assert streams(log)[b"INFO"] == b"".join(data for data, _ in pieces)

    def test_a_line_waits_for_its_end_only_so_long(self) -> None:
        liner = Liner("INFO")

        assert liner.feed(b"50 %", 1000.0) == liner.flush_late(1000.5) == b""
        assert liner.flush_late(1001.0) == b"[1970-01-01T00:16:41.000Z] [INFO+] 50 %\n"

    def test_a_line_without_an_end_is_cut(self) -> None:
        liner = Liner("ERROR")

        cut = b"".join(liner.feed(b"x" * 50_000, 0.0) for _ in range(10))

        assert max(map(len, cut.split(b"\n"))) < 2 * lines.LONGEST_WAIT
        assert streams(cut + liner.flush(0.0))[b"ERROR"] == b"x" * 500_000

    def test_a_note_is_one_line(self) -> None:
        assert lines.note(0.0, "a\nb \ud800").endswith(b"] [NOTE] a b ?\n")


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The kernel refuses larger ones to this process, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class TestSpool:
    def test_keeps_all_of_it_and_the_newest_in_memory(self) -> None:
        spool = Spool(uuid.uuid4(), 1, None)
        for number in range(100):
            spool.write(b"%04d" % number * 1000 + b"\n")

        assert (spool.size, spool.lines) == (400_100, 100)
        tail = spool.newest()
        assert tail is not None
        assert (len(tail.tail), tail.total) == (LARGEST_TAIL, 400_100)
        file = spool.file()
        assert file is not None
        assert file.read()[-LARGEST_TAIL:] == tail.tail
        assert spool.newest() is None
        spool.close()

    def test_has_no_name_that_could_be_left_behind(self, tmp_path: Path) -> None:
        spool = Spool(uuid.uuid4(), 1, str(tmp_path))
        spool.write(b"x\n")

        assert list(tmp_path.iterdir()) == []
        spool.close()

    def test_a_full_disk_costs_what_comes_then_and_is_told(self) -> None:
        spool = Spool(uuid.uuid4(), 1, None)
        with files_of_at_most(100_000):
            for _ in range(30):
                spool.write(b"x" * 9_999 + b"\n")
            assert spool.error is not None
            spool.add_at_last(b"so it is\n")

            file = spool.file()
            assert file is not None
            kept = file.read()
        assert (spool.size, spool.lines) == (len(kept), kept.count(b"\n"))
        assert kept == (b"x" * 9_999 + b"\n") * 9 + b"so it is\n"
        assert spool.left_out == 200_000
        tail = spool.newest()
        assert tail is not None
        assert tail.tail.endswith(b"so it is\n")
        spool.close()


class Broken(FileSystemStorage):
    """A storage that is full, or away."""

    def _save(self, name: str, content: Any) -> str:
        path = Path(self.path(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.read(5))
        raise OSError(28, "No space left on device")


def use_broken(settings: Any, tmp_path: Path) -> None:
    settings.STORAGES = {
        **settings.STORAGES,
        "job_logs": {
            "BACKEND": "tests.jobs.test_logs.Broken",
            "OPTIONS": {"location": str(tmp_path / "logs")},
        },
    }


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


class TestStored:
    def test_both_streams_with_true_size_and_lines(
        self, commands: Commands, tmp_path: Path
    ) -> None:
        job = commands.run(script("printf 'a\\nb'; printf 'c\\n' >&2"))

        assert commands.rows("SELECT job_id, size_bytes, entry_count FROM job_log_files") == [
            (job, len(commands.raw_log(job)), 3)
        ]
        assert streams(commands.raw_log(job)) == {b"INFO": b"a\nb", b"ERROR": b"c\n", b"NOTE": b""}
        (path,) = files_in(tmp_path / "logs")
        assert path.name.startswith(str(job))
        assert commands.value("SELECT count(*) FROM job_log_tails") == 0
        assert commands.value("SELECT count(*) FROM job_log_garbage") == 0

    def test_what_is_no_text_is_kept_byte_for_byte(
        self, commands: Commands, tmp_path: Path
    ) -> None:
        path = tmp_path / "data"
        path.write_bytes(bytes(range(256)) * 999)
        job = commands.run(program("cat", str(path)))

        assert streams(commands.raw_log(job))[b"INFO"] == path.read_bytes()

    def test_a_job_that_writes_nothing_has_no_file(self, commands: Commands) -> None:
        commands.run(program("true"))

        assert commands.value("SELECT count(*) FROM job_log_files") == 0
        assert commands.value("SELECT count(*) FROM job_log_garbage") == 0

    def test_another_attempt_is_appended_under_a_header(
        self, commands: Commands, tmp_path: Path
    ) -> None:
        job = commands.enqueue(script("echo mine is $HODEI_ATTEMPT; exit 1"), max_attempts=2)
        commands.drain()
        ((first, uri),) = commands.rows("SELECT id, storage_uri FROM job_log_files")
        commands.execute("UPDATE job_queue_deferred SET run_after = now()")
        commands.drain()

        assert [line.split("Z] ", 1)[1] for line in commands.log(job).splitlines()] == [
            *("[INFO] mine is 1", "[NOTE] Exit code 1."),
            *("[NOTE] Attempt 2", "[INFO] mine is 2", "[NOTE] Exit code 1."),
        ]
        assert commands.rows("SELECT id, size_bytes, entry_count FROM job_log_files") == [
            (first, len(commands.raw_log(job)), 5)
        ]
        assert commands.rows("SELECT storage_uri FROM job_log_garbage") == [(uri,)]
        logs.purge_logs()
        assert len(files_in(tmp_path / "logs")) == 1

    def test_an_attempt_whose_predecessors_log_is_gone_keeps_its_own(
        self, commands: Commands, tmp_path: Path
    ) -> None:
        job = commands.enqueue(script("echo mine is $HODEI_ATTEMPT; exit 1"), max_attempts=2)
        commands.drain()
        for path in files_in(tmp_path / "logs"):
            path.unlink()
        commands.execute("UPDATE job_queue_deferred SET run_after = now()")
        commands.drain()

        assert commands.lines(job) == ["mine is 2"]
        assert commands.value("SELECT size_bytes FROM job_log_files") == len(commands.raw_log(job))

    def test_a_storage_that_is_full_costs_the_log_alone(
        self, commands: Commands, settings: Any, tmp_path: Path
    ) -> None:
        use_broken(settings, tmp_path)
        job = commands.run(program("echo", "hello"))

        assert commands.output(job) == "hello\n"
        assert commands.value("SELECT count(*) FROM job_log_files") == 0
        assert "[INFO] hello\n" in commands.tail(job)
        assert "This log could not be stored: OSError: [Errno 28] No space" in commands.tail(job)
        assert files_in(tmp_path / "logs") == []

    def test_a_spool_that_is_full_costs_the_log_alone(
        self, commands: Commands, settings: Any
    ) -> None:
        settings.JOBS_LOG_SPOOL = "/no/such/folder"
        job = commands.run(program("echo", "hello"))

        assert commands.output(job) == "hello\n"
        assert "[INFO] hello\n" in commands.tail(job)
        assert "could not be kept: No such file or directory." in commands.tail(job)

    def test_without_a_storage_the_log_alone_is_lost(
        self, commands: Commands, settings: Any
    ) -> None:
        settings.STORAGES = {
            name: value for name, value in settings.STORAGES.items() if name != "job_logs"
        }
        job = commands.run(program("echo", "hello"))

        assert commands.output(job) == "hello\n"
        assert "This log could not be stored: ImproperlyConfigured" in commands.tail(job)

    def test_a_lease_that_is_lost_meanwhile_leaves_the_log_to_its_owner(
        self, commands: Commands, tmp_path: Path
    ) -> None:
        job = commands.enqueue(program("true"))
        with connect("default", "test") as session:
            (claimed,) = leases.claim(session, uuid.uuid4(), ["default"], 1, starting=1)
            uri = store.new_uri(job, 1, datetime.now(UTC))
            assert keeper.reserve(session, [(job, uri)])[uri].before is None
            store.save(uri, io.BytesIO(b"late\n"))
            written = keeper.Written(job, claimed.epoch + 1, uri, 5, 1, 1.0)

            assert keeper.settle(session, [written]) == set()
            assert commands.value("SELECT count(*) FROM job_log_files") == 0
            # Until tomorrow it may still be written to; then it is garbage.
            assert logs.purge_logs().files == 0
            commands.execute("UPDATE job_log_garbage SET since = now()")
            assert logs.purge_logs().files == 1
        assert files_in(tmp_path / "logs") == []

    def test_settling_twice_is_settling_once(self, commands: Commands, tmp_path: Path) -> None:
        """The connection may be lost after the commit."""
        job = commands.enqueue(program("true"))
        with connect("default", "test") as session:
            (claimed,) = leases.claim(session, uuid.uuid4(), ["default"], 1, starting=1)
            uri = store.new_uri(job, 1, datetime.now(UTC))
            keeper.reserve(session, [(job, uri)])
            keeper.reserve(session, [(job, uri)])
            store.save(uri, io.BytesIO(b"once\n"))
            for _ in range(2):
                written = keeper.Written(job, claimed.epoch, uri, 5, 1, 1.0)
                assert keeper.settle(session, [written]) == {uri}

        commands.execute("UPDATE job_log_garbage SET since = now()")
        logs.purge_logs()
        assert commands.log(job) == "once\n"


class TestSecrets:
    def test_they_are_in_no_log_result_audit_or_event(
        self, commands: Commands, settings: Any, tmp_path: Path
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
            *(commands.raw_log(job).decode(), shown.getvalue()),
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
        for text in everywhere:
            for secret in ("hunter2hunter2", "opensesame", "swordfish"):
                assert secret not in text
        assert commands.lines(job, "ERROR") == ["[redacted]"]
        assert commands.lines(job)[-2:] == ["[redacted]", "[redacted]"]

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


class TestTail:
    def test_is_there_while_it_runs_and_bounded(self, commands: Commands) -> None:
        job = commands.enqueue(script("seq 1 50000; printf 50%%; sleep 600"))
        with running(commands.worker(lease_seconds=0.6)):
            assert eventually(lambda: commands.tail(job).endswith("[INFO+] 50%\n"))
            ((size, total),) = commands.rows("SELECT length(tail), total_bytes FROM job_log_tails")
            lifecycle.cancel(job, reason="seen enough", actor="me")
            assert eventually(lambda: commands.state(job) == "CANCELLED")

        assert (size, total > 1_000_000) == (LARGEST_TAIL, True)
        assert commands.value("SELECT count(*) FROM job_log_tails") == 0
        assert streams(commands.raw_log(job))[b"INFO"].endswith(b"50000\n50%")

    def test_of_a_lost_lease_is_not_written(self, commands: Commands) -> None:
        job = commands.enqueue(program("true"))
        with connect("default", "test") as session:
            (claimed,) = leases.claim(session, uuid.uuid4(), ["default"], 1, starting=1)
            tails = [
                keeper.Tail(job, claimed.epoch, b"mine", 4),
                keeper.Tail(uuid.uuid4(), claimed.epoch, b"nobody's", 8),
            ]
            keeper.write_tails(session, tails)
            keeper.write_tails(session, [keeper.Tail(job, claimed.epoch - 1, b"late", 9)])

        assert commands.rows("SELECT tail, total_bytes FROM job_log_tails") == [(b"mine", 4)]


def printed(job: object, *words: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command("jobs_logs", str(job), *words, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


class TestCommand:
    def test_prints_the_file(self, commands: Commands) -> None:
        job = commands.run(program("echo", "hello"))

        assert printed(job) == (commands.log(job), "")

    def test_says_that_nothing_was_written(self, commands: Commands) -> None:
        job = commands.run(program("true"))

        assert printed(job, "--follow") == (
            "",
            f"Job {job} is SUCCEEDED and has written nothing.\n",
        )

    def test_follows_until_the_end_and_prints_everything_once(self, commands: Commands) -> None:
        job = commands.enqueue(script("for n in 1 2 3; do echo $n; sleep 0.3; done"))
        found: list[tuple[str, str]] = []
        with running(commands.worker()):
            follower = threading.Thread(target=lambda: found.append(follow(job)))
            follower.start()
            follower.join(30)
        ((text, errors),) = found

        assert (text, errors) == (commands.log(job), "")

    def test_says_what_it_could_not_see(self, commands: Commands) -> None:
        job = commands.enqueue(program("true"))
        commands.execute(
            "INSERT INTO job_log_tails (job_id, tail, total_bytes) VALUES (%s, 'end', 1003)", [job]
        )

        text, errors = printed(job)
        assert (text, errors.split(" ", 1)[0]) == ("end", "1,000")

    def test_a_tail_without_a_file_is_shown(self, commands: Commands) -> None:
        """Of a worker that was killed."""
        job = commands.enqueue(program("true"))
        commands.execute(
            "INSERT INTO job_log_tails (job_id, tail, total_bytes) VALUES (%s, 'last\n', 5)", [job]
        )

        assert printed(job) == ("last\n", "")

    def test_a_job_that_is_not_there(self, commands: Commands) -> None:
        with pytest.raises(CommandError) as refused:
            printed(uuid.uuid4())
        assert refused.value.returncode == 1

    def test_a_file_that_is_gone(self, commands: Commands, tmp_path: Path) -> None:
        job = commands.run(program("echo", "hello"))
        for path in files_in(tmp_path / "logs"):
            path.unlink()

        with pytest.raises(
            CommandError, match=r"storage://job_logs/.*: there is no such"
        ) as refused:
            printed(job)
        assert refused.value.returncode == 3

    def test_help_says_what_a_newcomer_needs(self) -> None:
        from jobs.management.commands.jobs_logs import Command

        text = Command().create_parser("manage.py", "jobs_logs").format_help()
        for words in (
            "log file",
            "64 KiB",
            "masked",
            "Exit codes: 0 printed",
            "until the job has ended",
        ):
            assert words in " ".join(text.split())


def follow(job: object) -> tuple[str, str]:
    from django.db import connections

    try:
        return printed(job, "--follow")
    finally:
        connections.close_all()


class TestUri:
    @pytest.mark.parametrize(
        "uri",
        [
            "storage://job_logs/../../etc/passwd",
            "storage://job_logs//etc/passwd",
            "storage://job_logs/",
            "storage://job_logs/a/../../b",
            "storage://job_logs/a\0b",
            "storage://default/a.log",
            "file:///etc/passwd",
            "file://elsewhere/tmp/x.log",
            "s3://bucket/a.log",
            "/etc/passwd",
            "",
            "http://[",
        ],
    )
    def test_one_that_leaves_the_storage_is_refused(self, log_folder: Path, uri: str) -> None:
        with pytest.raises(store.LogUnreadable):
            next(store.chunks(uri))
        with pytest.raises(store.LogUnreadable):
            store.delete(uri)

    def test_a_symbolic_link_is_no_way_out(self, log_folder: Path) -> None:
        log_folder.mkdir()
        (log_folder / "out").symlink_to("/etc")

        with pytest.raises(store.LogUnreadable):
            next(store.chunks(f"file://{log_folder}/out/passwd"))

    def test_the_originals_are_read_where_they_are_ours(self, log_folder: Path) -> None:
        log_folder.mkdir()
        (log_folder / "a b.log").write_bytes(b"old\n")

        uri = f"file://{log_folder}/a%20b.log"
        assert b"".join(store.chunks(uri)) == b"old\n"
        store.delete(uri)
        store.delete(uri)
        assert files_in(log_folder) == []


def a_log(commands: Commands, *, expired: bool = False, **options: Any) -> uuid.UUID:
    job = commands.run(program("echo", "hello"), **options)
    if expired:
        commands.execute(
            "UPDATE job_log_files SET expires_at = now() - interval '1 h' WHERE job_id = %s", [job]
        )
    return job


class TestRetention:
    @pytest.mark.parametrize(
        ("metadata", "hours"),
        [
            ({}, 168),
            ({"log_ttl_hours": 2}, 2),
            ({"log_ttl_hours": "soon"}, 168),
            ({"log_ttl_hours": -1}, 168),
        ],
    )
    def test_defect_3_9_the_time_is_the_jobs_own(
        self, commands: Commands, metadata: Any, hours: float
    ) -> None:
        a_log(commands, metadata=metadata)

        left = commands.value("SELECT expires_at - now() FROM job_log_files")
        assert timedelta(hours=hours, minutes=-1) < left <= timedelta(hours=hours)

    def test_the_setting_is_the_default(self, commands: Commands, settings: Any) -> None:
        settings.JOBS_LOG_TTL_HOURS = 1
        a_log(commands)

        assert commands.value("SELECT expires_at < now() + interval '2 h' FROM job_log_files")

    def test_defect_3_9_a_purge_takes_rows_and_their_files(
        self, commands: Commands, tmp_path: Path
    ) -> None:
        kept = a_log(commands)
        gone = a_log(commands, expired=True)
        before = files_in(tmp_path / "logs")

        dry = logs.purge_logs(dry_run=True)
        assert (dry, files_in(tmp_path / "logs")) == (
            logs.Purged(expired=1, files=1, left=0),
            before,
        )
        assert logs.purge_logs() == logs.Purged(expired=1, files=1, left=0)

        assert commands.rows("SELECT job_id FROM job_log_files") == [(kept,)]
        assert [path.name.startswith(str(kept)) for path in files_in(tmp_path / "logs")] == [True]
        with pytest.raises(logs.LogNotFound):
            logs.read(gone)

    def test_a_crash_between_row_and_file_orphans_nothing(
        self, commands: Commands, tmp_path: Path
    ) -> None:
        a_log(commands)
        commands.execute("DELETE FROM job_log_files")

        assert len(files_in(tmp_path / "logs")) == 1
        assert logs.purge_logs().files == 1
        assert files_in(tmp_path / "logs") == []
        assert commands.value("SELECT count(*) FROM job_log_garbage") == 0

    def test_a_crash_between_file_and_note_is_fine(
        self, commands: Commands, tmp_path: Path
    ) -> None:
        a_log(commands, expired=True)
        for path in files_in(tmp_path / "logs"):
            path.unlink()

        assert logs.purge_logs() == logs.Purged(expired=1, files=1, left=0)

    def test_deleting_a_job_takes_its_file_along(self, commands: Commands, tmp_path: Path) -> None:
        job = a_log(commands)
        lifecycle.delete(job, reason="no more", actor="me")

        logs.purge_logs()
        assert files_in(tmp_path / "logs") == []

    def test_a_file_that_cannot_be_deleted_is_left_and_keeps_none_from_going(
        self, commands: Commands, tmp_path: Path
    ) -> None:
        a_log(commands, expired=True)
        commands.execute("INSERT INTO job_log_garbage (storage_uri) VALUES ('s3://elsewhere/a')")

        assert logs.purge_logs() == logs.Purged(expired=1, files=1, left=1)
        assert files_in(tmp_path / "logs") == []
        assert commands.rows("SELECT storage_uri FROM job_log_garbage") == [("s3://elsewhere/a",)]

    def test_a_note_of_a_file_that_is_in_use_deletes_nothing(self, commands: Commands) -> None:
        job = a_log(commands)
        commands.execute(
            "INSERT INTO job_log_garbage (storage_uri) SELECT storage_uri FROM job_log_files"
        )

        logs.purge_logs()
        assert commands.value("SELECT count(*) FROM job_log_garbage") == 0
        assert commands.lines(job) == ["hello"]

    def test_goes_in_bounded_batches(self, commands: Commands) -> None:
        job = a_log(commands)
        commands.execute(
            "INSERT INTO job_log_garbage (storage_uri) "
            "SELECT 'storage://job_logs/none/' || n FROM generate_series(1, 1200) AS s (n)"
        )

        assert logs.purge_logs(limit=700).files == 700
        assert logs.purge_logs().files == 500
        assert commands.lines(job) == ["hello"]

    def test_two_at_once_share_the_work(self, commands: Commands, tmp_path: Path) -> None:
        from django.db import connections

        for _ in range(3):
            a_log(commands, expired=True)
        barrier = threading.Barrier(2)
        done: list[logs.Purged] = []

        def purge() -> None:
            try:
                barrier.wait(10)
                done.append(logs.purge_logs())
            finally:
                connections.close_all()

        threads = [threading.Thread(target=purge) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)

        assert sum(one.expired for one in done) == 3
        assert files_in(tmp_path / "logs") == []
        logs.purge_logs()
        assert commands.value("SELECT count(*) FROM job_log_garbage") == 0

    def test_old_tails_of_runs_that_are_no_more_go(self, commands: Commands) -> None:
        old, new = commands.enqueue(program("true")), commands.enqueue(program("true"))
        commands.execute(
            "INSERT INTO job_log_tails (job_id, tail, total_bytes, updated_at) VALUES "
            "(%s, 'x', 1, now() - interval '169 h'), (%s, 'x', 1, now())",
            [old, new],
        )

        logs.purge_logs()
        assert commands.rows("SELECT job_id FROM job_log_tails") == [(new,)]

    def test_defect_3_9_the_total_of_sizes_is_a_number(self, commands: Commands) -> None:
        """A sum of bigint is numeric, which the original could not read."""
        assert logs.total_size() == 0
        a_log(commands)
        commands.execute("UPDATE job_log_files SET size_bytes = 9223372036854775807")
        a_log(commands)
        assert logs.total_size() > 2**63 - 1

    def test_defect_3_9_a_log_can_be_kept(self, commands: Commands) -> None:
        job = a_log(commands, expired=True)
        until = datetime(2099, 1, 1, tzinfo=UTC)
        logs.keep(job, until=until, reason="case 12", actor="legal")

        assert logs.purge_logs().expired == 0
        assert commands.rows("SELECT event_type, actor, payload->>'reason' FROM audit_logs") == [
            ("JobLogKept", "legal", "case 12")
        ]
        with pytest.raises(logs.LogDateInvalid):
            logs.keep(job, until=datetime(2099, 1, 1), reason="x", actor="me")  # noqa: DTZ001
        with pytest.raises(logs.LogNotFound):
            logs.keep(uuid.uuid4(), until=until, reason="x", actor="me")

    def test_defect_3_9_a_log_of_no_job_is_an_error(self, commands: Commands) -> None:
        """The original wrote it for the nil UUID, and only a line in its own log told."""
        with pytest.raises(CommandError, match="'nonsense' is no id of a job") as refused:
            printed("nonsense")
        assert refused.value.returncode in {1, 2}
        with pytest.raises(logs.JobNotFound):
            logs.look(uuid.UUID(int=0))

    def test_one_can_be_deleted_at_once(self, commands: Commands, tmp_path: Path) -> None:
        job = a_log(commands)
        logs.delete(job, reason="personal data", actor="me")

        logs.purge_logs()
        assert files_in(tmp_path / "logs") == []
        assert commands.value("SELECT count(*) FROM audit_logs WHERE event_type = 'JobLogDeleted'")
        with pytest.raises(logs.LogNotFound):
            logs.delete(job, reason="again", actor="me")


class TestKeeper:
    def test_a_database_that_goes_away_is_waited_for(self, commands: Commands) -> None:
        first = commands.enqueue(program("echo", "one"))
        with running(commands.worker()):
            assert eventually(lambda: commands.state(first) == "SUCCEEDED")
            commands.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name LIKE 'hodei jobs logs%'"
            )
            second = commands.enqueue(program("echo", "two"))
            assert eventually(lambda: commands.state(second) == "SUCCEEDED")

        assert commands.lines(second) == ["two"]

    def test_leaves_no_thread_and_no_process(self, commands: Commands) -> None:
        commands.run(program("echo", "hello"))

        assert not [one for one in threading.enumerate() if one.name == "jobs log keeper"]
        children = Path(f"/proc/self/task/{threading.get_native_id()}/children")
        if children.exists():
            for child in children.read_text().split():
                assert b"watcher.py" not in Path(f"/proc/{child}/cmdline").read_bytes()


def test_indices_of_purge_are_used(commands: Commands) -> None:
    commands.execute(
        "INSERT INTO jobs (id, spec, state) SELECT gen_random_uuid(), '{}', 'SUCCEEDED' "
        "FROM generate_series(1, 5000)"
    )
    commands.execute(
        "INSERT INTO job_log_files (job_id, storage_uri, expires_at) "
        "SELECT id, 'storage://job_logs/' || id, now() + interval '1 day' FROM jobs"
    )
    commands.execute("ANALYZE job_log_files")

    plan = "\n".join(row[0] for row in commands.rows(f"EXPLAIN {logs._EXPIRE}", {"number": 500}))
    assert "idx_job_log_files_expires_at" in plan
    commands.execute("INSERT INTO job_log_garbage (storage_uri) VALUES ('storage://job_logs/x')")
    plan = "\n".join(
        row[0] for row in commands.rows(f"EXPLAIN {logs._GARBAGE}", {"last": 0, "number": 500})
    )
    assert "idx_job_log_files_storage_uri" in plan
