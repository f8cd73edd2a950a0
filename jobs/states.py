"""The states of jobs, workers and providers: one list each, and the moves between them.

The enum is the list that models and admin use; migrations spell the same values out, and a test
compares the three. A transition table holds every allowed move: what is not in it is refused.
Pure: no Django, no database.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class JobState(StrEnum):
    """Where a job is. CREATED comes from the original: readable, never written."""

    CREATED = "CREATED"
    PENDING = "PENDING"  # enqueued: in the ready queue, or waiting until it is due
    ASSIGNED = "ASSIGNED"  # claimed by a worker, not started: no attempt is spent yet
    SCHEDULED = "SCHEDULED"  # a provider is chosen, its worker is not ready
    RUNNING = "RUNNING"  # a run has begun, and an attempt is spent
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMEOUT = "TIMEOUT"
    MANUAL_INTERVENTION_REQUIRED = "MANUAL_INTERVENTION_REQUIRED"  # held until a person decides


JOB_FINAL = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.TIMEOUT})

JOB_TRANSITIONS: Mapping[JobState, frozenset[JobState]] = {
    JobState.CREATED: frozenset({JobState.PENDING, JobState.CANCELLED}),
    JobState.PENDING: frozenset(
        {
            JobState.ASSIGNED,
            JobState.SCHEDULED,
            JobState.RUNNING,  # claimed and begun, in one statement
            JobState.FAILED,
            JobState.CANCELLED,
            JobState.TIMEOUT,
            JobState.MANUAL_INTERVENTION_REQUIRED,
        }
    ),
    # Back to PENDING: returned by a worker that drains, or rescued when the lease ran out.
    JobState.ASSIGNED: frozenset(
        {
            JobState.PENDING,
            JobState.RUNNING,
            JobState.FAILED,
            JobState.CANCELLED,
            JobState.TIMEOUT,
            JobState.MANUAL_INTERVENTION_REQUIRED,
        }
    ),
    JobState.SCHEDULED: frozenset(
        {
            JobState.PENDING,
            JobState.RUNNING,
            JobState.FAILED,
            JobState.CANCELLED,
            JobState.TIMEOUT,
            JobState.MANUAL_INTERVENTION_REQUIRED,
        }
    ),
    JobState.RUNNING: frozenset(
        {
            JobState.PENDING,
            JobState.SUCCEEDED,
            JobState.FAILED,
            JobState.CANCELLED,
            JobState.TIMEOUT,
            JobState.MANUAL_INTERVENTION_REQUIRED,
        }
    ),
    JobState.SUCCEEDED: frozenset(),
    # A retry is the only way out of a failure.
    JobState.FAILED: frozenset({JobState.PENDING}),
    JobState.TIMEOUT: frozenset({JobState.PENDING}),
    JobState.CANCELLED: frozenset(),
    JobState.MANUAL_INTERVENTION_REQUIRED: frozenset(
        {JobState.PENDING, JobState.FAILED, JobState.CANCELLED}
    ),
}


#: From which states each decision about a job is possible; ``jobs.services.lifecycle`` has them.
JOB_DECISIONS: Mapping[str, frozenset[JobState]] = {
    "cancel": frozenset(JobState) - JOB_FINAL,
    "retry": frozenset({JobState.FAILED, JobState.TIMEOUT}),
    "hold": frozenset({JobState.PENDING, JobState.ASSIGNED, JobState.SCHEDULED}),
    "release": frozenset({JobState.MANUAL_INTERVENTION_REQUIRED, JobState.CREATED}),
    "set_priority": frozenset({JobState.PENDING, JobState.MANUAL_INTERVENTION_REQUIRED}),
    "delete": frozenset(JobState) - {JobState.ASSIGNED, JobState.SCHEDULED, JobState.RUNNING},
}


class FailureKind(StrEnum):
    """Why a run failed, in the original's thirteen words."""

    COMMAND_NOT_FOUND = "CommandNotFound"
    PERMISSION_DENIED = "PermissionDenied"
    FILE_NOT_FOUND = "FileNotFound"
    PROCESS_SPAWN_FAILED = "ProcessSpawnFailed"
    EXECUTION_TIMEOUT = "ExecutionTimeout"
    SIGNAL_RECEIVED = "SignalReceived"
    NON_ZERO_EXIT_CODE = "NonZeroExitCode"
    INFRASTRUCTURE_ERROR = "InfrastructureError"
    VALIDATION_ERROR = "ValidationError"
    CONFIGURATION_ERROR = "ConfigurationError"
    SECRET_INJECTION_ERROR = "SecretInjectionError"  # noqa: S105  (never written by us)
    IO_ERROR = "IoError"
    UNKNOWN = "Unknown"


