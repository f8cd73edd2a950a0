"""What every table and column means, for whoever looks at the database without us."""

from __future__ import annotations

from django.db import migrations

from hodei.schema.operations import AlterComments


class Migration(migrations.Migration):
    dependencies = [("jobs", "0015_append_only_audit")]

    operations = [
        AlterComments(
            "provider",
            table="Providers that start workers, and their capacity",
            columns={
                "id": "Id, given by the caller",
                "name": "Unique name, for people",
                "provider_type": "What it starts workers with; custom:<name> for third parties",
                "config": "Settings of the provider; secrets are redacted",
                "status": "Only ACTIVE ones are asked for workers",
                "priority": "Higher is chosen first",
                "max_workers": "Live workers that it may have at once",
                "tags": "Labels that jobs select by",
                "metadata": "Anything else, and what a repair kept",
                "created_at": "When it was saved first",
                "updated_at": "When it was changed last",
            },
        ),
        AlterComments(
            "worker",
            table="Processes that run jobs, one row each for its whole life",
            columns={
                "id": "Id, given by the caller",
                "provider": "The provider that made it; a provider with workers cannot be deleted",
                "provider_type": "Type of that provider when it was made",
                "provider_resource_id": "The provider's own name for it",
                "state": "Accepts jobs in READY and, beside others, BUSY",
                "spec": "What it was made with",
                "handle": "The provider's data about it, and what a repair kept",
                "current_job": "The job it runs, kept for workers that run one at a time",
                "last_heartbeat": "Newest sign of life; NULL before the first one",
                "created_at": "Registration: liveness counts from here before a heartbeat",
                "updated_at": "When it was changed last",
            },
        ),
        AlterComments(
            "job",
            table="Units of work, from enqueue to their final state and until retention",
            columns={
                "id": "Id, given by the caller",
                "spec": "What to run; its command or task, and its limits",
                "state": "Where the job is; final states rest",
                "selected_provider": "The provider that was chosen for it",
                "execution_context": "The provider's data about the run",
                "attempts": "Runs begun; a returned, unstarted job spends none",
                "max_attempts": "Runs allowed before it stays FAILED",
                "created_at": "When it was enqueued first",
                "started_at": "Begin of the newest run; NULL before the first",
                "completed_at": "When it reached a final state",
                "result": "What the newest run returned",
                "error_message": "Why the newest run failed",
                "metadata": "The caller's own data, and what a repair kept",
                "name": "For people: what this job is called",
                "queue": "Workers ask for queues by name",
                "priority": "-100 to 100; higher runs first within its queue",
                "run_after": "Not before this time; NULL is at once",
                "timeout": "Longest run; NULL is the executor's default",
                "correlation_id": "Common to all that belongs together",
                "idempotency_key": "A second enqueue with the same key returns this job",
                "trace_parent": "W3C traceparent of the enqueuing code",
                "worker_id": "workers.id of the newest run; kept when that row is gone",
                "lost_leases": "Runs whose worker vanished; counted apart from attempts",
                "updated_at": "When it was changed last",
            },
        ),
        AlterComments(
            "queueentry",
            table="Jobs that can be claimed now: narrow, inserted and deleted only",
            columns={
                "id": "Order of enqueuing within a priority",
                "job": "The job; its place in the queue dies with it",
                "enqueued_at": "Since when it waits",
                "priority": "As in jobs; higher goes first",
                "queue": "As in jobs",
            },
        ),
        AlterComments(
            "deferredentry",
            table="Jobs that are due later, and moved into job_queue when they are",
            columns={
                "job": "The job; its place dies with it",
                "run_after": "When it moves into job_queue",
                "queue": "As in jobs",
                "priority": "As in jobs",
            },
        ),
        AlterComments(
            "lease",
            table="Jobs that workers hold now, each until its lease expires",
            columns={
                "job": "The job; without a foreign key, which a claim would pay for",
                "worker_id": "workers.id of the holder",
                "epoch": "Given anew with each lease; a write with another one does nothing",
                "expires_at": "Renewed while the worker lives; rescued after it",
                "acquired_at": "When it was claimed",
                "cancel_requested_at": "When somebody asked for the run to be stopped",
            },
        ),
        AlterComments(
            "auditrecord",
            table="What happened and who did it; append-only but for retention",
            columns={
                "id": "Id of the record",
                "correlation_id": "Common to all that belongs together",
                "event_type": "What happened",
                "payload": "Its details, secrets redacted",
                "occurred_at": "When it happened",
                "actor": "Who did it; system for the platform",
            },
        ),
        AlterComments(
            "logfile",
            table="Log files of jobs: where they are, how large, and until when",
            columns={
                "id": "Id of the log file",
                "job": "The job; one log file each",
                "storage_uri": "URI to log storage (file://, s3://, etc.)",
                "size_bytes": "Size of the log file in bytes",
                "entry_count": "Number of log entries in the file",
                "created_at": "When it was stored first",
                "expires_at": "When retention may delete it",
            },
        ),
        AlterComments(
            "bootstraptoken",
            table="Tokens that let one worker register once",
            columns={
                "token": "Public id of the token; the secret beside it is stored as a hash",
                "worker_id": "The worker it is for, which may not exist yet",
                "expires_at": "Not valid after this time",
                "consumed_at": "When the worker registered with it",
                "created_at": "When it was issued",
                "secret_hash": "SHA-256 of the secret, in hex; NULL lets nobody in",
            },
        ),
    ]
