"""The command, as a process; what the relay does is tested beside it."""

from __future__ import annotations

import errno
import io
import re
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest
from django.core.management import call_command, load_command_class

from tests.faults.conftest import Start, database, head, scene, session, start
from tests.faults.scene import Scene
from tests.outbox.conftest import Outbox
from tests.processes import eventually

__all__ = ["database", "head", "scene", "session", "start"]

pytestmark = pytest.mark.process


def end_of(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


class TestOnce:
    def test_delivers_what_there_is(self, scene: Scene) -> None:
        scene.write(20, hot=2, cold=3)

        code, out, err = end_of(scene.relay("--once"))

        assert code == 0
        assert out == "default: 20 delivered, 0 rejected and to be tried again, 0 given up\n"
        assert re.fullmatch(r"Relay \S+ delivers to default\.\n", err)

    def test_what_still_waits_is_told(self, scene: Scene) -> None:
        scene.write(4, hot=1, cold=1)

        code, out, err = end_of(scene.relay("--once", REJECTS=1.0))

        assert code == 1
        assert out == "default: 0 delivered, 2 rejected and to be tried again, 0 given up\n"
        assert err.endswith("Events still wait; outbox_stats tells for what.\n")

    def test_a_destination_that_is_down_is_told(self, scene: Scene) -> None:
        scene.write(4, hot=1, cold=1)

        code, _, err = end_of(scene.relay("--once", DOWNS=1.0))

        assert code == 1
        assert "default is down: unavailable: it happens\n" in err


class TestMisuse:
    @pytest.mark.parametrize(
        ("words", "code", "told"),
        [
            (
                ("--destination", "defualt"),
                2,
                "There is no destination 'defualt'. Did you mean default?",
            ),
            (("--lanes", "65"), 2, "'65' is no number of lanes; give 1 to 64."),
            (("--metrics-port", "0"), 2, "'0' is no port; give 1 to 65535."),
            (("--metrics-port", "1_0"), 2, "'1_0' is no port; give 1 to 65535."),
            (("--database", "other"), 2, "There is no database 'other'"),
        ],
    )
    def test_is_told(
        self, words: tuple[str, ...], code: int, told: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        command = load_command_class("outbox", "outbox_relay")

        with pytest.raises(SystemExit) as ended:
            command.run_from_argv(["manage.py", "outbox_relay", *words])

        out, err = capsys.readouterr()
        assert (ended.value.code, out) == (code, "")
        assert told in err

    def test_as_a_process_it_is_one_line(self, start: Start) -> None:
        code, out, err = end_of(start("outbox_relay", "--lanes", "65"))

        assert (code, out) == (2, "")
        assert "'65' is no number of lanes; give 1 to 64." in err
        assert "Traceback" not in err

    def test_wrong_settings(self, start: Start) -> None:
        code, _, err = end_of(start("outbox_relay", "--once", outbox={"DESTINATION": {}}))

        assert code == 2
        assert "HODEI_OUTBOX has a key 'DESTINATION'; it knows DESTINATIONS" in err


class TestMetrics:
    def test_are_served(self, scene: Scene) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        scene.write(7, hot=1, cold=2)
        relay = scene.relay("--metrics-port", str(port))
        assert scene.all_published(7)

        def metrics() -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                return str(answer.read().decode())

        assert eventually(
            lambda: 'hodei_outbox_delivered_total{destination="default"} 7.0' in metrics()
        )
        assert "hodei_outbox_up 1.0" in metrics()
        relay.send_signal(signal.SIGTERM)
        assert end_of(relay)[0] == 0

    def test_the_port_is_free_again_when_the_command_has_ended(self, outbox: Outbox) -> None:
        """A program may call it again and again."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]

        call_command("outbox_relay", "--once", "--metrics-port", str(port), stderr=io.StringIO())

        with socket.socket() as client:
            assert client.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


class TestSignals:
    def test_a_second_one_does_not_wait(self, scene: Scene) -> None:
        """The first lets what is being sent come to its end, and here it never does."""
        scene.write(1, hot=1, cold=1)
        relay = scene.relay(publisher="Stuck")
        assert eventually(lambda: scene.path.exists() and scene.path.stat().st_size > 0)

        relay.send_signal(signal.SIGTERM)
        # It is handled when the main thread looks up; two at once would be one.
        assert eventually(lambda: _pending(relay.pid, signal.SIGTERM) == 0)
        relay.send_signal(signal.SIGTERM)

        assert end_of(relay)[0] == 128 + signal.SIGTERM


def _pending(process: int, number: int) -> int:
    """Whether a signal waits for a process, as Linux tells it."""
    status = Path(f"/proc/{process}/status").read_text()
    found = re.search(r"^ShdPnd:\s*([0-9a-f]+)", status, re.MULTILINE)
    assert found
    return int(found[1], 16) >> (number - 1) & 1
