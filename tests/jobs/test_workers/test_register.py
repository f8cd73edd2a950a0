from __future__ import annotations

import logging
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from jobs.services import providers, tokens, workers
from jobs.services.tokens import TokenRefusal, issue_token
from jobs.services.workers import WorkerNotFound, WorkerStateConflict
from jobs.states import WORKER_FINAL, WorkerState
from tests.jobs.conftest import Jobs
from tests.jobs.test_workers.kit import events, make_provider, make_worker, state_of


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

    def test_defect_3_3_a_worker_registers_once(self, jobs: Jobs) -> None:
        worker = make_worker(jobs, "READY")
        with pytest.raises(WorkerStateConflict, match="registers once"):
            workers.register(worker, token=issue_token(worker, actor="me"))

    def test_a_local_one_needs_no_token(self, jobs: Jobs) -> None:
        worker = workers.register_local(resource_id="host-1", spec={"concurrency": 2})

        assert state_of(jobs, worker) == "READY"
        assert jobs.rows("SELECT name, provider_type FROM provider_configs") == [
            ("local", "process")
        ]
        assert events(jobs) == ["ProviderSaved", "WorkerRegistered"]

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
