from __future__ import annotations

import errno
import os
import signal
import uuid
from pathlib import Path
from typing import Any

import pytest

from jobs.processes import program as program_module
from jobs.processes.guard import Guard
from jobs.processes.invocation import RUN
from jobs.processes.program import Program
from jobs.processes.watcher import kill_group
from jobs.runs import Run
from tests.jobs.conftest import Commands, program, script
from tests.jobs.test_command.kit import alive
from tests.jobs.test_held import claimed


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
        commands.drain(max_jobs=3)

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


class TestDescriptors:
    @pytest.mark.parametrize("name", ["DefaultSelector", "_Alarm"])
    def test_a_program_is_ended_that_nobody_can_watch(
        self, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        """Its job is run again: both would run at once."""

        def refuse() -> None:
            raise OSError(errno.EMFILE, "Too many open files")

        owner = program_module if name == "_Alarm" else program_module.selectors
        guard = Guard()
        words, env = ("sleep", "600"), {RUN: guard.mark("1"), "PATH": os.environ["PATH"]}
        started = Program(words, env=env, working_dir=None, stdin=None, guard=guard)
        process = started._process.pid
        try:
            assert alive(process)
            monkeypatch.setattr(owner, name, refuse)
            (job,) = claimed(1)
            with pytest.raises(OSError, match="Too many open files"):
                started.wait(Run(job, uuid.uuid4()), sink=lambda *_: None, grace=1.0)
            assert not alive(process)
        finally:
            kill_group(process)
            started._process.wait()
            guard.close()
