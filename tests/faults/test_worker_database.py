"""Workers whose database ends their sessions, is full, stops, dies, and comes back."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from jobs import rescuer
from jobs.worker import LONGEST_POLL
from tests.faults import runs, test_workers
from tests.faults.conftest import Worker, connection_of
from tests.faults.runs import Session
from tests.faults.servers import Private, private_server, standby_of
from tests.processes import eventually

pytestmark = pytest.mark.process

OURS = "datname = current_database() AND application_name LIKE 'hodei jobs%'"

Note = Callable[[str, object], None]


@pytest.fixture(scope="module")
def own(head: dict[str, Any], django_db_blocker: Any) -> Iterator[Private]:
    """A server of these tests, with a database at head."""
    with django_db_blocker.unblock(), private_server() as found:
        found.fill(head)
        yield found


@pytest.fixture
def copy(own: Private) -> dict[str, Any]:
    """A copy of that database."""
    own.start()
    name = f"copy_{time.monotonic_ns()}"
    with own.connect("postgres") as session:
        session.execute(f'CREATE DATABASE "{name}" TEMPLATE hodei')
    with own.connect(name) as session:
        runs.watch_ends(session)
    return own.database(name)


class TestSessions:
    def test_that_are_ended_under_load_lose_nothing(
        self, session: Session, noting: Worker, journal: Path
    ) -> None:
        runs.watch_ends(session)
        runs.put(session, 600, seconds=0.02)
        noting()
        for ended in (50, 200, 350):
            assert eventually(lambda least=ended: runs.count(session, "ends") >= least)
            session.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OURS}")

        assert eventually(lambda: runs.count(session, "ends") == 600)
        assert eventually(lambda: runs.count(session, "job_leases") == 0)
        runs.check(session, journal, 600)

    @pytest.mark.slow
    def test_that_are_refused_for_being_too_many_are_waited_for(
        self, session: Session, database: dict[str, Any], noting: Worker, journal: Path
    ) -> None:
        role = f"few_{database['NAME']}"
        session.execute(f"CREATE ROLE {role} LOGIN")
        try:
            session.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
            session.execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}")
            runs.watch_ends(session)
            session.execute(f"GRANT ALL ON ends TO {role}")
            errors = journal.with_name("errors")
            runs.put(session, 1)
            worker = noting(through={**database, "USER": role})
            assert eventually(lambda: runs.count(session, "ends") == 1)

            session.execute(f"ALTER ROLE {role} CONNECTION LIMIT 0")
            session.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OURS}")
            runs.put(session, 50)
            refusal = f'too many connections for role "{role}"'
            assert eventually(lambda: errors.read_text().count(refusal) >= 4)
            assert worker.poll() is None
            assert runs.count(session, "ends") == 1
            session.execute(f"ALTER ROLE {role} CONNECTION LIMIT -1")

            assert eventually(lambda: runs.count(session, "ends") == 51)
            runs.check(session, journal, 51)
            worker.kill()
            worker.wait()
        finally:
            session.execute(f"DROP OWNED BY {role}")
            session.execute(f"DROP ROLE {role}")


class TestServer:
    @pytest.mark.parametrize("how", ["kill", pytest.param("stop", marks=pytest.mark.slow)])
    def test_that_starts_again_under_load_loses_nothing(
        self,
        own: Private,
        copy: dict[str, Any],
        noting: Worker,
        journal: Path,
        how: str,
        record_property: Note,
    ) -> None:
        """``stop`` is a fast shutdown, ``kill`` an immediate one."""
        with own.connect(copy["NAME"]) as session:
            runs.put(session, 600, seconds=0.02)
            noting(through=copy)
            assert eventually(lambda: runs.count(session, "ends") > 200)
        getattr(own, how)()
        own.start()
        returned = time.monotonic()
        with own.connect(copy["NAME"]) as session:
            before = runs.count(session, "ends")
            assert eventually(lambda: runs.count(session, "ends") > before)
            record_property("seconds to the next end", time.monotonic() - returned)
            assert eventually(lambda: runs.count(session, "ends") == 600)
            assert eventually(lambda: runs.count(session, "job_leases") == 0)
            record_property("figures", runs.check(session, journal, 600))

    @pytest.mark.slow
    @pytest.mark.parametrize("seconds", [4, 20])
    def test_that_is_away_for_longer_than_a_lease_costs_no_run(
        self,
        own: Private,
        copy: dict[str, Any],
        noting: Worker,
        journal: Path,
        seconds: int,
        record_property: Note,
    ) -> None:
        """What ran all the while is not run again: its worker has come back, and was not lost."""
        patches = {"jobs.leases.LEASE_SECONDS": seconds * 0.75}
        with own.connect(copy["NAME"]) as session:
            runs.put(session, seconds=seconds + 3)
            noting(through=copy, patches=patches)
            noting(through=copy, patches=patches)
            assert eventually(lambda: len(runs.journal(journal, "began")) == 1)
        own.stop()
        ended = time.monotonic() + seconds
        assert eventually(lambda: time.monotonic() > ended, seconds + 1)
        own.start()
        returned = time.monotonic()
        with own.connect(copy["NAME"]) as session:
            runs.put(session, 20)
            assert eventually(lambda: runs.count(session, "ends") >= 20)
            record_property("seconds to the end of the next job", time.monotonic() - returned)
            assert eventually(lambda: runs.count(session, "ends") == 21)
            assert runs.check(session, journal, 21)["lost leases"] == 0


class TestIdle:
    def test_one_asks_one_question_a_look_and_says_now_and_then_that_it_lives(
        self, own: Private, copy: dict[str, Any], noting: Worker
    ) -> None:
        """Looks are 1.5 s apart, and shorter here: what counts is what is asked between them."""
        patches = {**test_workers.LEASES, "jobs.rescuer.LOOK_SECONDS": 0.2}
        log = own.server.location.log
        start = log.stat().st_size

        def asked() -> list[str]:
            said = log.read_bytes()[start:].decode()
            return re.findall(r"LOG:  (?:statement|execute [^:]+): (.+)", said)

        with own.connect(copy["NAME"]) as session:
            session.execute(f"ALTER DATABASE \"{copy['NAME']}\" SET log_statement = 'all'")
        noting("--poll", "0.2", through=copy, patches=patches)
        look = "WITH RECURSIVE found AS ("
        assert eventually(lambda: "UPDATE workers SET last_heartbeat" in " ".join(asked()))
        # Soon after its start it looks more often.
        before = asked().count(look)
        assert eventually(lambda: asked().count(look) >= before + 8)
        first = len(asked())
        assert eventually(lambda: asked()[first:].count(look) >= 8)

        assert len([one for one in asked()[first:] if one != look]) <= 2
        assert min(rescuer.LOOK_SECONDS, LONGEST_POLL) >= 1.5


class TestFailover:
    @pytest.mark.slow
    def test_to_a_standby_loses_nothing_and_the_worker_finds_it(
        self, head: dict[str, Any], noting: Worker, journal: Path, record_property: Note
    ) -> None:
        """By a list of hosts, of which it takes the one that can be written to."""
        with private_server() as primary:
            primary.fill(head)
            with primary.connect() as session:
                runs.watch_ends(session)
            with standby_of(primary) as folder, primary.connect() as session:
                both = {
                    **primary.database(),
                    "HOST": f"{primary.server.location.sockets},{folder}",
                    "OPTIONS": {"target_session_attrs": "read-write"},
                }
                runs.put(session, 2_000, seconds=0.02)
                worker = noting(through=both)
                assert eventually(lambda: runs.count(session, "ends") > 500)
                primary.kill()

                with psycopg.connect(
                    host=str(folder), user="postgres", dbname="hodei", autocommit=True
                ) as new:
                    new.execute("SELECT pg_promote()")
                    promoted, before = time.monotonic(), runs.count(new, "ends")
                    assert eventually(lambda: runs.count(new, "ends") > before)
                    record_property("seconds to the next end", time.monotonic() - promoted)
                    assert eventually(lambda: runs.count(new, "ends") == 2_000, 90)
                    assert eventually(lambda: runs.count(new, "job_leases") == 0)
                    assert worker.poll() is None
                    record_property("figures", runs.check(new, journal, 2_000))
                    worker.kill()
                    worker.wait()


class TestPinned:
    @pytest.mark.parametrize("jobs", [2_000, pytest.param(50_000, marks=pytest.mark.slow)])
    def test_rows_stop_nothing_and_are_reused_afterwards(
        self,
        session: Session,
        database: dict[str, Any],
        noting: Worker,
        jobs: int,
        record_property: Note,
    ) -> None:
        """A transaction elsewhere keeps every dead row: the tables grow by what goes through them,
        and no more once it has ended."""
        words = ("--drain", "--concurrency", "10")

        def size() -> int:
            session.execute("VACUUM job_queue, job_leases")
            row = session.execute(
                "SELECT pg_total_relation_size('job_queue') + pg_total_relation_size('job_leases')"
            ).fetchone()
            return int(row[0]) if row else 0

        with psycopg.connect(**connection_of(database)) as pinned:
            pinned.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            pinned.execute("SELECT count(*) FROM jobs")
            runs.put(session, jobs)
            assert noting(*words).wait(200) == 0
            assert runs.count(session, "jobs", "state = 'SUCCEEDED'") == jobs
            row = session.execute(
                "SELECT idx_tup_read FROM pg_stat_user_indexes "
                "WHERE indexrelname = 'job_queue_claim_idx'"
            ).fetchone()
            assert row is not None
            record_property("index entries read for a job", row[0] / jobs)
            pinned_size = size()
            assert pinned_size < 1_000 * jobs
            record_property("bytes of the hot tables for a job", pinned_size / jobs)
        size()
        runs.put(session, jobs)
        assert noting(*words).wait(200) == 0
        assert size() < 1.3 * pinned_size
