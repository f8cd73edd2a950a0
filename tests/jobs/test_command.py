"""The executor ``command``: what can be enqueued, how it runs, and how it ends."""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks

from jobs.executors import SpecInvalid
from jobs.executors.command import CommandExecutor
from jobs.processes.invocation import BESIDE, LARGEST_WORD, invocation_of
from jobs.services import lifecycle
from jobs.services.queue import enqueue
from jobs.spec import JobInvalid
from tests.jobs.conftest import Commands, program, script
from tests.jobs.test_worker import running
from tests.processes import eventually


class TestSpec:
    def test_a_program_and_a_script(self) -> None:
        found = invocation_of(
            {
                **program("rsync", "-a", "$HOME; rm"),
                "env": {"A": "1"},
                "working_dir": "/srv",
                "stdin": "in",
                "timeout_ms": 1500,
                "preferences": {"allow_retry": False},
            }
        )

        assert found.words == ("rsync", "-a", "$HOME; rm")
        assert (found.env, found.working_dir, found.stdin) == ({"A": "1"}, "/srv", "in")
        assert (found.timeout, found.allow_retry, found.script) == (1.5, False, None)
        assert invocation_of(script("ls | wc -l")).script == "ls | wc -l"

    @pytest.mark.parametrize(
        ("command", "words"),
        [
            ("echo", "spec['command'] is 'echo'; it is an object with a type."),
            ({}, "spec['command']['type'] is None; it is 'shell' or 'script'."),
            ({"type": "exec"}, "spec['command']['type'] is 'exec'"),
            ({"type": "shell"}, "spec['command']['cmd'] is None; it is the name or the path"),
            ({"type": "shell", "cmd": ""}, "['cmd'] is ''"),
            ({"type": "shell", "cmd": " \n"}, "['cmd'] is ' \\n'"),
            ({"type": "shell", "cmd": ["a"]}, "['cmd'] is ['a']"),
            ({"type": "shell", "cmd": "a", "args": "b"}, "['args'] is 'b'; it is a list."),
            ({"type": "shell", "cmd": "a", "args": ["b", 3]}, "['args'][1] is 3; it is a text."),
            ({"type": "shell", "cmd": "a", "content": "x"}, "has 'content'; it may have args, cmd"),
            ({"type": "shell", "cmd": "a", "args": ["x" * LARGEST_WORD]}, "has 131,072 bytes"),
            ({"type": "script", "content": "x"}, "['interpreter'] is None"),
            ({"type": "script", "interpreter": "sh", "content": " "}, "['content'] is ' '"),
            ({"type": "script", "interpreter": "sh", "content": 1}, "['content'] is 1"),
        ],
    )
    def test_what_can_never_run_is_refused(self, command: Any, words: str) -> None:
        with pytest.raises(SpecInvalid) as refused:
            CommandExecutor().validate(command)

        assert words in str(refused.value)

    @pytest.mark.parametrize(
        ("beside", "words"),
        [
            ({"environment": {}}, "spec has 'environment' beside 'command'; it may have"),
            ({"env": ["A=1"]}, "spec['env'] is ['A=1']; it is an object."),
            ({"env": {"": "1"}}, "has ''; a name has a character, and no '='."),
            ({"env": {"A=B": "1"}}, "has 'A=B'"),
            ({"env": {"A": 1}}, "spec['env']['A'] is a int; it is a text."),
            ({"env": {"HODEI_JOB_ID": "1"}}, "which every command is given"),
            ({"env": {"A": "x" * LARGEST_WORD}}, "spec['env']['A'] has 131,074 bytes"),
            ({"working_dir": "srv"}, "spec['working_dir'] is 'srv'; it is an absolute path."),
            ({"stdin": b"x"}, "spec['stdin'] is b'x'; it is a text."),
            ({"timeout_ms": 0}, "spec['timeout_ms'] is 0; it is a number, 1 to"),
            ({"timeout_ms": True}, "spec['timeout_ms'] is True"),
            ({"timeout_ms": 10**12}, "spec['timeout_ms'] is 1000000000000"),
            ({"resources": {"cpu_cores": 0}}, "['cpu_cores'] is 0; it is a number above 0."),
            ({"resources": {"memory_mb": -1}}, "['memory_mb'] is -1"),
            ({"inputs": [{"destination": ""}]}, "spec['inputs'][0] is {'destination': ''}"),
            ({"outputs": [{}]}, "spec['outputs'][0] is {}; it is an object with a source."),
            ({"preferences": {"allow_retry": "no"}}, "['allow_retry'] is 'no'"),
        ],
    )
    def test_what_stands_beside_it_is_looked_at(self, beside: Any, words: str) -> None:
        with pytest.raises(SpecInvalid) as refused:
            CommandExecutor().validate_beside(beside)

        assert words in str(refused.value)

    def test_what_is_refused_is_not_stored(self, commands: Commands) -> None:
        for spec in (program(""), {**program("true"), "timeout_ms": 0}):
            with pytest.raises(JobInvalid, match="spec"):
                enqueue(spec=spec)

        assert commands.value("SELECT count(*) FROM jobs") == 0

    def test_what_the_original_knows_is_accepted(self) -> None:
        whole = {
            "env": {},
            "working_dir": None,
            "stdin": None,
            "timeout_ms": 300000,
            "inputs": [{"source": "a", "destination": "b"}],
            "outputs": [{"source": "a", "destination": "b"}],
            "constraints": [{"key": "zone", "operator": "Eq", "value": "a"}],
            "resources": {"cpu_cores": 1.0, "memory_mb": 512, "gpu_required": False},
            "image": None,
            "preferences": {"allow_retry": True},
        }

        assert set(whole) == set(BESIDE)
        assert CommandExecutor().validate_beside(whole) is None  # type: ignore[func-returns-value]

    def test_a_value_of_a_variable_is_never_shown(self) -> None:
        with pytest.raises(SpecInvalid) as refused:
            CommandExecutor().validate_beside({"env": {"TOKEN": ["hunter2"]}})

        assert "hunter2" not in str(refused.value)


