"""Workers register, live and end; tokens let them in once."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import connections, transaction

from hodei.sessions import connect
from jobs import leases
from jobs.rescuer import RESCUE, Rescuer
from jobs.services import lifecycle, providers, tokens, workers
from jobs.services.tokens import TokenRefusal, issue_token
from jobs.services.workers import WorkerNotFound, WorkerStateConflict
from jobs.states import WORKER_FINAL, WORKER_TRANSITIONS, WorkerState
from tests.jobs.conftest import Jobs
from tests.processes import eventually

Session = psycopg.Connection[Any]
WHO: dict[str, Any] = {"reason": "a test", "actor": "me"}


def make_provider(name: str = "docker", **options: Any) -> uuid.UUID:
    found = uuid.uuid4()
    providers.save(found, name=name, provider_type="docker", actor="me", **options)
    return found


def make_worker(jobs: Jobs, state: str = "READY", provider: uuid.UUID | None = None) -> uuid.UUID:
    found = uuid.uuid4()
    made = provider or make_provider(f"for {found}")
    workers.create(found, provider_id=made, resource_id="c1", actor="me")
    jobs.execute(
        "UPDATE workers SET state = %s, last_heartbeat = now() WHERE id = %s", [state, found]
    )
    return found


def state_of(jobs: Jobs, worker: uuid.UUID) -> str:
    return str(jobs.value("SELECT state FROM workers WHERE id = %s", [worker]))


def events(jobs: Jobs) -> list[str]:
    return [row[0] for row in jobs.rows("SELECT event_type FROM audit_logs ORDER BY occurred_at")]


def silence(jobs: Jobs, worker: uuid.UUID, seconds: float = 31) -> None:
    jobs.execute(
        "UPDATE workers SET last_heartbeat = now() - %s * interval '1 s' WHERE id = %s",
        [seconds, worker],
    )


def both(*actions: Callable[[], object]) -> list[Any]:
    """Do them at once, each on a connection of its own; returns what came of each."""
    barrier = threading.Barrier(len(actions))
    outcomes: list[Any] = [None] * len(actions)

    def do(number: int) -> None:
        try:
            barrier.wait(10)
            outcomes[number] = actions[number]()
        except Exception as error:  # noqa: BLE001
            outcomes[number] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=do, args=(number,)) for number in range(len(actions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return outcomes


@pytest.mark.django_db
class TestTokens:
    def test_defect_3_6_only_a_hash_is_stored(self, jobs: Jobs) -> None:
        token = issue_token(uuid.uuid4(), actor="me")
        public_id, _, secret = token.partition(".")

        ((stored, row),) = jobs.rows("SELECT secret_hash, t::text FROM worker_bootstrap_tokens t")
        assert len(stored) == 64
        assert len(secret) >= 43
        assert public_id in row
        assert secret not in row
        assert secret not in str(jobs.rows("SELECT payload::text FROM audit_logs"))

    def test_defect_3_6_no_secret_is_logged(
        self, jobs: Jobs, caplog: pytest.LogCaptureFixture
    ) -> None:
        worker = make_worker(jobs, "CREATING")
        caplog.set_level(logging.DEBUG)
        caplog.clear()
        token = issue_token(worker, actor="me")
        workers.register(worker, token=token)
        with pytest.raises(tokens.TokenUsed) as refused:
            workers.register(worker, token=token)

        secret = token.partition(".")[2]
        assert secret not in caplog.text
        assert secret not in str(refused.value)
        assert secret not in str(jobs.rows("SELECT a::text FROM audit_logs a"))

    def test_defect_3_6_one_is_live_for_a_worker(self, jobs: Jobs) -> None:
        worker = make_worker(jobs, "CREATING")
        first = issue_token(worker, actor="me")
        second = issue_token(worker, actor="me")

        with pytest.raises(tokens.TokenExpired):
            workers.register(worker, token=first)
        workers.register(worker, token=second)

    @pytest.mark.parametrize(
        "ttl", [timedelta(), timedelta(seconds=9.9), timedelta(hours=24, seconds=1), 300, None]
    )
    def test_a_ttl_has_bounds(self, jobs: Jobs, ttl: Any) -> None:
        with pytest.raises(ValueError, match="10 seconds to 24 hours"):
            issue_token(uuid.uuid4(), actor="me", ttl=ttl)

        assert jobs.value("SELECT count(*) FROM worker_bootstrap_tokens") == 0

    @pytest.mark.parametrize("refusal", TokenRefusal)
    def test_defect_3_6_every_refusal_is_told_apart_and_on_record(
        self, jobs: Jobs, refusal: TokenRefusal
    ) -> None:
        worker, other = make_worker(jobs, "CREATING"), make_worker(jobs, "CREATING")
        token = issue_token(worker, actor="me")
        asks = worker
        match refusal:
            case TokenRefusal.UNKNOWN:
                token = f"{uuid.uuid4()}.{token.partition('.')[2]}"
            case TokenRefusal.WRONG_SECRET:
                token = token[:-1] + ("a" if token[-1] != "a" else "b")
            case TokenRefusal.WRONG_WORKER:
                asks = other
            case TokenRefusal.USED:
                jobs.execute("UPDATE worker_bootstrap_tokens SET consumed_at = now()")
            case TokenRefusal.EXPIRED:
                jobs.execute("UPDATE worker_bootstrap_tokens SET expires_at = now()")

        with pytest.raises(tokens.TokenRefused) as refused:
            workers.register(asks, token=token)

        assert refused.value.refusal is refusal
        assert state_of(jobs, asks) == "CREATING"
        assert jobs.rows(
            "SELECT payload ->> 'outcome', payload ->> 'worker_id', payload ->> 'public_id', actor "
            "FROM audit_logs WHERE event_type = 'BootstrapTokenRefused'"
        ) == [(refusal.value, str(asks), token.partition(".")[0], f"worker {asks}")]

    @pytest.mark.parametrize(
        "token", ["", ".", "dev-1", "nonsense.x", "\0.\0", "\ud800", "'; --", "x" * 10_000]
    )
    def test_defect_3_6_what_is_no_token_is_unknown(self, jobs: Jobs, token: str) -> None:
        with pytest.raises(tokens.TokenUnknown):
            workers.register(uuid.uuid4(), token=token)

    def test_an_adopted_token_without_a_hash_lets_nobody_in(self, jobs: Jobs) -> None:
        worker = make_worker(jobs, "CREATING")
        public_id = issue_token(worker, actor="me").partition(".")[0]
        jobs.execute("UPDATE worker_bootstrap_tokens SET secret_hash = NULL")

        for token in (public_id, f"{public_id}.", f"{public_id}.None"):
            with pytest.raises(tokens.TokenSecretWrong):
                workers.register(worker, token=token)


@pytest.mark.django_db
class TestRegister:
    def test_a_worker_that_was_made_needs_its_token_alone(self, jobs: Jobs) -> None:
        worker = make_worker(jobs, "CREATING")
        workers.register(worker, token=issue_token(worker, actor="me"))
        assert state_of(jobs, worker) == "CONNECTING"

        assert workers.heartbeat(worker) is WorkerState.READY
        assert events(jobs)[-2:] == ["BootstrapTokenIssued", "WorkerRegistered"]

    def test_another_names_its_provider(self, jobs: Jobs) -> None:
        worker, provider = uuid.uuid4(), make_provider()
        token = issue_token(worker, actor="me")
        with pytest.raises(WorkerNotFound):
            workers.register(worker, token=token)

        workers.register(worker, token=token, provider_id=provider, resource_id="vm-1")

        assert jobs.rows("SELECT state, provider_type, provider_resource_id FROM workers") == [
            ("CONNECTING", "docker", "vm-1")
        ]

    def test_where_it_is_refused_the_token_stays_good(self, jobs: Jobs) -> None:
        worker, full = uuid.uuid4(), make_provider(max_workers=1)
        workers.create(uuid.uuid4(), provider_id=full, resource_id="a", actor="me")
        token = issue_token(worker, actor="me")
        with pytest.raises(providers.ProviderFull):
            workers.register(worker, token=token, provider_id=full)

        workers.register(worker, token=token, provider_id=make_provider("roomy"))

    def test_a_worker_registers_once(self, jobs: Jobs) -> None:
        worker = make_worker(jobs, "READY")
        with pytest.raises(WorkerStateConflict, match="registers once"):
            workers.register(worker, token=issue_token(worker, actor="me"))

    def test_a_local_one_needs_no_token(self, jobs: Jobs) -> None:
        worker = workers.register_local(resource_id="host-1", spec={"concurrency": 2})

        assert state_of(jobs, worker) == "READY"
        assert jobs.rows("SELECT name, provider_type FROM provider_configs") == [
            ("local", "process")
        ]
        assert events(jobs) == ["WorkerRegistered"]

    def test_leaves_nothing_where_the_caller_rolls_back(self, jobs: Jobs) -> None:
        with transaction.atomic():
            workers.register_local(resource_id="host-1")
            transaction.set_rollback(True)

        assert jobs.value("SELECT count(*) FROM workers") == 0
        assert events(jobs) == []


@pytest.mark.django_db
class TestHeartbeat:
    def test_defect_3_3_is_refused_for_what_is_not_alive(self, jobs: Jobs) -> None:
        for state in WorkerState:
            worker = make_worker(jobs, state)
            jobs.execute("UPDATE workers SET last_heartbeat = NULL WHERE id = %s", [worker])
            becomes = {"CONNECTING": "READY", "REGISTERED": "READY"}.get(state, state.value)
            refused = state in {*WORKER_FINAL, WorkerState.CREATING}
            if refused:
                with pytest.raises(WorkerStateConflict, match=f"is {state}"):
                    workers.heartbeat(worker)
            else:
                assert workers.heartbeat(worker) == becomes
            assert refused == jobs.value(
                "SELECT last_heartbeat IS NULL FROM workers WHERE id = %s", [worker]
            )

    def test_defect_3_3_is_refused_for_an_unknown_one(self, jobs: Jobs) -> None:
        with pytest.raises(WorkerNotFound):
            workers.heartbeat(uuid.uuid4())


@pytest.mark.django_db
class TestTransitions:
    @pytest.mark.parametrize("before", WorkerState)
    def test_defect_3_3_the_table_decides(self, jobs: Jobs, before: WorkerState) -> None:
        provider = make_provider(max_workers=100)
        for to in WorkerState:
            worker = make_worker(jobs, before, provider)
            if to in WORKER_TRANSITIONS[before]:
                workers.move(worker, to, **WHO)
                assert state_of(jobs, worker) == to
                assert events(jobs)[-1] in {"WorkerStateChanged", "WorkerTerminated"}
            else:
                with pytest.raises(WorkerStateConflict, match=f"is {before} and cannot"):
                    workers.move(worker, to, **WHO)
                assert state_of(jobs, worker) == before
                assert events(jobs)[-1] == "WorkerCreated"

    def test_draining_is_one(self, jobs: Jobs) -> None:
        worker = make_worker(jobs, "BUSY")
        workers.drain(worker, **WHO)
        assert state_of(jobs, worker) == "DRAINING"
        with pytest.raises(WorkerStateConflict, match="that is for one that is READY or BUSY"):
            workers.drain(worker, **WHO)

    def test_of_an_unknown_worker(self, jobs: Jobs) -> None:
        for action in (workers.drain, workers.terminate, workers.lose_worker):
            with pytest.raises(WorkerNotFound):
                action(uuid.uuid4(), **WHO)  # type: ignore[operator]

    @pytest.mark.parametrize(
        "reason", ["\0", "\ud800", "'; DROP TABLE jobs; --", "%s", "x" * 9_999]
    )
    def test_a_hostile_reason_is_on_record(self, jobs: Jobs, reason: str) -> None:
        workers.drain(make_worker(jobs), reason=reason, actor=reason)

        assert events(jobs)[-1] == "WorkerStateChanged"


class TestEnd:
    def hold(self, jobs: Jobs, session: Session, worker: uuid.UUID) -> list[uuid.UUID]:
        found = [jobs.enqueue(1), jobs.enqueue(2)]
        leases.claim(session, worker, ["default"], 2, starting=1)
        return found

    def test_defect_3_3_losing_a_worker_puts_its_jobs_back(
        self, jobs: Jobs, session: Session
    ) -> None:
        worker = make_worker(jobs, "BUSY")
        held = self.hold(jobs, session, worker)
        silence(jobs, worker)

        assert workers.lose_worker(worker, **WHO) == 2

        assert state_of(jobs, worker) == "TERMINATED"
        assert [jobs.place(job) for job in held] == [["job_queue"], ["job_queue"]]
        rows = jobs.rows("SELECT state, lost_leases FROM jobs ORDER BY lost_leases")
        assert rows == [("PENDING", 0), ("PENDING", 1)]
        assert jobs.rows(
            "SELECT event_type, payload -> 'jobs' FROM audit_logs WHERE event_type = 'WorkerLost'"
        ) == [("WorkerLost", "2")]

    def test_all_of_it_or_nothing(self, jobs: Jobs, session: Session) -> None:
        worker = make_worker(jobs, "BUSY")
        held = self.hold(jobs, session, worker)
        silence(jobs, worker)

        with transaction.atomic():
            workers.lose_worker(worker, **WHO)
            transaction.set_rollback(True)

        assert state_of(jobs, worker) == "BUSY"
        assert [jobs.place(job) for job in held] == [["job_leases"], ["job_leases"]]
        assert "WorkerLost" not in events(jobs)

    def test_one_that_lives_is_not_lost(self, jobs: Jobs, session: Session) -> None:
        worker = make_worker(jobs, "BUSY")
        self.hold(jobs, session, worker)

        with pytest.raises(workers.WorkerAlive):
            workers.lose_worker(worker, **WHO)

        assert state_of(jobs, worker) == "BUSY"
        assert jobs.value("SELECT count(*) FROM job_leases") == 2

    def test_terminating_one_takes_its_jobs_away_even_if_it_lives(
        self, jobs: Jobs, session: Session
    ) -> None:
        worker = make_worker(jobs, "BUSY")
        other = make_worker(jobs, "BUSY")
        jobs.enqueue(0)
        leases.claim(session, other, ["default"], 1, starting=1)
        self.hold(jobs, session, worker)

        assert workers.terminate(worker, **WHO) == 2

        assert jobs.rows("SELECT worker_id FROM job_leases") == [(other,)]
        with pytest.raises(WorkerStateConflict):
            workers.heartbeat(worker)

    def test_a_finish_at_the_same_time_counts_once(self, jobs: Jobs) -> None:
        from jobs.runs import Ended
        from jobs.states import JobState

        worker = make_worker(jobs, "BUSY")
        job = jobs.enqueue(1)
        with connect("default", "test") as session:
            (claimed,) = leases.claim(session, worker, ["default"], 1, starting=1)
            session.execute("BEGIN")
            assert leases.finish(session, [Ended(job, claimed.epoch, JobState.SUCCEEDED)]) == {job}
            ended: list[Any] = []
            thread = threading.Thread(
                target=lambda: ended.extend(both(lambda: workers.terminate(worker, **WHO)))
            )
            thread.start()
            with connect("default", "look") as look:
                assert eventually(
                    lambda: bool(
                        look.execute(
                            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() "
                            "AND wait_event_type = 'Lock'"
                        ).fetchone()
                    )
                )
            session.execute("COMMIT")
            thread.join(30)

        assert ended == [0]
        assert jobs.state(job) == "SUCCEEDED"


class TestRescuer:
    @pytest.fixture(autouse=True)
    def server(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As if it had been started long ago; that of the tests has not."""
        monkeypatch.setattr("jobs.rescuer.UPTIME_SECONDS", -1.0)

    def look(self, session: Session) -> None:
        rescuer = Rescuer(uuid.uuid4())
        rescuer._rescue_at = 0.0
        rescuer.look(session)

    def test_a_silent_worker_is_lost_with_its_jobs(self, jobs: Jobs, session: Session) -> None:
        worker, alive = make_worker(jobs, "BUSY"), make_worker(jobs, "BUSY")
        job = jobs.enqueue(1)
        leases.claim(session, worker, ["default"], 1, starting=1)
        self.look(session)
        assert state_of(jobs, worker) == "BUSY"
        silence(jobs, worker)

        self.look(session)

        assert (state_of(jobs, worker), state_of(jobs, alive)) == ("TERMINATED", "BUSY")
        assert jobs.place(job) == ["job_queue"]
        assert jobs.rows(
            "SELECT payload ->> 'worker_id', payload -> 'jobs', actor FROM audit_logs "
            "WHERE event_type = 'WorkerLost'"
        ) == [(str(worker), "1", "system")]

    def test_after_a_start_of_the_server_workers_have_time_to_come_back(
        self, jobs: Jobs, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("jobs.rescuer.UPTIME_SECONDS", 10.0**8)
        worker = make_worker(jobs, "READY")
        silence(jobs, worker)

        self.look(session)

        assert state_of(jobs, worker) == "READY"

    def test_after_a_lost_connection_others_have_time_to_come_back(
        self, jobs: Jobs, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        worker = make_worker(jobs, "BUSY")
        job = jobs.enqueue(1)
        leases.claim(session, worker, ["default"], 1, starting=1)
        rescuer = Rescuer(uuid.uuid4())
        rescuer.look(session)
        silence(jobs, worker)
        jobs.execute("UPDATE job_leases SET expires_at = now() - interval '1 s'")
        with connect("default", "again") as again:
            rescuer._rescue_at = 0.0
            rescuer.look(again)
            assert jobs.place(job) == ["job_leases"]
            # Its job does not wait for long: the lease ran out, and was not renewed.
            assert rescuer._rescue_at < time.monotonic() + 5
            rescuer._look_at = rescuer._rescue_at = 0.0
            rescuer.look(again)
            assert state_of(jobs, worker) == "BUSY"
            assert jobs.place(job) == ["job_queue"]
            rescuer._look_at = rescuer._trusts_at = rescuer._rescue_at = 0.0
            rescuer.look(again)

        assert state_of(jobs, worker) == "TERMINATED"

    @pytest.mark.parametrize(
        ("state", "seconds", "lost"),
        [("CONNECTING", 31, True), ("READY", 29, False), ("READY", 31, True),
         ("CREATING", 31, False), ("CREATING", 601, True), ("FAILED", 601, False)],
    )  # fmt: skip
    def test_defect_3_3_without_a_heartbeat_it_counts_from_registration(
        self, jobs: Jobs, session: Session, state: str, seconds: int, lost: bool
    ) -> None:
        worker = make_worker(jobs, state)
        jobs.execute(
            "UPDATE workers SET last_heartbeat = NULL, created_at = now() - %s * interval '1 s'",
            [seconds],
        )

        self.look(session)

        assert state_of(jobs, worker) == ("TERMINATED" if lost else state)

    def test_defect_3_3_a_busy_worker_that_lives_is_never_ended(
        self, jobs: Jobs, session: Session
    ) -> None:
        worker = make_worker(jobs, "BUSY")
        jobs.execute("UPDATE workers SET created_at = now() - interval '30 days'")

        self.look(session)

        assert state_of(jobs, worker) == "BUSY"

    def test_another_that_rescues_is_not_waited_for(self, jobs: Jobs, session: Session) -> None:
        worker = make_worker(jobs, "BUSY")
        silence(jobs, worker)
        with connect("default", "other") as other, other.transaction():
            other.execute("SELECT pg_advisory_xact_lock(%s, 0)", [RESCUE])
            self.look(session)
            assert state_of(jobs, worker) == "BUSY"

        self.look(session)
        assert state_of(jobs, worker) == "TERMINATED"


@pytest.mark.django_db
class TestOneWorkerPerJob:
    def test_a_worker_has_one_job(self, jobs: Jobs) -> None:
        worker = make_worker(jobs)
        workers.assign(worker, jobs.enqueue(1))
        assert state_of(jobs, worker) == "BUSY"
        with pytest.raises(WorkerStateConflict):
            workers.assign(worker, jobs.enqueue(2))

        workers.release(worker)
        assert state_of(jobs, worker) == "READY"
        with pytest.raises(WorkerStateConflict):
            workers.release(worker)

    def test_its_job_outlives_nobody(self, jobs: Jobs) -> None:
        worker, job = make_worker(jobs), jobs.enqueue(1)
        workers.assign(worker, job)
        lifecycle.cancel(job, **WHO)
        lifecycle.delete(job, **WHO)

        assert jobs.rows("SELECT state, current_job_id FROM workers") == [("BUSY", None)]


@pytest.mark.django_db
class TestFind:
    def test_pages_are_stable_and_whole(self, jobs: Jobs) -> None:
        provider = make_provider(max_workers=100)
        made = {make_worker(jobs, provider=provider) for _ in range(7)}
        jobs.execute("UPDATE workers SET created_at = '2026-01-01T00:00:00Z'")
        seen: list[uuid.UUID] = []
        page = workers.find(limit=3)
        while True:
            seen += [row.pk for row in page.workers]
            if page.after is None:
                break
            make_worker(jobs, provider=provider)
            page = workers.find(limit=3, after=page.after)

        assert len(seen) == 7
        assert set(seen) == made

    def test_defect_3_3_every_filter_holds(self, jobs: Jobs) -> None:
        provider = make_provider()
        ready, busy = make_worker(jobs, provider=provider), make_worker(jobs, "BUSY")
        silence(jobs, busy)

        def found(**filters: Any) -> set[uuid.UUID]:
            return {row.pk for row in workers.find(**filters).workers}

        from django.utils import timezone

        limit = timezone.now() - timedelta(seconds=20)
        assert found() == {ready, busy}
        assert found(states=[WorkerState.BUSY]) == {busy}
        assert found(provider_id=provider) == {ready}
        assert found(provider_type="docker") == {ready, busy}
        assert found(silent_since=limit) == {busy}
        assert found(silent_since=limit, provider_id=provider) == set()

    @pytest.mark.parametrize("limit", [0, -1, 1001])
    def test_a_page_has_bounds(self, jobs: Jobs, limit: int) -> None:
        with pytest.raises(ValueError, match="give 1 to 1000"):
            workers.find(limit=limit)


class TestTwoAtOnce:
    def test_two_issued_at_once_leave_one(self, jobs: Jobs) -> None:
        worker = uuid.uuid4()

        both(*[lambda: issue_token(worker, actor="me")] * 4)

        assert jobs.value(
            "SELECT count(*) FROM worker_bootstrap_tokens WHERE expires_at > now()"
        ) == 1  # fmt: skip

    def test_two_at_once_use_it_once(self, jobs: Jobs) -> None:
        worker = make_worker(jobs, "CREATING")
        token = issue_token(worker, actor="me")

        outcomes = both(*[lambda: workers.register(worker, token=token)] * 4)

        assert outcomes.count(None) == 1
        assert sum(isinstance(one, tokens.TokenUsed) for one in outcomes) == 3

    def test_two_decide_at_once_and_one_is_told(self, jobs: Jobs) -> None:
        worker = make_worker(jobs, "READY")

        outcomes = both(*[lambda: workers.drain(worker, **WHO)] * 2)

        assert outcomes.count(None) == 1
        assert sum(isinstance(one, WorkerStateConflict) for one in outcomes) == 1

    def test_defect_3_3_two_at_once(self, jobs: Jobs) -> None:
        job, first, second = jobs.enqueue(1), make_worker(jobs), make_worker(jobs)

        outcomes = both(lambda: workers.assign(first, job), lambda: workers.assign(second, job))

        assert outcomes.count(None) == 1
        assert sum(isinstance(one, workers.JobHasWorker) for one in outcomes) == 1
        assert jobs.value("SELECT count(*) FROM workers WHERE current_job_id = %s", [job]) == 1
