from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import run_checks

from jobs.executors import SpecInvalid
from jobs.executors.command import CommandExecutor
from jobs.processes.invocation import BESIDE, LARGEST_WORD, invocation_of
from jobs.services.queue import enqueue
from jobs.spec import JobInvalid
from tests.jobs.conftest import Commands, program, script


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

    @pytest.mark.parametrize(
        "storage",
        [
            {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"place": "/"}},
            {"OPTIONS": {}},
            "/var/log/jobs",
        ],
        ids=str,
    )
    def test_a_storage_that_cannot_be_made_is_found_by_the_check(
        self, settings: Any, storage: Any
    ) -> None:
        settings.STORAGES = {**settings.STORAGES, "job_logs": storage}

        (found,) = run_checks(tags=["jobs"])
        assert found.id == "jobs.E020"

    def test_one_that_is_wrong_when_it_runs_is_a_failure(
        self, commands: Commands, settings: Any
    ) -> None:
        settings.JOBS_COMMAND_ENVIRONMENT = "PATH"
        job = commands.run(program("true"))

        assert commands.failure(job)[:2] == ("FAILED", "ConfigurationError")