class TestEnd:
    def test_output_and_errors_and_exit_code(self, commands: Commands) -> None:
        job = commands.run(script("echo out; echo err >&2"))

        assert commands.result(job) == {
            "Success": {"exit_code": 0, "output": "out\n", "error_output": "err\n"}
        }
        assert commands.state(job) == "SUCCEEDED"

    def test_an_exit_code_is_a_failure_with_the_end_of_its_errors(self, commands: Commands) -> None:
        job = commands.run(script("echo why >&2; exit 3"))

        assert commands.failure(job) == ("FAILED", "NonZeroExitCode", "Exit code 3.")
        assert commands.result(job) == {
            "Failed": {"exit_code": 3, "error_message": "Exit code 3.", "error_output": "why\n"}
        }

    def test_a_signal_is_named(self, commands: Commands) -> None:
        job = commands.run(script("kill -SEGV $$"))

        assert commands.failure(job) == ("FAILED", "SignalReceived", "Ended by SIGSEGV.")
        assert commands.result(job)["Failed"]["exit_code"] == 128 + signal.SIGSEGV

    @pytest.mark.parametrize(
        ("spec", "kind", "words"),
        [
            (program("no-such-program"), "CommandNotFound", "no program 'no-such-program'"),
            (program("/dev/null/x"), "CommandNotFound", "no program '/dev/null/x'"),
            (program("/etc/passwd"), "PermissionDenied", "'/etc/passwd' cannot be run"),
            (
                {**program("true"), "working_dir": "/no/such/folder"},
                "FileNotFound",
                "working_dir '/no/such/folder'",
            ),
            (
                {**program("true"), "working_dir": "/etc/passwd"},
                "FileNotFound",
                "working_dir '/etc/passwd'",
            ),
            (script("x", interpreter="no-such-shell"), "CommandNotFound", "'no-such-shell'"),
        ],
    )
    def test_what_cannot_start_says_why_and_is_not_tried_again(
        self, commands: Commands, spec: Any, kind: str, words: str
    ) -> None:
        job = commands.run(spec, max_attempts=3)

        state, found, message = commands.failure(job)
        assert (state, found) == ("FAILED", kind)
        assert words in message
        assert commands.value("SELECT attempts FROM jobs") == 1
        assert message in commands.log(job)

    def test_what_is_no_program_says_so(self, commands: Commands, tmp_path: Path) -> None:
        path = tmp_path / "data"
        path.write_bytes(b"\x7fELF nothing")
        path.chmod(0o700)
        job = commands.run(program(str(path)), max_attempts=3)

        state, kind, message = commands.failure(job)
        assert (state, kind) == ("FAILED", "ProcessSpawnFailed")
        assert "Exec format error" in message

    def test_a_spec_that_was_stored_by_somebody_else_fails_alone(self, commands: Commands) -> None:
        job = commands.enqueue(program("true"))
        commands.execute('UPDATE jobs SET spec = \'{"command": {"type": "shell"}}\'')
        commands.drain()

        state, kind, message = commands.failure(job)
        assert (state, kind) == ("FAILED", "ValidationError")
        assert "spec['command']['cmd']" in message

    def test_a_failure_is_tried_again_unless_the_spec_forbids_it(self, commands: Commands) -> None:
        again = commands.enqueue(program("false"), max_attempts=2)
        never = commands.enqueue(
            {**program("false"), "preferences": {"allow_retry": False}}, max_attempts=2
        )
        late = commands.enqueue(
            {**program("sleep", "60"), "timeout_ms": 50, "preferences": {"allow_retry": False}}
        )
        commands.drain()

        assert commands.state(again) == "PENDING"
        assert commands.state(never) == "FAILED"
        assert commands.state(late) == "TIMEOUT"

    def test_only_the_end_of_much_output_is_in_the_result(self, commands: Commands) -> None:
        job = commands.run(program("seq", "1", "100000"))

        output = commands.result(job)["Success"]["output"]
        assert len(output) == 16 * 1024
        assert output.endswith("\n99999\n100000\n")

    def test_bytes_that_are_no_text_can_be_stored(self, commands: Commands) -> None:
        job = commands.run(program("printf", r"a\000b\377c"))

        assert commands.result(job)["Success"]["output"] == "a\ufffdb\ufffdc"