class Overlap(StrEnum):
    """What a schedule does when it is due while its last job has not ended."""

    SKIP = "SKIP"  # not this time
    QUEUE = "QUEUE"  # enqueue all the same
    REPLACE = "REPLACE"  # cancel the last one, and enqueue


class Missed(StrEnum):
    """What a schedule does about times at which no ticker was alive."""

    SKIP = "SKIP"  # nothing
    ONCE = "ONCE"  # one job, for the newest of them
    ALL = "ALL"  # one job for each of them


class WorkerState(StrEnum):
    """Where a worker is. REGISTERED and FAILED come from the original: readable, never written."""

    CREATING = "CREATING"
    CONNECTING = "CONNECTING"
    REGISTERED = "REGISTERED"
    READY = "READY"  # the only state that accepts jobs
    BUSY = "BUSY"
    DRAINING = "DRAINING"  # finishes what it runs, accepts nothing
    TERMINATING = "TERMINATING"
    TERMINATED = "TERMINATED"
    FAILED = "FAILED"


WORKER_FINAL = frozenset({WorkerState.TERMINATED, WorkerState.FAILED})

WORKER_TRANSITIONS: Mapping[WorkerState, frozenset[WorkerState]] = {
    WorkerState.CREATING: frozenset({WorkerState.CONNECTING, WorkerState.TERMINATED}),
    WorkerState.CONNECTING: frozenset({WorkerState.READY, WorkerState.TERMINATED}),
    WorkerState.REGISTERED: frozenset({WorkerState.READY, WorkerState.TERMINATED}),
    # A lost worker goes from any live state to TERMINATED.
    WorkerState.READY: frozenset(
        {
            WorkerState.BUSY,
            WorkerState.DRAINING,
            WorkerState.TERMINATING,
            WorkerState.TERMINATED,
        }
    ),
    WorkerState.BUSY: frozenset(
        {
            WorkerState.READY,
            WorkerState.DRAINING,
            WorkerState.TERMINATING,
            WorkerState.TERMINATED,
        }
    ),
    WorkerState.DRAINING: frozenset(
        {WorkerState.READY, WorkerState.TERMINATING, WorkerState.TERMINATED}
    ),
    WorkerState.TERMINATING: frozenset({WorkerState.TERMINATED}),
    WorkerState.TERMINATED: frozenset(),
    WorkerState.FAILED: frozenset({WorkerState.TERMINATED}),
}


class ProviderStatus(StrEnum):
    """Whether a provider may create workers: only ACTIVE does.

    INACTIVE and ERROR come from the original: readable, never written.
    """

    ACTIVE = "ACTIVE"
    INACTIVE = "INACTIVE"
    MAINTENANCE = "MAINTENANCE"
    DISABLED = "DISABLED"
    OVERLOADED = "OVERLOADED"
    UNHEALTHY = "UNHEALTHY"
    DEGRADED = "DEGRADED"
    ERROR = "ERROR"


#: Written by health checks and operators; from each of them every other one can be reached.
_REACHABLE = frozenset(
    {
        ProviderStatus.ACTIVE,
        ProviderStatus.MAINTENANCE,
        ProviderStatus.DISABLED,
        ProviderStatus.OVERLOADED,
        ProviderStatus.UNHEALTHY,
        ProviderStatus.DEGRADED,
    }
)

PROVIDER_TRANSITIONS: Mapping[ProviderStatus, frozenset[ProviderStatus]] = {
    **{status: _REACHABLE - {status} for status in ProviderStatus},
    # Switched off by a person: only a person's decision leads out, never a health check.
    ProviderStatus.DISABLED: frozenset({ProviderStatus.ACTIVE, ProviderStatus.MAINTENANCE}),
    ProviderStatus.INACTIVE: frozenset({ProviderStatus.ACTIVE, ProviderStatus.DISABLED}),
}


class ProviderType(StrEnum):
    """What a provider starts workers with; ``custom:<name>`` is allowed beside these."""

    DOCKER = "docker"
    KUBERNETES = "kubernetes"
    FIRECRACKER = "firecracker"
    FARGATE = "fargate"
    CLOUD_RUN = "cloudrun"
    CONTAINER_APPS = "containerapps"
    LAMBDA = "lambda"
    CLOUD_FUNCTIONS = "cloudfunctions"
    AZURE_FUNCTIONS = "azurefunctions"
    EC2 = "ec2"
    COMPUTE_ENGINE = "computeengine"
    AZURE_VMS = "azurevms"
    TEST = "test"
    BARE_METAL = "baremetal"
    PROCESS = "process"  # worker processes on this machine


#: What a provider type beside the list above looks like.
CUSTOM_PROVIDER_TYPE = r"^custom:.+$"
