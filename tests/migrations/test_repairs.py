"""From a baseline database that holds what the original could leave: each repair, and no row lost.

Every class leaves its rows in one database at the baseline, moves their app to head, and looks at
them.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from importlib import import_module
from types import SimpleNamespace

import pytest
from django.db import IntegrityError

from tests.databases import Migrated
from tests.migrations.original_rows import (
    EARLIER,
    LATER,
    NOW,
    dead_letter,
    event,
    job,
    provider,
    saga,
    step,
    worker,
)

TABLES = (
    *("workers", "jobs", "audit_logs", "provider_configs", "job_log_files"),
    *("worker_bootstrap_tokens", "outbox_events", "outbox_dlq"),
    *("sagas", "saga_steps", "saga_audit_events"),
)
FAR = datetime(9000, 1, 1, tzinfo=UTC)


class TestWorkers:
    @pytest.fixture(scope="class")
    @classmethod
    def left(cls, baseline_of_class: Migrated) -> SimpleNamespace:
        database = baseline_of_class
        gone_provider, gone_job = uuid.uuid4(), uuid.uuid4()
        shared = job(database, state="RUNNING")
        busy = {"current_job_id": shared, "state": "BUSY"}
        left = SimpleNamespace(
            database=database,
            gone_provider=gone_provider,
            gone_job=gone_job,
            shared=shared,
            beaten=worker(database, created_at=None, updated_at=None, last_heartbeat=EARLIER),
            made=worker(database, created_at=EARLIER, updated_at=None),
            bare=worker(database, created_at=None, updated_at=None),
            orphan=worker(database, provider_id=gone_provider, provider_type="kubernetes"),
            second_orphan=worker(database, provider_id=gone_provider),
            lost=worker(database, current_job_id=gone_job, state="BUSY"),
            odd=worker(database, current_job_id=gone_job, handle=["c1"], state="TERMINATED"),
            silent=worker(database, **busy),
            older=worker(database, **busy, last_heartbeat=EARLIER),
            newest=worker(database, **busy, last_heartbeat=NOW),
            ended=worker(database, current_job_id=shared, state="TERMINATED", last_heartbeat=LATER),
        )
        database.execute("UPDATE workers SET created_at = %s WHERE id = %s", [NOW, left.orphan])
        database.migrate("jobs")
        return left

    def test_times_that_are_missing_come_from_those_that_are_there(
        self, left: SimpleNamespace
    ) -> None:
        times = "SELECT created_at, updated_at FROM workers WHERE id = %s"

        assert left.database.rows(times, [left.beaten]) == [(EARLIER, EARLIER)]
        assert left.database.rows(times, [left.made]) == [(EARLIER, EARLIER)]
        ((created, updated),) = left.database.rows(times, [left.bare])
        assert created == updated > NOW

    def test_a_provider_that_is_gone_gets_one_disabled_stub(self, left: SimpleNamespace) -> None:
        assert left.database.rows(
            "SELECT name, provider_type, status, metadata FROM provider_configs WHERE id = %s",
            [left.gone_provider],
        ) == [
            (
                f"orphan-{left.gone_provider}",
                "kubernetes",
                "DISABLED",
                {"_repaired": {"stub": True}},
            )
        ]

    def test_a_job_that_is_gone_is_kept_in_the_handle(self, left: SimpleNamespace) -> None:
        assert left.database.rows(
            "SELECT current_job_id, handle FROM workers WHERE id = %s", [left.lost]
        ) == [(None, {"container": "c1", "_repaired": {"current_job_id": str(left.gone_job)}})]

    def test_a_handle_that_is_no_object_is_wrapped(self, left: SimpleNamespace) -> None:
        assert left.database.value("SELECT handle FROM workers WHERE id = %s", [left.odd]) == {
            "_original": ["c1"],
            "_repaired": {"current_job_id": str(left.gone_job)},
        }

    def test_of_two_workers_on_a_job_the_one_heard_last_keeps_it(
        self, left: SimpleNamespace
    ) -> None:
        holders = left.database.rows(
            "SELECT id FROM workers WHERE current_job_id = %s", [left.shared]
        )

        assert {key for (key,) in holders} == {left.newest, left.ended}
        for loser in (left.silent, left.older):
            handle = left.database.value("SELECT handle FROM workers WHERE id = %s", [loser])
            assert handle["_repaired"] == {"current_job_id": str(left.shared)}

    def test_from_then_on_a_second_live_worker_is_refused(self, left: SimpleNamespace) -> None:
        with pytest.raises(IntegrityError, match="workers_one_live_per_job"):
            worker(left.database, current_job_id=left.shared, state="READY")


class TestJobs:
    @pytest.fixture(scope="class")
    @classmethod
    def left(cls, baseline_of_class: Migrated) -> SimpleNamespace:
        database = baseline_of_class
        gone, there = uuid.uuid4(), provider(database)
        left = SimpleNamespace(
            database=database,
            gone=gone,
            there=there,
            dangling=job(database, selected_provider_id=gone, metadata={"a": 1}),
            sound=job(database, selected_provider_id=there),
            told=job(database, metadata={"correlation_id": "abc"}),
            odd=job(database, metadata={"correlation_id": 7}),
            long=job(database, metadata={"correlation_id": "x" * 256}),
            cancelled=job(database, state="CANCELLED"),
            lost=job(database, state="PENDING", created_at=EARLIER),
            queued=job(database, state="PENDING", created_at=EARLIER),
            live_token=uuid.uuid4(),
            used_token=uuid.uuid4(),
        )
        database.insert("job_queue", job_id=left.cancelled, enqueued_at=EARLIER, priority=7)
        database.insert("job_queue", job_id=left.queued, enqueued_at=NOW, priority=3)
        database.insert(
            "job_log_files", job_id=left.told, storage_uri="file:///a", expires_at="infinity"
        )
        for token, consumed in ((left.live_token, None), (left.used_token, NOW)):
            database.insert(
                "worker_bootstrap_tokens",
                token=token,
                worker_id=uuid.uuid4(),
                expires_at=FAR,
                consumed_at=consumed,
                created_at=None,
            )
        database.migrate("jobs")
        return left

    def test_a_provider_that_is_gone_is_kept_in_the_metadata(self, left: SimpleNamespace) -> None:
        facts = "SELECT selected_provider_id, metadata FROM jobs WHERE id = %s"

        assert left.database.rows(facts, [left.dangling]) == [
            (None, {"a": 1, "_repaired": {"selected_provider_id": str(left.gone)}})
        ]
        assert left.database.rows(facts, [left.sound]) == [(left.there, {})]

    def test_the_correlation_id_comes_out_of_the_metadata(self, left: SimpleNamespace) -> None:
        fact = "SELECT correlation_id FROM jobs WHERE id = %s"

        assert left.database.value(fact, [left.told]) == "abc"
        assert left.database.value(fact, [left.odd]) is None
        assert left.database.value(fact, [left.long]) is None

    def test_the_place_of_a_job_that_does_not_wait_is_kept_in_the_job(
        self, left: SimpleNamespace
    ) -> None:
        note = left.database.value("SELECT metadata FROM jobs WHERE id = %s", [left.cancelled])

        assert note["_repaired"]["queue_entry"]["priority"] == 7
        assert datetime.fromisoformat(note["_repaired"]["queue_entry"]["enqueued_at"]) == EARLIER

    def test_the_waiting_jobs_and_no_others_are_queued(self, left: SimpleNamespace) -> None:
        assert set(
            left.database.rows("SELECT job_id, enqueued_at, priority, queue FROM job_queue")
        ) == {(left.lost, EARLIER, 0, "default"), (left.queued, NOW, 3, "default")}

    def test_a_log_file_without_end_gets_one_that_can_be_read(self, left: SimpleNamespace) -> None:
        assert left.database.value("SELECT expires_at FROM job_log_files") == datetime(
            9999, 12, 31, tzinfo=UTC
        )

    def test_a_clear_token_lets_nobody_in_any_more(self, left: SimpleNamespace) -> None:
        facts = (
            "SELECT expires_at < now(), created_at FROM worker_bootstrap_tokens WHERE token = %s"
        )

        assert left.database.rows(facts, [left.live_token]) == [(True, FAR - timedelta(minutes=5))]
        assert left.database.rows(facts, [left.used_token]) == [(False, NOW)]


class TestEvents:
    @pytest.fixture(scope="class")
    @classmethod
    def left(cls, baseline_of_class: Migrated) -> SimpleNamespace:
        database = baseline_of_class

        def at(second: int) -> datetime:
            return NOW + timedelta(seconds=second)

        left = SimpleNamespace(
            database=database,
            third=event(
                database, created_at=at(3), status=None, retry_count=None, event_version=None
            ),
            first=event(
                database,
                created_at=at(1),
                aggregate_id=uuid.UUID("00000000-0000-0000-0000-0000000000ff"),
            ),
            second=event(
                database,
                created_at=at(2),
                aggregate_id=uuid.UUID("ffffffff-ffff-ffff-ffff-ffffffffff41"),
            ),
            sent=event(database, status=None, published_at=at(4), created_at=None),
            told=event(
                database, created_at=at(5), status="FAILED", retry_count=1, last_error="refused"
            ),
            silent=event(
                database,
                created_at=at(6),
                status="FAILED",
                idempotency_key="k1",
                event_version=4,
            ),
            still_open=dead_letter(database, moved_at=None),
            resolved=dead_letter(
                database, resolved_at=LATER, resolved_by="ana", resolution_notes="sent by hand"
            ),
        )
        left.known = dead_letter(database, original_event_id=left.silent)
        database.migrate("outbox")
        left.newest = event(database)
        return left

    def test_a_missing_status_follows_from_the_publishing(self, left: SimpleNamespace) -> None:
        facts = (
            "SELECT status, retry_count, event_version, created_at FROM outbox_events WHERE id = %s"
        )

        assert left.database.rows(facts, [left.third]) == [
            ("PENDING", 0, 1, NOW + timedelta(seconds=3))
        ]
        assert left.database.rows(facts, [left.sent]) == [
            ("PUBLISHED", 0, 1, NOW + timedelta(seconds=4))
        ]

    def test_events_are_numbered_by_time_and_new_ones_follow(self, left: SimpleNamespace) -> None:
        numbered = left.database.rows("SELECT id, seq FROM outbox_events ORDER BY seq")

        in_time = [left.first, left.second, left.third, left.sent, left.told, left.silent]
        assert numbered[:6] == [(key, number) for number, key in enumerate(in_time, start=1)]
        assert numbered[6][0] == left.newest

    def test_the_lane_comes_from_the_last_byte(self, left: SimpleNamespace) -> None:
        lane = "SELECT lane FROM outbox_events WHERE id = %s"

        assert left.database.value(lane, [left.first]) == 63
        assert left.database.value(lane, [left.second]) == 1

    def test_a_failed_event_gets_the_dead_letter_that_a_person_can_see(
        self, left: SimpleNamespace
    ) -> None:
        facts = (
            "SELECT error_message, retry_count, seq, resolved_at FROM outbox_dlq "
            "WHERE original_event_id = %s"
        )

        assert left.database.rows(facts, [left.told]) == [("refused", 1, 5, None)]

    def test_a_dead_letter_that_was_there_gets_what_a_requeue_needs(
        self, left: SimpleNamespace
    ) -> None:
        facts = (
            "SELECT id, seq, event_version, idempotency_key, error_message FROM outbox_dlq "
            "WHERE original_event_id = %s"
        )

        assert left.database.rows(facts, [left.silent]) == [(left.known, 6, 4, "k1", "timed out")]

    def test_the_story_of_a_dead_letter_is_told_by_its_actions(self, left: SimpleNamespace) -> None:
        story = (
            "SELECT action, actor, note, occurred_at FROM outbox_dlq_actions "
            "WHERE dlq_id = %s ORDER BY id"
        )

        assert left.database.rows(story, [left.still_open]) == [
            ("DIED", "system", "timed out", EARLIER)
        ]
        assert left.database.rows(story, [left.resolved]) == [
            ("DIED", "system", "timed out", NOW),
            ("RESOLVED", "ana", "sent by hand", LATER),
        ]


class TestNumberingOfEvents:
    def test_one_that_was_killed_goes_on(self, baseline: Migrated) -> None:
        keys = [event(baseline, created_at=NOW + timedelta(seconds=second)) for second in range(20)]
        baseline.migrate("outbox", "0006_require_not_null")
        baseline.execute(
            "UPDATE outbox_events SET seq = extract(epoch FROM created_at - %s) + 1 "
            "WHERE created_at < %s",
            [NOW, NOW + timedelta(seconds=7)],
        )

        baseline.migrate("outbox")

        numbered = baseline.rows("SELECT id, seq FROM outbox_events ORDER BY seq")
        assert numbered == [(key, number) for number, key in enumerate(keys, start=1)]

    def test_an_event_written_during_the_move_comes_after_the_old_ones(
        self, baseline: Migrated
    ) -> None:
        old = event(baseline, created_at=LATER)
        baseline.migrate("outbox", "0006_require_not_null")
        new = event(baseline, created_at=EARLIER)

        baseline.migrate("outbox")

        order = [key for (key,) in baseline.rows("SELECT id FROM outbox_events ORDER BY seq")]
        assert order == [old, new]

    def test_more_events_than_a_batch_are_all_numbered(self, baseline: Migrated) -> None:
        baseline.execute(
            "INSERT INTO outbox_events (aggregate_id, aggregate_type, event_type, payload, "
            "created_at) SELECT gen_random_uuid(), 'JOB', 'JobCreated', '{}', "
            "now() - make_interval(secs => n) FROM generate_series(1, 12000) n"
        )

        baseline.migrate("outbox")

        assert baseline.rows(
            "SELECT count(*), min(seq), max(seq), count(DISTINCT seq) FROM outbox_events"
        ) == [(12000, 1, 12000, 12000)]
        assert baseline.value(
            "SELECT bool_and(ordered) FROM (SELECT created_at >= lag(created_at) "
            "OVER (ORDER BY seq) AS ordered FROM outbox_events) AS pairs"
        )


class TestSagas:
    OUTCOMES = (
        ("COMPLETED", "COMPLETED", "COMPLETED"),
        ("COMPLETED", "COMPENSATED", "COMPENSATED"),
        ("FAILED", "FAILED", "COMPENSATION_FAILED"),
        ("CANCELLED", "COMPENSATED", "CANCELLED"),
        ("COMPENSATING", "COMPENSATED", None),
    )
    NAMES = ("Pay", "Pay", "Pay#2", "Ship", "x" * 100, "x" * 100)

    @pytest.fixture(scope="class")
    @classmethod
    def left(cls, baseline_of_class: Migrated) -> SimpleNamespace:
        database = baseline_of_class
        left = SimpleNamespace(
            database=database,
            bare=saga(database, started_at=None, created_at=EARLIER, updated_at=None),
            doubled=saga(database, metadata=None),
            named=saga(database),
            sound=saga(database, metadata={"a": 1}),
            by_outcome=[saga(database, state=state) for state, _step, _outcome in cls.OUTCOMES],
        )
        step(database, left.bare, created_at=None, updated_at=None, retry_count=None)
        database.insert(
            "saga_audit_events", saga_id=left.bare, event_type="Started", occurred_at=None
        )
        left.second = step(database, left.doubled, step_order=2, created_at=LATER)
        left.first = step(database, left.doubled, step_order=2, created_at=NOW)
        left.third = step(database, left.doubled, step_order=3)
        left.untouched = step(database, left.sound, step_order=9)
        left.names = [
            step(database, left.named, step_name=name, step_order=order)
            for order, name in enumerate(cls.NAMES)
        ]
        for key, (_state, step_state, _outcome) in zip(left.by_outcome, cls.OUTCOMES, strict=True):
            step(database, key, state=step_state)
        database.migrate("sagas")
        return left

    def test_times_that_are_missing_come_from_those_that_are_there(
        self, left: SimpleNamespace
    ) -> None:
        assert left.database.rows(
            "SELECT started_at, created_at, updated_at FROM sagas WHERE id = %s", [left.bare]
        ) == [(EARLIER,) * 3]
        assert left.database.rows(
            "SELECT retry_count, created_at, updated_at FROM saga_steps WHERE saga_id = %s",
            [left.bare],
        ) == [(0, EARLIER, EARLIER)]
        assert left.database.value("SELECT occurred_at FROM saga_audit_events") == EARLIER

    def test_the_outcome_is_told_by_the_steps(self, left: SimpleNamespace) -> None:
        found = dict(left.database.rows("SELECT id, outcome FROM sagas"))

        for key, (_state, _step, outcome) in zip(left.by_outcome, self.OUTCOMES, strict=True):
            assert found[key] == outcome

    def test_steps_of_one_number_are_numbered_anew(self, left: SimpleNamespace) -> None:
        orders = dict(left.database.rows("SELECT id, step_order FROM saga_steps"))
        notes = dict(left.database.rows("SELECT id, metadata FROM sagas"))

        assert [orders[key] for key in (left.first, left.second, left.third)] == [2, 3, 4]
        assert orders[left.untouched] == 9
        assert notes[left.doubled] == {
            "_repaired": {
                "step_order": {str(left.first): 2, str(left.second): 2, str(left.third): 3}
            }
        }
        assert notes[left.sound] == {"a": 1}

    def test_steps_of_one_name_are_told_apart(self, left: SimpleNamespace) -> None:
        found = dict(
            left.database.rows(
                "SELECT id, step_name FROM saga_steps WHERE saga_id = %s", [left.named]
            )
        )
        metadata = left.database.value("SELECT metadata FROM sagas WHERE id = %s", [left.named])

        assert len(set(found.values())) == len(self.NAMES)
        note = metadata["_repaired"]["step_name"]
        for key, before in zip(left.names, self.NAMES, strict=True):
            assert note.get(str(key), found[key]) == before
        assert found[left.names[0]] == "Pay"
        assert found[left.names[3]] == "Ship"


def leave_everything(database: Migrated) -> uuid.UUID:
    """Rows of every table with every fault; returns the one job that is sound."""
    kept = job(database, state="PENDING", metadata={"a": 1})
    database.insert("job_queue", job_id=kept, enqueued_at=NOW, priority=2)
    worker(database, provider_id=uuid.uuid4(), current_job_id=uuid.uuid4())
    worker(database, current_job_id=kept, state="BUSY")
    worker(database, current_job_id=kept, state="BUSY", created_at=None)
    job(database, selected_provider_id=uuid.uuid4())
    database.insert(
        "audit_logs", id=uuid.uuid4(), event_type="JobCreated", payload={}, occurred_at=NOW
    )
    database.insert(
        "worker_bootstrap_tokens", worker_id=uuid.uuid4(), expires_at=FAR, created_at=None
    )
    database.insert("job_log_files", job_id=kept, storage_uri="file:///a", expires_at="infinity")
    event(database, status=None)
    event(database, status="FAILED")
    dead_letter(database, moved_at=None)
    doubled = saga(database, state="FAILED", created_at=None)
    for _ in range(3):
        step(database, doubled, step_name="Pay", step_order=1, retry_count=None)
    database.insert("saga_audit_events", saga_id=doubled, event_type="Started", occurred_at=None)
    return kept


class TestTheWhole:
    @pytest.fixture(scope="class")
    @classmethod
    def left(cls, baseline_of_class: Migrated) -> SimpleNamespace:
        kept = leave_everything(baseline_of_class)
        before = cls.keys(baseline_of_class)
        baseline_of_class.to_head()
        return SimpleNamespace(database=baseline_of_class, kept=kept, before=before)

    @staticmethod
    def keys(database: Migrated) -> dict[str, set[uuid.UUID]]:
        found = {}
        for table in TABLES:
            key = "token" if table == "worker_bootstrap_tokens" else "id"
            found[table] = {value for (value,) in database.rows(f"SELECT {key} FROM {table}")}
        return found

    def test_no_row_is_lost(self, left: SimpleNamespace) -> None:
        after = self.keys(left.database)

        for table in TABLES:
            assert left.before[table], table
            assert left.before[table] <= after[table], table

    def test_a_sound_row_is_not_touched(self, left: SimpleNamespace) -> None:
        assert left.database.rows(
            "SELECT state, metadata, attempts, max_attempts, created_at FROM jobs WHERE id = %s",
            [left.kept],
        ) == [("PENDING", {"a": 1}, 0, 3, NOW)]

    def test_a_second_run_of_the_repairs_changes_nothing(self, left: SimpleNamespace) -> None:
        tables = (*TABLES, "job_queue", "outbox_dlq_actions")

        def contents() -> dict[str, list[tuple[str, ...]]]:
            return {
                table: sorted(left.database.rows(f"SELECT t::text FROM {table} t"))
                for table in tables
            }

        before = contents()
        editor = left.database.connection.schema_editor(atomic=False)

        for migration in ("outbox.migrations.0007_repair", "jobs.migrations.0006_repair"):
            import_module(migration).repair(None, editor)
        import_module("sagas.migrations.0006_repair").repair(None, editor)

        assert contents() == before
