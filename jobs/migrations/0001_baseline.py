"""The original's tables, exactly: a database made by it is adopted at this migration."""

from __future__ import annotations

import uuid

from django.contrib.postgres.functions import RandomUUID
from django.db import migrations, models
from django.db.models import Func


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Provider",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("name", models.CharField(max_length=255)),
                ("provider_type", models.CharField(max_length=50)),
                ("config", models.JSONField(db_default={}, default=dict)),
                (
                    "status",
                    models.CharField(
                        max_length=50,
                        choices=[
                            ("ACTIVE", "Active"),
                            ("INACTIVE", "Inactive"),
                            ("MAINTENANCE", "Maintenance"),
                            ("DISABLED", "Disabled"),
                            ("OVERLOADED", "Overloaded"),
                            ("UNHEALTHY", "Unhealthy"),
                            ("DEGRADED", "Degraded"),
                            ("ERROR", "Error"),
                        ],
                        db_default="ACTIVE",
                    ),
                ),
                ("priority", models.IntegerField(db_default=0)),
                ("max_workers", models.IntegerField(db_default=10)),
                ("tags", models.JSONField(db_default=[], default=list)),
                ("metadata", models.JSONField(db_default={}, default=dict)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=Func(function="now", output_field=models.DateTimeField())
                    ),
                ),
                (
                    "updated_at",
                    models.DateTimeField(
                        db_default=Func(function="now", output_field=models.DateTimeField())
                    ),
                ),
            ],
            options={
                "db_table": "provider_configs",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            provider_type__in=["docker", "kubernetes", "firecracker"]
                        ),
                        name="provider_configs_provider_type_check",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            status__in=["ACTIVE", "INACTIVE", "MAINTENANCE", "ERROR"]
                        ),
                        name="provider_configs_status_check",
                    ),
                    models.UniqueConstraint(fields=["name"], name="provider_configs_name_key"),
                ],
                "indexes": [
                    models.Index(fields=["name"], name="idx_provider_configs_name"),
                    models.Index(fields=["status"], name="idx_provider_configs_status"),
                    models.Index(fields=["provider_type"], name="idx_provider_configs_type"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Job",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("spec", models.JSONField()),
                (
                    "state",
                    models.CharField(
                        max_length=50,
                        choices=[
                            ("CREATED", "Created"),
                            ("PENDING", "Pending"),
                            ("ASSIGNED", "Assigned"),
                            ("SCHEDULED", "Scheduled"),
                            ("RUNNING", "Running"),
                            ("SUCCEEDED", "Succeeded"),
                            ("FAILED", "Failed"),
                            ("CANCELLED", "Cancelled"),
                            ("TIMEOUT", "Timeout"),
                            ("MANUAL_INTERVENTION_REQUIRED", "Manual intervention required"),
                        ],
                    ),
                ),
                (
                    "selected_provider",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.deletion.DO_NOTHING,
                        related_name="+",
                        to="jobs.provider",
                        blank=True,
                        null=True,
                    ),
                ),
                ("execution_context", models.JSONField(blank=True, null=True)),
                ("attempts", models.IntegerField(default=0, db_default=0)),
                ("max_attempts", models.IntegerField(default=3, db_default=3)),
                ("created_at", models.DateTimeField()),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("completed_at", models.DateTimeField(blank=True, null=True)),
                ("result", models.JSONField(blank=True, null=True)),
                ("error_message", models.TextField(blank=True, null=True)),
                ("metadata", models.JSONField(db_default={}, default=dict)),
            ],
            options={
                "db_table": "jobs",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            state__in=[
                                "CREATED",
                                "PENDING",
                                "ASSIGNED",
                                "RUNNING",
                                "SUCCEEDED",
                                "FAILED",
                                "CANCELLED",
                            ]
                        ),
                        name="jobs_state_check",
                    )
                ],
                "indexes": [
                    models.Index(
                        fields=["selected_provider", "state"],
                        name="idx_jobs_assigned_provider",
                        condition=models.Q(state="ASSIGNED"),
                    ),
                    models.Index(fields=["created_at"], name="idx_jobs_created_at"),
                    models.Index(fields=["selected_provider"], name="idx_jobs_selected_provider"),
                    models.Index(fields=["state"], name="idx_jobs_state"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Worker",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "provider",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.deletion.DO_NOTHING,
                        related_name="workers",
                        to="jobs.provider",
                    ),
                ),
                ("provider_type", models.TextField()),
                ("provider_resource_id", models.TextField()),
                (
                    "state",
                    models.TextField(
                        choices=[
                            ("CREATING", "Creating"),
                            ("CONNECTING", "Connecting"),
                            ("REGISTERED", "Registered"),
                            ("READY", "Ready"),
                            ("BUSY", "Busy"),
                            ("DRAINING", "Draining"),
                            ("TERMINATING", "Terminating"),
                            ("TERMINATED", "Terminated"),
                            ("FAILED", "Failed"),
                        ]
                    ),
                ),
                ("spec", models.JSONField(default=dict)),
                ("handle", models.JSONField(default=dict)),
                (
                    "current_job",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.deletion.DO_NOTHING,
                        related_name="+",
                        to="jobs.job",
                        blank=True,
                        null=True,
                    ),
                ),
                ("last_heartbeat", models.DateTimeField(blank=True, null=True)),
                (
                    "created_at",
                    models.DateTimeField(
                        null=True,
                        db_default=Func(function="now", output_field=models.DateTimeField()),
                    ),
                ),
                (
                    "updated_at",
                    models.DateTimeField(
                        null=True,
                        db_default=Func(function="now", output_field=models.DateTimeField()),
                    ),
                ),
            ],
            options={
                "db_table": "workers",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            provider_type__in=["docker", "kubernetes", "firecracker"]
                        ),
                        name="workers_provider_type_check",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            state__in=["REGISTERED", "BUSY", "READY", "TERMINATED", "FAILED"]
                        ),
                        name="workers_state_check",
                    ),
                ],
                "indexes": [
                    models.Index(
                        fields=["current_job"],
                        name="idx_workers_current_job",
                        condition=models.Q(current_job__isnull=False),
                    ),
                    models.Index(
                        fields=["last_heartbeat"],
                        name="idx_workers_last_heartbeat",
                        condition=models.Q(last_heartbeat__isnull=False),
                    ),
                    models.Index(fields=["provider"], name="idx_workers_provider_id"),
                    models.Index(fields=["state"], name="idx_workers_state"),
                ],
            },
        ),
        migrations.CreateModel(
            name="QueueEntry",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "job",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.deletion.DO_NOTHING,
                        related_name="+",
                        to="jobs.job",
                    ),
                ),
                (
                    "enqueued_at",
                    models.DateTimeField(
                        db_default=Func(function="now", output_field=models.DateTimeField())
                    ),
                ),
                ("priority", models.IntegerField(db_default=0)),
            ],
            options={
                "db_table": "job_queue",
                "verbose_name": "queue entry",
                "verbose_name_plural": "queue entries",
                "constraints": [
                    models.UniqueConstraint(
                        fields=["job"], name="uq_job_queue_job_id", opclasses=["uuid_ops"]
                    )
                ],
                "indexes": [
                    models.Index(fields=["enqueued_at"], name="idx_job_queue_enqueued_at"),
                    models.Index(
                        fields=["-priority", "enqueued_at"], name="idx_job_queue_priority"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="AuditRecord",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("correlation_id", models.CharField(max_length=255, blank=True, null=True)),
                ("event_type", models.CharField(max_length=255)),
                ("payload", models.JSONField()),
                ("occurred_at", models.DateTimeField()),
                ("actor", models.CharField(max_length=255, blank=True, null=True)),
            ],
            options={
                "db_table": "audit_logs",
                "verbose_name": "audit record",
                "indexes": [
                    models.Index(
                        fields=["actor"],
                        name="idx_audit_actor",
                        condition=models.Q(actor__isnull=False),
                    ),
                    models.Index(
                        fields=["correlation_id"],
                        name="idx_audit_correlation_id",
                        condition=models.Q(correlation_id__isnull=False),
                    ),
                    models.Index(
                        fields=["event_type", "occurred_at"], name="idx_audit_event_occurred"
                    ),
                    models.Index(fields=["event_type"], name="idx_audit_event_type"),
                    models.Index(fields=["occurred_at"], name="idx_audit_occurred_at"),
                ],
            },
        ),
        migrations.CreateModel(
            name="LogFile",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                        db_default=RandomUUID(),
                    ),
                ),
                (
                    "job",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.deletion.DO_NOTHING,
                        related_name="log_files",
                        to="jobs.job",
                    ),
                ),
                (
                    "storage_uri",
                    models.TextField(db_comment="URI to log storage (file://, s3://, etc.)"),
                ),
                (
                    "size_bytes",
                    models.BigIntegerField(
                        db_default=0, db_comment="Size of the log file in bytes"
                    ),
                ),
                (
                    "entry_count",
                    models.IntegerField(
                        db_default=0, db_comment="Number of log entries in the file"
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=Func(function="now", output_field=models.DateTimeField())
                    ),
                ),
                ("expires_at", models.DateTimeField()),
            ],
            options={
                "db_table": "job_log_files",
                "db_table_comment": "References to persistent log files for job output",
                "verbose_name": "log file",
                "constraints": [
                    models.UniqueConstraint(fields=["job"], name="uq_job_log_files_job_id")
                ],
                "indexes": [
                    models.Index(fields=["expires_at"], name="idx_job_log_files_expires_at"),
                    models.Index(fields=["job"], name="idx_job_log_files_job_id"),
                    models.Index(fields=["storage_uri"], name="idx_job_log_files_storage_uri"),
                ],
            },
        ),
        migrations.CreateModel(
            name="BootstrapToken",
            fields=[
                (
                    "token",
                    models.UUIDField(
                        default=uuid.uuid4,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                        db_default=RandomUUID(),
                    ),
                ),
                ("worker_id", models.UUIDField()),
                ("expires_at", models.DateTimeField()),
                ("consumed_at", models.DateTimeField(blank=True, null=True)),
                (
                    "created_at",
                    models.DateTimeField(
                        null=True,
                        db_default=Func(function="now", output_field=models.DateTimeField()),
                    ),
                ),
            ],
            options={"db_table": "worker_bootstrap_tokens", "verbose_name": "bootstrap token"},
        ),
        migrations.RunSQL(
            "ALTER TABLE job_queue ADD CONSTRAINT job_queue_job_id_fkey FOREIGN KEY (job_id) REFERENCES jobs (id) ON DELETE RESTRICT",
            "ALTER TABLE job_queue DROP CONSTRAINT job_queue_job_id_fkey",
        ),
        migrations.RunSQL(
            "ALTER TABLE job_log_files ADD CONSTRAINT job_log_files_job_id_fkey FOREIGN KEY (job_id) REFERENCES jobs (id) ON DELETE CASCADE",
            "ALTER TABLE job_log_files DROP CONSTRAINT job_log_files_job_id_fkey",
        ),
    ]
