"""Workers whose network swallows everything, in processes, and those whose clock is wrong."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults import runs
from tests.faults.conftest import Worker
from tests.faults.network import Network
from tests.faults.runs import Session
from tests.processes import eventually

pytestmark = pytest.mark.process

#: What is half a minute by default.
IMPATIENT = {
    "connect_timeout": 2,
    "keepalives_idle": 1,
    "keepalives_interval": 1,
    "keepalives_count": 2,
    "tcp_user_timeout": 3000,
}
LATE = "a run ended after its lease was lost"

only_linux = pytest.mark.skipif(sys.platform != "linux", reason="filters packets as Linux does")


@pytest.fixture(params=["swallowed", pytest.param("held", marks=pytest.mark.slow)])
def cut(request: pytest.FixtureRequest) -> tuple[Callable[[Network], None], ...]:
    """What cuts a network, and what mends it. ``held`` takes what is sent, and delivers it in the
    end."""
    if request.param == "held":
        return Network.hold, Network.release
    if sys.platform != "linux":
        pytest.skip("filters packets as Linux does")
    return Network.swallow, Network.restore


class TestCut:
    def test_off_its_jobs_are_anothers_and_what_it_writes_late_is_refused(
        self,
        session: Session,
        database: dict[str, Any],
        noting: Worker,
        journal: Path,
        cut: tuple[Callable[[Network], None], ...],
    ) -> None:
        off, on = cut
        runs.watch_ends(session)
        runs.put(session, seconds=5)
        with Network(database) as network:
            first = noting(through={**network.through, "OPTIONS": IMPATIENT})
            assert eventually(lambda: len(runs.journal(journal, "began")) == 1)
            off(network)
            session.execute("""UPDATE jobs SET spec = '{"noting": {"seconds": 0}}'""")
            second = noting()
            assert eventually(lambda: runs.count(session, "ends") == 1)
            before = session.execute("SELECT xmin, * FROM jobs").fetchall()
            assert eventually(lambda: len(runs.journal(journal, "ended")) == 2)
            second.terminate()
            second.wait(60)

            on(network)

            errors = journal.with_name("errors")
            assert eventually(lambda: LATE in errors.read_text())
            assert session.execute("SELECT xmin, * FROM jobs").fetchall() == before
            # It is not told to end: its row was not ended for that, and it goes on.
            runs.put(session, 20)
            assert eventually(lambda: runs.count(session, "ends") == 21)
            assert first.poll() is None
            assert [line.process for line in runs.journal(journal, "began")[2:]] == [first.pid] * 20
            assert runs.check(session, journal, 21) == {"runs beyond one": 1, "lost leases": 1}

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("how", "options", "patience"),
        [
            pytest.param(Network.lose, IMPATIENT, 30.0, marks=only_linux, id="lost"),
            pytest.param(Network.lose, {}, 30.0, marks=only_linux, id="lost-by-default"),
            pytest.param(Network.freeze, {}, 4.0, id="frozen"),
            pytest.param(Network.freeze, {}, 30.0, id="frozen-by-default"),
        ],
    )
    def test_off_for_good_it_makes_new_connections(
        self,
        session: Session,
        database: dict[str, Any],
        noting: Worker,
        journal: Path,
        how: Callable[[Network], None],
        options: dict[str, Any],
        patience: float,
        record_property: Callable[[str, object], None],
    ) -> None:
        """``lost``: as where a firewall has forgotten the connections that there were. ``frozen``:
        as where a pooler takes what is sent, and does nothing with it."""
        runs.watch_ends(session)
        runs.put(session, 1_000, seconds=0.02)
        with Network(database) as network:
            noting(
                through={**network.through, "OPTIONS": options},
                patches={"jobs.leases.PATIENCE_SECONDS": patience},
            )
            assert eventually(lambda: runs.count(session, "ends") > 100)
            how(network)
            began = time.monotonic()

            assert eventually(lambda: runs.count(session, "ends") == 1_000, 90)
            record_property("seconds", time.monotonic() - began)
            assert eventually(lambda: runs.count(session, "job_leases") == 0)
            record_property("figures", runs.check(session, journal, 1_000))
