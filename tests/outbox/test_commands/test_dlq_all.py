from __future__ import annotations

import re
import select
import signal
import subprocess
import sys
import uuid

import pytest
from django.db import connections, transaction

from outbox.outcomes import permanent
from outbox.services import dead_letters
from tests.databases import HERE
from tests.outbox.conftest import Outbox
from tests.outbox.dead import JOB, OTHER, die
from tests.outbox.test_commands.kit import BY, dlq, states
from tests.processes import ROOT, environment, eventually

BLOCKED = (
    f"SELECT count(*) FROM pg_locks WHERE {HERE} AND relation = 'outbox_dlq'::regclass "
    "AND NOT granted"
)


class TestActOnAll:
    def test_all_that_fit(self, outbox: Outbox) -> None:
        for number in range(3):
            die(outbox, uuid.uuid4(), number)
        kept = die(outbox, JOB, 9, outcome=permanent("other", "x"))

        ran = dlq("requeue", "--class", "http_422", "--reason", "fixed", "--rate", "1000")

        assert ran.out == "3 dead letters were requeued.\n"
        assert "3 dead letters of 3 that fit, in 3 aggregates. Ctrl-C stops it" in ran.err
        assert [one.id for one in dead_letters.list_letters().letters] == [kept]

    def test_at_most_so_many_and_then_the_rest_of_the_batch(self, outbox: Outbox) -> None:
        for number in range(3):
            die(outbox, uuid.uuid4(), number)
        ran = dlq("discard", "--all", "--limit", "2", "--reason", "x")
        assert "2 dead letters of 3 that fit" in ran.err
        (batch,) = re.findall(r"--batch (\S+)", ran.err)

        assert dlq("discard", "--all", "--batch", batch, "--reason", "x").out == (
            "1 dead letter was discarded.\n"
        )

        assert (
            outbox.value(
                "SELECT count(DISTINCT batch_id) FROM outbox_dlq_actions WHERE batch_id IS NOT NULL"
            )
            == 1
        )

    def test_restore_by_conditions(self, outbox: Outbox) -> None:
        dead_letters.resolve(die(outbox, JOB, 1), **BY)
        dead_letters.discard(die(outbox, OTHER, 2), **BY)

        assert "1 dead letter was restored" in dlq("restore", "--all", "--reason", "x").out
        assert "1 dead letter was restored" in (
            dlq("restore", "--all", "--state", "resolved", "--reason", "x").out
        )
        assert states(outbox) == ["OPEN", "OPEN"]

    def test_a_state_beside_ids_is_refused_and_not_left_aside(self, outbox: Outbox) -> None:
        letter = dead_letters.discard(die(outbox, JOB, 1), **BY).letter_id

        ran = dlq("restore", str(letter), "--state", "resolved", "--reason", "x", code=2)

        assert "--state is for conditions and --all" in ran.err
        assert states(outbox) == ["DISCARDED"]
        dlq("restore", str(letter), "--reason", "x")
        assert states(outbox) == ["OPEN"]

    @pytest.mark.parametrize("empty", ["", "/", "/4711"])
    def test_an_aggregate_without_a_type_is_refused_and_never_means_all(
        self, outbox: Outbox, empty: str
    ) -> None:
        """As a script has it whose variable is not set."""
        die(outbox, JOB, 1)

        ran = dlq("discard", "--aggregate", empty, "--reason", "x", code=2)

        assert f"--aggregate is '{empty}'; give TYPE or TYPE/KEY." in ran.err
        assert states(outbox) == ["OPEN"]

    def test_what_was_refused_is_told(self, outbox: Outbox) -> None:
        die(outbox, JOB, 1)
        outbox.execute("UPDATE outbox_events SET status = 'PUBLISHED', published_at = now()")

        ran = dlq("requeue", "--all", "--reason", "x", code=1)

        assert "1 dead letter was left alone" in ran.err
        assert "was published at" in ran.err

    def test_nothing_fits(self, outbox: Outbox) -> None:
        assert dlq("requeue", "--all", "--reason", "x").out == (
            "There is no dead letter that fits.\n"
        )

    def test_a_signal_stops_it_and_it_is_gone_on_with(self, outbox: Outbox) -> None:
        for number in range(4):
            die(outbox, uuid.uuid4(), number)
        # One now, and the next one in a quarter of an hour.
        running = process("outbox_dlq", "requeue", "--all", "--reason", "x", "--rate", "0.001")
        assert eventually(lambda: states(outbox).count("REQUEUED") == 1, 60)

        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)

        assert running.returncode == 1
        assert out == "1 dead letter was requeued.\n"
        assert "Stopped: 3 left." in err
        (batch, *_) = re.findall(r"--batch (\S+)", err)
        assert dlq("requeue", "--all", "--batch", batch, "--reason", "x").out.startswith("3 ")


@pytest.mark.parametrize("words", [["list"], ["requeue", "--all", "--reason", "x"]])
def test_ctrl_c_while_it_waits_is_no_traceback(outbox: Outbox, words: list[str]) -> None:
    die(outbox, JOB, 1)
    with transaction.atomic():
        outbox.execute("LOCK TABLE outbox_dlq")
        running = process("outbox_dlq", *words)
        assert eventually(lambda: outbox.value(BLOCKED) == 1, 60)

        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)

    assert (running.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "CommandError: Interrupted."
    assert "Traceback" not in err
    assert states(outbox) == ["OPEN"]


def test_a_signal_is_answered_at_once_where_a_lock_is_waited_for(outbox: Outbox) -> None:
    with transaction.atomic():
        outbox.execute("LOCK TABLE outbox_events")
        running = process("outbox_prune")
        waiting = BLOCKED.replace("outbox_dlq", "outbox_events")
        assert eventually(lambda: outbox.value(waiting) == 1, 60)

        running.send_signal(signal.SIGINT)
        assert running.stderr is not None
        answered, _, _ = select.select([running.stderr], [], [], 20)
        said = running.stderr.readline() if answered else ""

    assert said == "Stopping after this batch; a second signal ends it at once.\n"
    running.communicate(timeout=60)
    assert running.returncode == 1


def process(*words: str) -> subprocess.Popen[str]:
    """A command on the test database, in a process of its own."""
    found = connections["default"].settings_dict
    url = "postgresql://{USER}@/{NAME}?host={HOST}&port={PORT}".format(**found)
    return subprocess.Popen(
        [sys.executable, "manage.py", *words],
        cwd=ROOT,
        env=environment(DATABASE_URL=url, PGPASSWORD=str(found["PASSWORD"] or "")),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
