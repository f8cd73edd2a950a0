"""Providers, workers, and jobs in every state that is written today."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Model

from hodei.sample.draft import Draft
from jobs import cron
from jobs.models import (
    AuditRecord,
    BootstrapToken,
    DeferredEntry,
    Job,
    Lease,
    Provider,
    QueueEntry,
    Schedule,
    Worker,
)
from jobs.states import JobState, Missed, Overlap, ProviderStatus, ProviderType, WorkerState

LEASE = timedelta(seconds=30)


@dataclass
class SampleJobs:
    """The rows that the other tables speak of, by name."""

    providers: dict[str, Provider] = field(default_factory=dict)
    workers: dict[str, Worker] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)


def sample_jobs(draft: Draft) -> tuple[SampleJobs, list[Model]]:
    """The rows of the jobs app, in an order that foreign keys allow."""
    sample = SampleJobs()
    _providers(draft, sample)
    workers = _workers(draft, sample)
    beside = [*_waiting(draft, sample), *_held(draft, sample)]
    _ended(draft, sample)
    rows: list[Model] = [*sample.providers.values(), *sample.jobs.values(), *workers, *beside]
    return sample, [
        *rows,
        *_tokens(draft, sample),
        *_schedules(draft),
        *_audit(draft, sample),
    ]


def _providers(draft: Draft, sample: SampleJobs) -> None:
    active, test = ProviderStatus.ACTIVE, "example-only"
    for name, kind, status, priority, workers, config, tags in (
        ("docker-local", ProviderType.DOCKER, active, 10, 8,
         {"socket": "/var/run/docker.sock", "image": "runner:2.4", "memory_mb": 2048},
         ["cpu", "local"]),
        ("k8s-eu-west", ProviderType.KUBERNETES, active, 20, 40,
         {"namespace": "jobs", "image": "runner:2.4", "service_account": "runner",
          "registry": {"server": "registry.example", "user": "pull", "password": test}},
         ["cpu", "eu"]),
        ("gpu-rack", "custom:slurm", ProviderStatus.DEGRADED, 30, 4,
         {"partition": "gpu", "api_url": f"https://hodei:{test}@slurm.example/v1"}, ["gpu"]),
        ("vm-lab", ProviderType.FIRECRACKER, ProviderStatus.MAINTENANCE, 5, 6,
         {"kernel": "vmlinux-6.6", "vcpus": 2}, ["isolated"]),
        ("burst", ProviderType.LAMBDA, ProviderStatus.DISABLED, 0, 100,
         {"region": "eu-west-1", "access_key_id": test, "secret_access_key": test}, ["burst"]),
    ):  # fmt: skip
        sample.providers[name] = Provider(
            id=draft.id(),
            name=name,
            provider_type=str(kind),
            status=status.value,
            priority=priority,
            max_workers=workers,
            config=config,
            tags=tags,
            metadata={"owner": "platform"},
            created_at=draft.ago(hours=700),
            updated_at=draft.ago(hours=3 if status is active else 1),
        )


def _workers(draft: Draft, sample: SampleJobs) -> list[Worker]:
    for name, provider, state, age, heartbeat in (
        ("docker-1", "docker-local", WorkerState.READY, 190, 4),
        ("docker-2", "docker-local", WorkerState.BUSY, 190, 6),
        ("eu-west-7f9c", "k8s-eu-west", WorkerState.BUSY, 52, 2),
        ("eu-west-b21d", "k8s-eu-west", WorkerState.DRAINING, 610, 9),
        ("eu-west-0ca4", "k8s-eu-west", WorkerState.CONNECTING, 0.4, None),
        ("eu-west-91ee", "k8s-eu-west", WorkerState.CREATING, 0.1, None),
        ("slurm-31007", "gpu-rack", WorkerState.TERMINATING, 340, 48),
        ("eu-west-55aa", "k8s-eu-west", WorkerState.TERMINATED, 900, 7_400),
    ):
        owner = sample.providers[provider]
        sample.workers[name] = Worker(
            id=draft.id(),
            provider=owner,
            provider_type=owner.provider_type,
            provider_resource_id=name,
            state=state.value,
            spec={"image": "runner:2.4", "queues": ["default", "reports"], "concurrency": 1},
            handle={"host": f"{name}.internal.example", "agent_token": "example-only"},
            last_heartbeat=None if heartbeat is None else draft.ago(seconds=heartbeat),
            created_at=draft.ago(minutes=age),
            updated_at=draft.ago(seconds=heartbeat or 5),
        )
    return list(sample.workers.values())


def _job(draft: Draft, sample: SampleJobs, name: str, state: JobState, **values: Any) -> Job:
    created: datetime = values.pop("created_at")
    job = Job(
        id=draft.id(),
        name=name,
        state=state.value,
        created_at=created,
        updated_at=values.get("completed_at") or values.get("started_at") or created,
        trace_parent=draft.trace(),
        **{
            "spec": _task(name.split(maxsplit=1)[0].replace("-", "_"), {"run": name}),
            "metadata": {},
            "queue": "default",
            **values,
        },
    )
    sample.jobs[name] = job
    return job


def _task(path: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"python": {"task": f"hodei.sample.tasks.{path}", "kwargs": arguments}}


def _shell(command: str, *arguments: str) -> dict[str, Any]:
    return {
        "command": {"type": "shell", "cmd": command, "args": list(arguments)},
        "env": {"LANG": "C.UTF-8", "DB_PASSWORD": "example-only"},
        "timeout_ms": 900_000,
    }


def _waiting(draft: Draft, sample: SampleJobs) -> list[Model]:
    """PENDING jobs with their places, and one whose worker is on its way."""
    rows: list[Model] = []
    for name, queue, priority, minutes in (
        ("invoice-export 4819", "reports", 20, 6.5),
        ("invoice-export 4820", "reports", 20, 6.4),
        ("thumbnail 99120", "default", 0, 2.2),
        ("thumbnail 99121", "default", 0, 0.7),
    ):
        at = draft.ago(minutes=minutes)
        job = _job(draft, sample, name, JobState.PENDING,
                   queue=queue, priority=priority, created_at=at)  # fmt: skip
        rows.append(QueueEntry(job=job, enqueued_at=at, priority=priority, queue=queue))
    due = draft.soon(hours=9)
    nightly = _job(draft, sample, "nightly-report", JobState.PENDING,
                   queue="reports", run_after=due, created_at=draft.ago(hours=2),
                   idempotency_key=f"nightly-report:{due:%Y-%m-%d}",
                   timeout=timedelta(minutes=30))  # fmt: skip
    rows.append(DeferredEntry(job=nightly, run_after=due, queue="reports", priority=0))
    _job(draft, sample, "train-ranking 17", JobState.SCHEDULED,
         queue="gpu", priority=50, created_at=draft.ago(minutes=1.5),
         selected_provider=sample.providers["k8s-eu-west"],
         worker_id=sample.workers["eu-west-0ca4"].id)  # fmt: skip
    return rows


def _held(draft: Draft, sample: SampleJobs) -> list[Model]:
    """Jobs that a worker holds, each with its lease."""
    rows: list[Model] = []
    for epoch, (name, state, worker, minutes, correlation) in enumerate(
        (
            ("thumbnail 99119", JobState.ASSIGNED, "docker-1", 0.05, None),
            ("transcode 2207", JobState.RUNNING, "docker-2", 3.1, None),
            ("settlement 2291", JobState.RUNNING, "eu-west-7f9c", 4.2, "settlement-2291"),
            ("archive-logs", JobState.RUNNING, "eu-west-b21d", 11.5, None),
        ),
        start=4_101,
    ):
        holder = sample.workers[worker]
        running = state is JobState.RUNNING
        taken = draft.ago(minutes=minutes)
        job = _job(draft, sample, name, state,
                   created_at=taken - timedelta(seconds=3), correlation_id=correlation,
                   attempts=1 if running else 0,
                   started_at=taken + timedelta(milliseconds=40) if running else None,
                   selected_provider=holder.provider, worker_id=holder.id,
                   execution_context={"host": holder.handle["host"]} if running else None,
                   metadata={"requested_by": "billing"} if correlation else {})  # fmt: skip
        if running:
            holder.current_job = job
        rows.append(
            Lease(
                job=job,
                worker_id=holder.id,
                epoch=epoch,
                acquired_at=taken,
                expires_at=draft.now - timedelta(seconds=6) + LEASE,
            )
        )
    return rows


def _ended(draft: Draft, sample: SampleJobs) -> None:
    """Jobs that are over, and one that waits for a person."""
    docker, cloud = sample.providers["docker-local"], sample.providers["k8s-eu-west"]
    lost = sample.workers["eu-west-55aa"]

    def job(name: str, state: JobState, minutes: float, took: float | None, **values: Any) -> None:
        created = draft.ago(minutes=minutes)
        begun = None if took is None else created + timedelta(seconds=2)
        _job(draft, sample, name, state, created_at=created, started_at=begun,
             **{"completed_at": begun and begun + timedelta(seconds=took or 0),
                "attempts": 0 if took is None else 1, **values})  # fmt: skip

    done = JobState.SUCCEEDED
    job("invoice-export 4817", done, 62, 48.2, queue="reports", selected_provider=docker,
        result={"rows": 18_204, "file": "s3://exports/4817.csv"},
        worker_id=sample.workers["docker-1"].id)  # fmt: skip
    job("invoice-export 4818", done, 58, 51.9, queue="reports", selected_provider=docker,
        result={"rows": 18_377, "file": "s3://exports/4818.csv"},
        worker_id=sample.workers["docker-2"].id)  # fmt: skip
    job("settlement 2289", done, 95, 312.4, correlation_id="settlement-2289",
        selected_provider=cloud, result={"settled": 418}, worker_id=lost.id)  # fmt: skip
    job("thumbnail 99118", done, 14, 0.9, selected_provider=docker,
        result={"width": 320}, worker_id=sample.workers["docker-1"].id)  # fmt: skip
    job("settlement 2290", JobState.FAILED, 75, 41.0, attempts=3, correlation_id="settlement-2290",
        selected_provider=cloud, worker_id=sample.workers["eu-west-7f9c"].id,
        error_message="LedgerClosed: period 2026-10 is closed for postings\n"
        '  File "shop/settlement.py", line 88, in post\n    ledger.post(batch)\n')  # fmt: skip
    job("sync-catalogue", JobState.FAILED, 34, 5.3, attempts=3, selected_provider=docker,
        spec=_shell("rsync", "--archive", "catalogue/", "mirror:/srv/catalogue"),
        worker_id=sample.workers["docker-2"].id,
        error_message="exit 12: rsync: connection unexpectedly closed",
        result={"exit_code": 12})  # fmt: skip
    job("transcode 2204", JobState.TIMEOUT, 130, 900, attempts=3, selected_provider=docker,
        spec=_shell("ffmpeg", "-i", "in.mov", "out.webm"), timeout=timedelta(minutes=15),
        worker_id=sample.workers["docker-2"].id,
        error_message="Stopped after 15 minutes, which is its timeout")  # fmt: skip
    job("newsletter 311", JobState.CANCELLED, 44, None, queue="mail",
        completed_at=draft.ago(minutes=41))  # fmt: skip
    job("train-ranking 16", JobState.MANUAL_INTERVENTION_REQUIRED, 150, 610, completed_at=None,
        attempts=3, lost_leases=2, queue="gpu", correlation_id="train-ranking-16",
        worker_id=lost.id, selected_provider=cloud,
        error_message="Its worker vanished twice; held until a person decides")  # fmt: skip


def _tokens(draft: Draft, sample: SampleJobs) -> list[BootstrapToken]:
    return [
        BootstrapToken(
            token=draft.id(),
            worker_id=sample.workers[worker].id,
            created_at=draft.ago(minutes=minutes),
            expires_at=draft.ago(minutes=minutes) + timedelta(minutes=10),
            consumed_at=None if consumed is None else draft.ago(minutes=consumed),
            secret_hash=f"{draft.rng.getrandbits(256):064x}",
        )
        for worker, minutes, consumed in (
            ("eu-west-7f9c", 52.2, 52.0),
            ("eu-west-0ca4", 0.4, None),
            ("eu-west-91ee", 0.1, None),
        )
    ]


def _schedules(draft: Draft) -> list[Schedule]:
    """One that is due tonight, and one that somebody has disabled."""
    return [
        Schedule(
            name=name,
            cron=times,
            time_zone="Europe/Madrid",
            spec=_task(task, {"run": name}),
            options={"queue": "reports"},
            overlap=Overlap.SKIP.value,
            missed=Missed.ONCE.value,
            enabled=enabled,
            next_run_at=next(cron.times(times, "Europe/Madrid", after=draft.now)),
            created_at=draft.ago(hours=700),
            updated_at=draft.ago(hours=30),
        )
        for name, times, task, enabled in (
            ("archive-logs", "30 2 * * *", "archive_logs", True),
            ("newsletter", "0 9 * * 1", "newsletter", False),
        )
    ]


def _audit(draft: Draft, sample: SampleJobs) -> list[AuditRecord]:
    def record(minutes: float, what: str, actor: str, about: str | None, **payload: Any) -> Model:
        return AuditRecord(
            id=draft.id(),
            correlation_id=about,
            event_type=what,
            actor=actor,
            occurred_at=draft.ago(minutes=minutes),
            payload=payload,
        )

    jobs, workers = sample.jobs, sample.workers
    lost = str(workers["eu-west-55aa"].id)
    records: list[Any] = [
        record(125, "WorkerLost", "system", "train-ranking-16", worker_id=lost,
               silent_seconds=63, job_id=str(jobs["train-ranking 16"].id)),
        record(124, "JobHeld", "system", "train-ranking-16",
               job_id=str(jobs["train-ranking 16"].id), lost_leases=2),
        record(112, "JobTimedOut", "system", None, job_id=str(jobs["transcode 2204"].id),
               timeout_seconds=900),
        record(74, "JobFailed", "system", "settlement-2290",
               job_id=str(jobs["settlement 2290"].id), attempts=3, error="LedgerClosed"),
        record(60, "ProviderDisabled", "ana@example.org", None, provider="burst",
               reason="Over budget this month", before="ACTIVE", after="DISABLED"),
        record(41, "JobCancelled", "ana@example.org", None, reason="Wrong audience",
               job_id=str(jobs["newsletter 311"].id)),
        record(34, "JobFailed", "system", None, job_id=str(jobs["sync-catalogue"].id), attempts=3,
               error="exit 12"),
        record(10, "WorkerDraining", "deploy", None,
               worker_id=str(workers["eu-west-b21d"].id), reason="New image runner:2.5"),
    ]  # fmt: skip
    return records
