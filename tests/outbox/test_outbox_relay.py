"""The command, as a process; what the relay does is tested beside it."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.faults.conftest import Start, database, head, session, start
from tests.faults.test_relays import count, outbox_of, write_events
from tests.processes import eventually

__all__ = ["database", "head", "session", "start"]

pytestmark = pytest.mark.process
Session = psycopg.Connection[Any]


def end_of(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


class TestOnce:
    def test_delivers_what_there_is(self, session: Session, start: Start, tmp_path: Path) -> None:
        write_events(session, 20, hot=2, cold=3)

        code, out, err = end_of(start("outbox_relay", "--once", outbox=outbox_of(tmp_path / "j")))

        assert code == 0
        assert out == "default: 20 delivered, 0 rejected and to be tried again, 0 given up\n"
        assert re.fullmatch(r"Relay \S+ delivers to default\.\n", err)

    def test_what_still_waits_is_told(self, session: Session, start: Start, tmp_path: Path) -> None:
        write_events(session, 4, hot=1, cold=1)

        code, out, err = end_of(
            start("outbox_relay", "--once", outbox=outbox_of(tmp_path / "j", REJECTS=1.0))
        )

        assert code == 1
        assert out == "default: 0 delivered, 2 rejected and to be tried again, 0 given up\n"
        assert err.endswith("Events still wait; outbox_stats tells for what.\n")

    def test_a_destination_that_is_down_is_told(
        self, session: Session, start: Start, tmp_path: Path
    ) -> None:
        write_events(session, 4, hot=1, cold=1)

        code, _, err = end_of(
            start("outbox_relay", "--once", outbox=outbox_of(tmp_path / "j", DOWNS=1.0))
        )

        assert code == 1
        assert "default is down: away: it happens\n" in err


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
            (("--database", "other"), 2, "There is no database 'other'"),
        ],
    )
    def test_is_one_line(
        self, start: Start, tmp_path: Path, words: tuple[str, ...], code: int, told: str
    ) -> None:
        found, out, err = end_of(start("outbox_relay", *words, outbox=outbox_of(tmp_path / "j")))

        assert (found, out) == (code, "")
        assert told in err
        assert "Traceback" not in err

    def test_wrong_settings(self, start: Start) -> None:
        code, _, err = end_of(start("outbox_relay", "--once", outbox={"DESTINATION": {}}))

        assert code == 2
        assert "HODEI_OUTBOX has a key 'DESTINATION'; it knows DESTINATIONS" in err


class TestMetrics:
    def test_are_served(self, session: Session, start: Start, tmp_path: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        write_events(session, 7, hot=1, cold=2)
        relay = start("outbox_relay", "--metrics-port", str(port), outbox=outbox_of(tmp_path / "j"))
        assert eventually(lambda: count(session, "status = 'PUBLISHED'") == 7)

        def metrics() -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                return str(answer.read().decode())

        assert eventually(
            lambda: 'hodei_outbox_delivered_total{destination="default"} 7.0' in metrics()
        )
        assert "hodei_outbox_up 1.0" in metrics()
        relay.send_signal(signal.SIGTERM)
        assert end_of(relay)[0] == 0
