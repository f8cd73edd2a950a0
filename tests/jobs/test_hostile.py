"""Each service of the jobs, given what nobody should give it: see ``tests.hostile``."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from jobs.services import (
    audit,
    inspection,
    lifecycle,
    logs,
    orchestration,
    providers,
    requeue,
    retention,
    schedules,
    tokens,
    workers,
)
from jobs.services.lifecycle import JobNotFound, JobStateConflict
from jobs.services.queue import enqueue, enqueue_many
from jobs.spec import JobInvalid, NewJob
from jobs.states import JobState, WorkerState
from tests.hostile import Call, Case, complaints, each
from tests.jobs.conftest import Jobs

pytestmark = pytest.mark.django_db

SPEC = {"test": {"do": "succeed", "n": 0}}
WHO: dict[str, Any] = {"reason": "why", "actor": "who"}
OF_PROVIDERS = (providers.ProviderInvalid, providers.ProviderConflict)
OF_SCHEDULES = (schedules.ScheduleInvalid, schedules.ScheduleExists)
OF_WORKERS = (
    *(workers.WorkerNotFound, workers.WorkerStateConflict, workers.WorkerInvalid),
    *(providers.ProviderNotFound, providers.ProviderConflict),
)


@pytest.fixture(autouse=True)
def there(jobs: Jobs) -> None:
    """Something that can be met."""


def one() -> uuid.UUID:
    return enqueue(spec=SPEC).id


def a_provider(**options: Any) -> uuid.UUID:
    found = uuid.uuid4()
    providers.save(found, name=str(found), provider_type="process", actor="who",
                   **options)  # fmt: skip
    return found


def a_schedule() -> str:
    schedules.add("here", cron="* * * * *", spec=SPEC, actor="who")
    return "here"


def saved(**options: Any) -> bool:
    given: dict[str, Any] = {"name": "x", "provider_type": "process", "actor": "who", **options}
    return providers.save(given.pop("provider_id", uuid.uuid4()), **given)


def added(**options: Any) -> Any:
    given: dict[str, Any] = {"cron": "* * * * *", "spec": SPEC, "actor": "who", **options}
    return schedules.add(given.pop("name", "x"), **given)


def created(**options: Any) -> None:
    provider = options.pop("provider_id", None) or a_provider()
    given: dict[str, Any] = {"resource_id": "r", "actor": "who", **options}
    workers.create(given.pop("worker_id", uuid.uuid4()), provider_id=provider, **given)


def registered(**options: Any) -> None:
    found = options.pop("worker", None) or uuid.uuid4()
    if "token" not in options:
        options["token"] = tokens.issue_token(found, actor="who")
    workers.register(found, **{"provider_id": a_provider(), **options})


def many(**job: Any) -> Any:
    return enqueue_many([NewJob(spec=SPEC), NewJob(**{"spec": SPEC, **job})])


def enqueued(**job: Any) -> Any:
    return enqueue(**{"spec": SPEC, **job})


def within(**spec: Any) -> Any:
    return enqueue(spec={"test": spec.get("given", {"n": [spec.get("deeper")]})})


def decided(act: Callable[..., object]) -> Callable[..., object]:
    def decide(**given: Any) -> object:
        return act(**{"job_id": one(), **WHO, **given})

    decide.__name__ = act.__name__
    return decide


def prioritised(**given: Any) -> None:
    lifecycle.set_priority(**{"job_id": one(), "priority": 1, **WHO, **given})


def ended_anyway(**given: Any) -> bool:
    return orchestration.end_anyway(one(), JobState.TIMEOUT, **{**WHO, **given})


def kept(**given: Any) -> None:
    logs.keep(**{"job_id": one(), "until": datetime(2030, 1, 1, tzinfo=UTC), **WHO, **given})


def capable(**given: Any) -> bool:
    return saved(capabilities=given)


def tagged(**given: Any) -> bool:
    return saved(tags=["a", *given.values()])


def of_provider(act: Callable[..., object]) -> Callable[..., object]:
    def decide(**given: Any) -> object:
        return act(**{"provider_id": a_provider(), **WHO, **given})

    decide.__name__ = f"provider {act.__name__}"
    return decide


def of_worker(act: Callable[..., object], **more: Any) -> Callable[..., object]:
    def decide(**given: Any) -> object:
        if "worker_id" not in given:
            given["worker_id"] = workers.register_local(resource_id="r")
        return act(**more, **given)

    decide.__name__ = f"worker {act.__name__}"
    return decide


def moved(**given: Any) -> None:
    workers.move(**{"to": WorkerState.DRAINING, **WHO, **given})


def issued(**given: Any) -> str:
    return tokens.issue_token(**{"worker_id": uuid.uuid4(), "actor": "who", **given})


def spent(**given: Any) -> uuid.UUID:
    worker = uuid.uuid4()
    secret = given.pop("secret", None)
    if isinstance(secret, str):
        given["token"] = f"{issued(worker_id=worker).partition('.')[0]}.{secret}"
    return tokens.spend(**{"token": issued(worker_id=worker), "worker_id": worker, **given})


def local(**given: Any) -> uuid.UUID:
    return workers.register_local(**{"resource_id": "r", **given})


def changed(**given: Any) -> Any:
    return schedules.change(a_schedule(), actor="who", **given)


def with_option(**options: Any) -> Any:
    return added(options=options)


def of_schedule(act: Callable[..., object]) -> Callable[..., object]:
    def decide(**given: Any) -> object:
        return act(**{"name": a_schedule(), "actor": "who", **given})

    decide.__name__ = f"schedule {act.__name__}"
    return decide


def recorded(**given: Any) -> uuid.UUID:
    return audit.record(**{"event_type": "X", "payload": {}, **given})


def reasoned(**payload: Any) -> uuid.UUID:
    return audit.record("X", payload)


def found(**given: Any) -> Any:
    return audit.find(audit.AuditFilter(**given))


def listed(**given: Any) -> Any:
    limit = given.pop("limit", 100)
    return inspection.find(inspection.JobFilter(**given), limit=limit)


def counted(**given: Any) -> int:
    return requeue.count(requeue.RequeueFilter(**given))


def previewed(**given: Any) -> Any:
    return list(retention.preview(retention.Keep(**given)))


JOB = dict.fromkeys(("name", "queue", "correlation_id", "idempotency_key", "trace_parent"), "text")
NUMBERS = dict.fromkeys(("priority", "max_attempts", "orchestrated"), "number")
DECISIONS = (lifecycle.cancel, lifecycle.retry, lifecycle.hold, lifecycle.release, lifecycle.delete)
WORDS = {"reason": "text", "actor": "text"}
CASES: list[Case] = [
    *each(enqueued, JobInvalid, spec="json", metadata="json", run_after="instant", timeout="span"),
    *each(enqueued, JobInvalid, **JOB, **NUMBERS),
    *each(within, JobInvalid, given="json", deeper="json"),
    *each(many, JobInvalid, spec="json", name="text", priority="number", run_after="instant"),
    *(
        case
        for act in DECISIONS
        for case in each(decided(act), JobNotFound, JobStateConflict, job_id="id", **WORDS)
    ),
    *each(prioritised, JobInvalid, JobNotFound, job_id="id", priority="number", **WORDS),
    *each(inspection.detail, JobNotFound, job_id="id"),
    *each(listed, ValueError, state="text", queue="text", name="text", correlation_id="text"),
    *each(listed, ValueError, since="instant", limit="number"),
    *each(orchestration.look, JobNotFound, job_id="id"),
    *each(ended_anyway, **WORDS),
    *each(logs.look, JobNotFound, job_id="id"),
    *each(logs.read, logs.LogNotFound, job_id="id"),
    *each(kept, logs.LogNotFound, logs.LogDateInvalid, job_id="id", until="instant", **WORDS),
    *each(decided(logs.delete), logs.LogNotFound, job_id="id", **WORDS),
    *each(logs.purge_logs, ValueError, limit="number"),
    *each(saved, *OF_PROVIDERS, provider_id="id", name="text", provider_type="text", actor="text"),
    *each(saved, *OF_PROVIDERS, config="json", capabilities="json", metadata="json", tags="json"),
    *each(saved, *OF_PROVIDERS, priority="number", max_workers="number"),
    *each(capable, *OF_PROVIDERS, cpu="number", memory="number", gpu="number", region="text"),
    *each(tagged, *OF_PROVIDERS, tag="text"),
    *each(of_provider(providers.set_status), ValueError, providers.ProviderConflict, status="text"),
    *(
        case
        for act in (providers.enable, providers.disable, providers.delete)
        for case in each(of_provider(act), providers.ProviderNotFound, provider_id="id", **WORDS)
    ),
    *each(issued, ValueError, worker_id="id", ttl="span", actor="text"),
    *each(spent, tokens.TokenRefused, token="text", secret="text", worker_id="id"),
    *each(created, *OF_WORKERS, worker_id="id", provider_id="id", resource_id="text", spec="json"),
    *each(registered, *OF_WORKERS, ValueError, worker="id", provider_id="id", resource_id="text"),
    *each(registered, *OF_WORKERS, tokens.TokenRefused, spec="json", token="text"),
    *each(local, *OF_WORKERS, worker_id="id", resource_id="text", spec="json"),
    *each(workers.heartbeat, *OF_WORKERS, worker_id="id"),
    *each(workers.release, *OF_WORKERS, worker_id="id"),
    *each(of_worker(workers.assign), *OF_WORKERS, JobNotFound, job_id="id"),
    *each(of_worker(moved), *OF_WORKERS, ValueError, to="text", worker_id="id"),
    *(
        case
        for act in (workers.drain, workers.terminate)
        for case in (
            *each(of_worker(act, **WHO), *OF_WORKERS, worker_id="id"),
            *each(of_worker(act, actor="who"), reason="text"),
        )
    ),
    *each(of_worker(workers.lose_worker, **WHO), *OF_WORKERS, worker_id="id"),
    *each(workers.find, ValueError, limit="number", silent_since="instant", provider_type="text"),
    *each(workers.find, ValueError, provider_id="id"),
    *each(added, *OF_SCHEDULES, name="text", cron="text", time_zone="text", spec="json"),
    *each(added, *OF_SCHEDULES, options="json", overlap="text", missed="text", actor="text"),
    *each(with_option, *OF_SCHEDULES, queue="text", priority="number", timeout="number"),
    *each(with_option, *OF_SCHEDULES, max_attempts="number", metadata="json"),
    *each(changed, *OF_SCHEDULES, cron="text", time_zone="text", spec="json", options="json"),
    *(
        case
        for act in (schedules.enable, schedules.disable, schedules.remove)
        for case in each(of_schedule(act), schedules.ScheduleNotFound, name="text", actor="text")
    ),
    *each(schedules.find, ValueError, limit="number", after="text"),
    # What happened is on record, whatever somebody typed.
    *each(recorded, event_type="text", actor="text", correlation_id="text", payload="json"),
    *each(reasoned, reason="json"),
    *each(audit.find, ValueError, limit="number"),
    *each(found, ValueError, correlation_id="text", event_type="text", actor="text"),
    *each(found, ValueError, since="instant", until="instant"),
    *each(counted, ValueError, queue="text", name="text", kind="text", since="instant"),
    *each(counted, ValueError, states="json"),
    *each(previewed, ValueError, audit="span", workers="span", tokens="span"),
]


@pytest.mark.parametrize(
    ("kind", "call", "documented"), [pytest.param(*rest, id=name) for name, *rest in CASES]
)
def test_hostile_values_are_taken_or_refused_in_words(
    kind: str, call: Call, documented: tuple[type[BaseException], ...]
) -> None:
    assert complaints(call, kind, *documented) == []


@pytest.mark.parametrize("batch", [0, -1, True, 10**30, "1", None])
def test_a_batch_that_would_never_end_is_refused(batch: Any) -> None:
    with pytest.raises(ValueError, match="batch is"):
        list(retention.prune(batch=batch))


@pytest.mark.parametrize("limit", [0, -1, True, 10**30, "1", None])
def test_a_limit_that_is_none_is_refused(limit: Any) -> None:
    with pytest.raises(ValueError, match="limit is"):
        requeue.requeue(requeue.RequeueFilter(), reason="why", actor="who", limit=limit)


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("* * * * * *", "it is five fields"),
        ("0 0 30 2 *", "cron is"),
        ("60 * * * *", "cron is"),
        ("*/0 * * * *", "cron is"),
        ("1-0 * * * *", "cron is"),
        ("@daily", "it is five fields"),
        ("* * * * \0", "cron is"),
        ("\u0661 * * * *", "cron is"),
        ("0 0 29 2 1", ""),
        ("99999999999999999999 * * * *", "cron is"),
        ("*/99999999999999999999 * * * *", ""),
        (",".join(["0"] * 60) + " * * * *", "at most 100 characters"),
    ],
)
def test_times_that_are_none(cron: str, words: str) -> None:
    if words:
        with pytest.raises(schedules.ScheduleInvalid, match=words):
            added(cron=cron)
        return

    due = added(cron=cron)

    assert due is None or due.tzinfo is not None


@pytest.mark.parametrize(
    "zone",
    [
        *("../../etc/passwd", "/etc/localtime", "Europe", "Europe/", "/", ".", "..", "No/Where"),
        *("Europe/Madrid\0", "Europe/Madrid/", "\ud800", "a" * 65, "", "europe/madrid/x"),
    ],
)
def test_time_zones_that_nobody_knows(zone: str) -> None:
    with pytest.raises(schedules.ScheduleInvalid, match="time_zone is"):
        added(time_zone=zone)


def test_a_key_that_is_repeated_is_the_same_job(jobs: Jobs) -> None:
    keys = ["\u200bkey", "key", "KEY", "key ", "\u202ekey", "ke\u0301y", "k\u00e9y"]

    first = {key: enqueue(spec=SPEC, idempotency_key=key).id for key in keys}
    again = {key: enqueue(spec=SPEC, idempotency_key=key) for key in keys}

    assert len(set(first.values())) == len(keys)
    assert {key: (found.id, found.is_new) for key, found in again.items()} == {
        key: (job, False) for key, job in first.items()
    }


def test_a_result_that_was_stored_can_be_read_back_from_any_depth(jobs: Jobs) -> None:
    """What is nested so deeply that Python reads it only near the top of its stack is not taken."""
    from tests.hostile import nested

    with pytest.raises(JobInvalid, match="nested more than 100 levels deep"):
        enqueue(spec={"test": {"n": nested(900)}})


def test_what_a_person_typed_is_kept_without_secrets_and_cut(jobs: Jobs) -> None:
    job = one()

    lifecycle.hold(job, reason=f"password=hunter2 a\0b {'x' * 100_000}", actor="o\0p")

    ((said,),) = jobs.rows("SELECT error_message FROM jobs WHERE id = %s", [job])
    assert said.startswith("Held by o\ufffdp: password=[redacted] a\ufffdb xxx")
    assert len(said) <= 8_192