class TestWhatItGets:
    def test_no_shell_looks_at_the_arguments(self, commands: Commands) -> None:
        hostile = ["$HOME", "`id`", "; rm -rf /", "a b", "'\"", "*", "%s", "é\u2028", "-n", ""]
        job = commands.run(program("printf", "<%s>", *hostile))

        assert commands.output(job) == "".join(f"<{word}>" for word in hostile)

    def test_stdin_arrives_whole_and_ends(self, commands: Commands) -> None:
        job = commands.run({**program("wc", "-c"), "stdin": "é" * 200_000})

        assert commands.output(job).strip() == "400000"

    def test_stdin_that_is_not_read_is_no_failure(self, commands: Commands) -> None:
        job = commands.run({**program("true"), "stdin": "x" * 500_000})

        assert commands.state(job) == "SUCCEEDED"

    def test_without_stdin_there_is_nothing_to_read(self, commands: Commands) -> None:
        assert commands.output(commands.run(program("cat"))) == ""

    def test_its_folder(self, commands: Commands, tmp_path: Path) -> None:
        job = commands.run({**program("pwd"), "working_dir": str(tmp_path)})

        assert commands.output(job).strip() == str(tmp_path.resolve())

    def test_its_variables_and_few_of_the_workers(
        self, commands: Commands, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DATABASE_URL", "postgresql://me:hunter2@db/x")
        monkeypatch.setenv("SECRET_KEY", "the worker's own")
        monkeypatch.setenv("LICENCE", "granted")
        settings.JOBS_COMMAND_ENVIRONMENT = ["PATH", "HOME", "LICENCE"]
        job = commands.run({**program("env"), "env": {"GREETING": "hello", "HOME": "/nowhere"}})

        variables = dict(line.split("=", 1) for line in commands.output(job).splitlines())
        assert set(variables) == {
            *("PATH", "HOME", "LICENCE", "GREETING"),
            *("HODEI_JOB_ID", "HODEI_ATTEMPT", "HODEI_RUN"),
        }
        assert variables["HODEI_JOB_ID"] == str(job)
        assert variables["HODEI_ATTEMPT"] == "1"
        assert (variables["HOME"], variables["LICENCE"]) == ("/nowhere", "granted")

    def test_none_of_the_workers_secrets_by_default(
        self, commands: Commands, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2hunter2")
        job = commands.run(program("env"))

        assert "AWS" not in commands.output(job)

    def test_none_of_the_workers_files(self, commands: Commands, tmp_path: Path) -> None:
        with (tmp_path / "open").open("w") as file:
            os.set_inheritable(file.fileno(), True)
            job = commands.run(script("ls /proc/self/fd | wc -l"))

        # Its three streams, and the folder that ls reads.
        assert commands.output(job).strip() == "4"

    def test_a_script_is_readable_by_its_owner_alone_and_goes(self, commands: Commands) -> None:
        job = commands.run(script('stat -c "%a" "$0" "$(dirname "$0")"; echo "$0"'))

        mode, folder_mode, path = commands.output(job).splitlines()
        assert folder_mode == "700"
        assert mode in {"600", "644"}
        assert not Path(path).parent.exists()

    def test_a_script_of_another_interpreter(self, commands: Commands) -> None:
        job = commands.run(script("import sys; print(sys.argv[1:], 1 + 1)", interpreter="python3"))

        assert commands.output(job) == "[] 2\n"


def alive(process: int) -> bool:
    """Whether it runs; one that only waits to be noticed does not."""
    try:
        return ") Z " not in Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False


#: Starts a child in its group and one that leaves it, writes their numbers, and stays.
FAMILY = """
sleep 600 & child=$!
setsid sleep 600 & gone=$!
echo $$ $child $gone
wait
"""


class TestStop:
    def test_a_timeout_ends_the_whole_family(self, commands: Commands) -> None:
        job = commands.run({**script(FAMILY), "timeout_ms": 1500})

        assert commands.failure(job)[:2] == ("TIMEOUT", "ExecutionTimeout")
        assert commands.result(job) == "Timeout"
        processes = [int(word) for word in commands.lines(job)[0].split()]
        assert len(processes) == 3
        assert eventually(lambda: not any(map(alive, processes)), 5)

    def test_the_timeout_of_the_job_goes_before_that_of_the_spec(self, commands: Commands) -> None:
        from datetime import timedelta

        spec = {**program("sleep", "600"), "timeout_ms": 600_000}
        job = commands.run(spec, timeout=timedelta(seconds=0.2))

        assert commands.failure(job) == (
            *("TIMEOUT", "ExecutionTimeout"),
            "Timed out after 0.2 s, and was ended with all that it had started.",
        )

    def test_there_is_time_for_a_farewell(self, commands: Commands) -> None:
        farewell = "trap 'echo farewell; exit 0' TERM; echo ready; while :; do sleep 0.01; done"
        job = commands.run({**script(farewell), "timeout_ms": 300})

        assert commands.state(job) == "TIMEOUT"
        assert commands.lines(job) == ["ready", "farewell"]

    def test_there_is_time_for_the_farewell_of_a_child(
        self, commands: Commands, settings: Any
    ) -> None:
        settings.JOBS_COMMAND_GRACE_SECONDS = 10.0
        child = (
            "trap 'sleep 1.5; echo farewell; exit' TERM; echo ready; while :; do sleep 0.01; done"
        )
        job = commands.run({**script(f"({child}) & wait"), "timeout_ms": 500})

        assert commands.state(job) == "TIMEOUT"
        assert commands.lines(job) == ["ready", "farewell"]

    def test_one_that_will_not_end_is_made_to(self, commands: Commands) -> None:
        stubborn = "trap '' TERM; echo ready; while :; do sleep 0.01; done"
        job = commands.run({**script(stubborn), "timeout_ms": 300})

        assert commands.state(job) == "TIMEOUT"
        assert commands.lines(job) == ["ready"]

    def test_a_cancel_ends_the_whole_family(self, commands: Commands) -> None:
        job = commands.enqueue(script(FAMILY))
        with running(commands.worker(lease_seconds=0.6)):
            assert eventually(lambda: bool(commands.tail(job)))
            processes = [int(word) for word in commands.tail(job).split()[2:]]
            lifecycle.cancel(job, reason="enough", actor="me")
            assert eventually(lambda: commands.state(job) == "CANCELLED")

        assert len(processes) == 3
        assert eventually(lambda: not any(map(alive, processes)), 5)
        assert commands.result(job) == "Cancelled"
        assert "[NOTE] Cancelled while it ran." in commands.log(job)

    def test_a_lost_lease_ends_it_at_once_and_keeps_no_log(
        self, commands: Commands, settings: Any
    ) -> None:
        settings.JOBS_COMMAND_GRACE_SECONDS = 600.0
        job = commands.enqueue(script("trap '' TERM; echo $$; while :; do sleep 0.01; done"))
        with running(commands.worker(lease_seconds=0.6)):
            assert eventually(lambda: bool(commands.tail(job)))
            process = int(commands.tail(job).split()[2])
            commands.execute(
                "UPDATE job_leases SET epoch = epoch + 1, expires_at = now() + '1 hour'"
            )
            assert eventually(lambda: not alive(process))

        assert commands.value("SELECT count(*) FROM job_log_files") == 0

    def test_the_stop_of_a_worker_lets_it_finish(self, commands: Commands) -> None:
        job = commands.enqueue(script("echo began; sleep 0.5; echo done"))
        stop = threading.Event()
        with running(commands.worker(stop)):
            assert eventually(lambda: commands.state(job) == "RUNNING")
            stop.set()

        assert commands.output(job) == "began\ndone\n"


class TestChildren:
    def test_one_that_holds_the_streams_open_is_not_waited_for(self, commands: Commands) -> None:
        began = time.monotonic()
        job = commands.run(script("sleep 600 & echo $!"))

        assert time.monotonic() - began < 30
        assert commands.state(job) == "SUCCEEDED"
        assert eventually(lambda: not alive(int(commands.output(job))), 5)

    def test_one_that_left_the_group_and_holds_them_is_not_waited_for(
        self, commands: Commands
    ) -> None:
        job = commands.run(script("setsid sleep 600 & echo $!"))

        assert commands.state(job) == "SUCCEEDED"
        for line in commands.output(job).splitlines():
            # It was let go on purpose: a daemon that a job starts outlives the job and the worker.
            assert alive(int(line))
            os.kill(int(line), signal.SIGKILL)

    def test_what_one_writes_soon_after_is_kept(self, commands: Commands) -> None:
        job = commands.run(script("(sleep 0.2; echo late) & echo soon"))

        assert commands.output(job) == "soon\nlate\n"


class TestSettings:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("JOBS_COMMAND_ENVIRONMENT", "PATH"),
            ("JOBS_COMMAND_ENVIRONMENT", ["A=B"]),
            ("JOBS_COMMAND_GRACE_SECONDS", -1),
            ("JOBS_COMMAND_GRACE_SECONDS", "soon"),
            ("JOBS_LOG_TTL_HOURS", 0),
            ("JOBS_LOG_SECRETS", "hunter2"),
            ("JOBS_LOG_SPOOL", ""),
        ],
    )
    def test_one_that_is_wrong_is_found_by_the_check(
        self, settings: Any, name: str, value: Any
    ) -> None:
        setattr(settings, name, value)

        (found,) = run_checks(tags=["jobs"])
        assert found.id == "jobs.E021"
        assert name in found.msg
        assert "hunter2" not in found.msg

    def test_logs_that_have_no_storage_are_found_by_the_check(self, settings: Any) -> None:
        settings.STORAGES = {
            name: value for name, value in settings.STORAGES.items() if name != "job_logs"
        }

        (found,) = run_checks(tags=["jobs"])
        assert found.id == "jobs.E020"
        settings.JOBS_EXECUTORS = {"test": "tests.jobs.executors.Scripted"}
        assert run_checks(tags=["jobs"]) == []

    def test_one_that_is_wrong_when_it_runs_is_a_failure(
        self, commands: Commands, settings: Any
    ) -> None:
        settings.JOBS_COMMAND_ENVIRONMENT = "PATH"
        job = commands.run(program("true"))

        assert commands.failure(job)[:2] == ("FAILED", "ConfigurationError")


def test_an_id_is_no_mark_of_another() -> None:
    """Epoch 1 is the beginning of epoch 12, and must not end it."""
    import subprocess

    from jobs.processes.watcher import kill_marked

    mark = f"HODEI_RUN={uuid.uuid4()}.1"
    other = subprocess.Popen(["sleep", "600"], env={"HODEI_RUN": f"{mark[10:]}2"})
    mine = subprocess.Popen(["sleep", "600"], env={"A": "1", "HODEI_RUN": mark[10:]})
    try:
        assert kill_marked(f"{mark}\0".encode()) >= 1
        assert mine.wait(10) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        other.kill()
        mine.kill()
        other.wait()
        mine.wait()
