"""Workers as processes of this machine: started once for each key, found again, ended for sure."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sagas.providers import Ping, ProviderRefused, WorkerOrder, pidfile
from sagas.providers import process as process_module
from sagas.providers.process import ProcessProvider, WrongMachine
from tests.processes import ROOT, environment, eventually

pytestmark = pytest.mark.process

KEY = "hodei-one"
#: In place of ``manage.py jobs_worker``: it says what it got, and stays.
STAYS = [
    sys.executable,
    "-c",
    "import os, time; print(os.environ['HODEI_WORKER_ID'], flush=True); time.sleep(300)",
]
DEAF = [
    sys.executable,
    "-c",
    (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); "
        "time.sleep(300)"
    ),
]
ENDS = [sys.executable, "-c", "print('no such database'); raise SystemExit(3)"]


@pytest.fixture
def provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProcessProvider]:
    monkeypatch.setattr(process_module, "_manage", lambda: STAYS)
    folder = tmp_path / "workers"
    found = ProcessProvider({"folder": str(folder), "grace": 0.2})
    yield found
    for path in folder.glob("*.json"):
        found.destroy(path.stem, {})


def order() -> WorkerOrder:
    return WorkerOrder(worker_id=uuid.uuid4(), token="id.secret")


def lives(pid: int) -> bool:
    return pidfile.of_pid(pid) is not None


def test_it_is_started_found_and_ended(provider: ProcessProvider) -> None:
    wanted = order()

    handle = provider.create(KEY, wanted)

    assert lives(handle["pid"])
    assert provider.verify(KEY) == handle
    assert provider.ping(KEY, handle) is Ping.ALIVE
    assert eventually(lambda: provider.output(KEY) == str(wanted.worker_id))
    assert os.getsid(handle["pid"]) == handle["pid"]

    provider.destroy(KEY, handle)

    assert not lives(handle["pid"])
    assert provider.verify(KEY) is None
    assert provider.ping(KEY, handle) is Ping.GONE
    provider.destroy(KEY, handle)


def test_the_token_is_on_no_command_line(provider: ProcessProvider) -> None:
    handle = provider.create(KEY, order())

    line = Path(f"/proc/{handle['pid']}/cmdline")
    # For a moment it is the program before the worker's.
    assert eventually(lambda: b"jobs_worker" in line.read_bytes())
    assert b"id.secret" not in line.read_bytes()


def test_a_second_create_of_a_key_is_the_first(provider: ProcessProvider) -> None:
    first = provider.create(KEY, order())

    assert provider.create(KEY, order()) == first


def test_three_at_once_start_one_and_leave_none(
    provider: ProcessProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that has not noted itself yet would be overlooked by whoever ends the first."""
    barrier, handles = threading.Barrier(3), []
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def noted(*words: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(popen(*words, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", noted)

    def create() -> None:
        barrier.wait()
        handles.append(provider.create(KEY, order()))

    threads = [threading.Thread(target=create) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(handles) == 3
    assert len({handle["pid"] for handle in handles}) == 1
    provider.destroy(KEY, {})
    assert [process.wait(30) for process in started] == [-signal.SIGTERM]
    assert provider.verify(KEY) is None


def test_it_is_found_after_whoever_started_it_was_killed(
    provider: ProcessProvider, tmp_path: Path
) -> None:
    """Killed as soon as the launcher is started, long before it could note anything."""
    folder = tmp_path / "workers"
    folder.mkdir(mode=0o700)
    script = (
        "import os, signal, subprocess, sys\n"
        "from sagas.providers import pidfile\n"
        f"lock = pidfile.hold({str(folder)!r}, {KEY!r})\n"
        "subprocess.Popen([sys.executable, '-m', 'sagas.providers.launch', str(lock), "
        f"{str(folder)!r}, {KEY!r}, *{STAYS!r}], start_new_session=True, pass_fds=[lock])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(HODEI_WORKER_ID="w"),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert eventually(lambda: provider.verify(KEY) is not None)
    found = provider.verify(KEY)
    assert found is not None

    assert provider.create(KEY, order()) == found
    provider.destroy(KEY, {})
    assert not lives(found["pid"])


def test_one_that_ends_at_once_says_why(
    provider: ProcessProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle_or_error: list[str] = []
    monkeypatch.setattr(process_module, "_manage", lambda: ENDS)
    try:
        handle = provider.create(KEY, order())
        # It had noted itself before it ended.
        assert eventually(lambda: provider.ping(KEY, handle) is Ping.GONE)
    except ProviderRefused as error:
        handle_or_error.append(str(error))

    assert "no such database" in provider.output(KEY)


def test_one_that_was_killed_is_gone(provider: ProcessProvider) -> None:
    handle = provider.create(KEY, order())

    os.kill(handle["pid"], signal.SIGKILL)

    assert eventually(lambda: provider.ping(KEY, handle) is Ping.GONE)
    assert provider.verify(KEY) is None
    again = provider.create(KEY, order())
    assert again["pid"] != handle["pid"]


def test_one_that_is_stopped_is_there_and_can_be_ended(provider: ProcessProvider) -> None:
    handle = provider.create(KEY, order())
    os.kill(handle["pid"], signal.SIGSTOP)

    assert provider.ping(KEY, handle) is Ping.ALIVE
    provider.destroy(KEY, handle)

    assert not lives(handle["pid"])


def test_one_that_is_deaf_is_killed(
    provider: ProcessProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "_manage", lambda: DEAF)
    handle = provider.create(KEY, order())
    assert eventually(lambda: provider.output(KEY) == "deaf")

    provider.destroy(KEY, handle)

    assert not lives(handle["pid"])


@pytest.mark.parametrize("lie", [{"started": "1"}, {"boot": "another boot"}])
def test_a_number_that_was_given_again_is_not_touched(
    provider: ProcessProvider, tmp_path: Path, lie: dict[str, str]
) -> None:
    bystander = subprocess.Popen(STAYS, env=environment(HODEI_WORKER_ID="x"), stdout=-3)
    try:
        folder = tmp_path / "workers"
        folder.mkdir(mode=0o700)
        truth = pidfile.of_pid(bystander.pid)
        assert truth is not None
        record = {"pid": truth.pid, "started": truth.started, "boot": truth.boot, **lie}
        pidfile.path_of(folder, KEY).write_text(json.dumps(record))

        assert provider.verify(KEY) is None
        provider.destroy(KEY, record)

        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_file_that_is_broken_names_nobody(provider: ProcessProvider, tmp_path: Path) -> None:
    folder = tmp_path / "workers"
    folder.mkdir(mode=0o700)
    for text in ("", "[]", '{"pid": 1}', "null"):
        pidfile.path_of(folder, KEY).write_text(text)
        assert provider.verify(KEY) is None


def test_a_process_of_another_machine_is_nobodys_here(provider: ProcessProvider) -> None:
    handle = {"host": "elsewhere.example", "pid": os.getpid()}

    assert provider.ping(KEY, handle) is Ping.UNSURE
    with pytest.raises(WrongMachine, match=r"elsewhere\.example"):
        provider.destroy(KEY, handle)


def test_one_whose_file_is_gone_is_known_by_its_handle(
    provider: ProcessProvider, tmp_path: Path
) -> None:
    """Somebody tidied up, or named another folder: what runs is not gone for that."""
    handle = provider.create(KEY, order())
    other = ProcessProvider({"folder": str(tmp_path / "other"), "grace": 0.2})

    assert other.ping(KEY, handle) is Ping.ALIVE
    other.destroy(KEY, handle)

    assert not lives(handle["pid"])
    assert other.ping(KEY, handle) is Ping.GONE


@pytest.mark.parametrize("lie", [{"started": "1"}, {"boot": "another boot"}, {"pid": "x"}])
def test_a_handle_of_another_process_names_nobody(
    provider: ProcessProvider, tmp_path: Path, lie: dict[str, str]
) -> None:
    handle = {**provider.create(KEY, order()), **lie}
    other = ProcessProvider({"folder": str(tmp_path / "other"), "grace": 0.2})

    assert other.ping(KEY, handle) is Ping.GONE
    other.destroy(KEY, handle)

    assert provider.verify(KEY) is not None


def test_a_folder_that_others_can_write_into_is_refused(
    provider: ProcessProvider, tmp_path: Path
) -> None:
    folder = tmp_path / "workers"
    folder.mkdir()
    folder.chmod(0o777)

    with pytest.raises(ProviderRefused, match="not this user's alone"):
        provider.create(KEY, order())


@pytest.mark.parametrize("key", ["../up", "", "a/b", ".hidden"])
def test_a_key_is_no_path(provider: ProcessProvider, tmp_path: Path, key: str) -> None:
    (tmp_path / "up.json").write_text("{}")

    with pytest.raises(ProviderRefused, match="is no key"):
        provider.create(key, order())
    assert provider.verify(key) is None
    provider.destroy(key, {})
    assert (tmp_path / "up.json").exists()


def test_a_grace_that_is_no_time_is_said() -> None:
    with pytest.raises(ProviderRefused, match="grace"):
        ProcessProvider({"grace": "long"})
