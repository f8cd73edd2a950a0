"""What runs leave behind: attempts that failed, ends of logs, files to delete; and schedules."""

from __future__ import annotations

from django.db import migrations, models

from hodei.schema.operations import MoveRows

KEYS = ("job_log_tails", "job_failed_attempts")

# A new epoch for every lease of the whole database: whoever is given one may compare them.
EPOCHS = """
CREATE SEQUENCE job_leases_epoch_seq AS bigint OWNED BY job_leases.epoch;
COMMENT ON SEQUENCE job_leases_epoch_seq IS 'Epochs of leases, each larger than all before it';
"""

# A file outlives its row only as long as it takes to delete it, whoever deleted the row, and a job
# that takes its log files along by CASCADE does it, too.
GARBAGE = """
CREATE FUNCTION jobs_note_log_garbage() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO job_log_garbage (storage_uri) VALUES (OLD.storage_uri);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION jobs_note_log_garbage() IS
    'Notes the file of a deleted row of job_log_files, to be deleted by retention';
CREATE TRIGGER job_log_files_garbage AFTER DELETE ON job_log_files
    FOR EACH ROW EXECUTE FUNCTION jobs_note_log_garbage();
"""
NO_GARBAGE = """
DROP TRIGGER job_log_files_garbage ON job_log_files;
DROP FUNCTION jobs_note_log_garbage();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0016_comments"),
    ]

    operations = [
        migrations.CreateModel(
            name="LogGarbage",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        db_comment="Meaningless number", primary_key=True, serialize=False
                    ),
                ),
                ("storage_uri", models.TextField(db_comment="As it was in job_log_files")),
                (
                    "since",
                    models.DateTimeField(
                        db_comment="When its row went",
                        db_default=models.Func(function="now", output_field=models.DateTimeField()),
                    ),
                ),
            ],
            options={
                "verbose_name": "log file to delete",
                "verbose_name_plural": "log files to delete",
                "db_table": "job_log_garbage",
                "db_table_comment": "Log files to delete; filled by a trigger on job_log_files",
            },
        ),
        migrations.CreateModel(
            name="LogTail",
            fields=[
                (
                    "job",
                    models.OneToOneField(
                        db_comment="The job; its tail dies with it",
                        db_constraint=False,
                        on_delete=models.deletion.DO_NOTHING,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="jobs.job",
                    ),
                ),
                (
                    "tail",
                    models.BinaryField(db_comment="The newest bytes of its output, secrets masked"),
                ),
                (
                    "total_bytes",
                    models.BigIntegerField(
                        db_comment="Bytes of output so far; the tail ends there"
                    ),
                ),
                (
                    "updated_at",
                    models.DateTimeField(
                        db_comment="When it was written last",
                        db_default=models.Func(function="now", output_field=models.DateTimeField()),
                    ),
                ),
            ],
            options={
                "verbose_name": "log tail",
                "db_table": "job_log_tails",
                "db_table_comment": "The newest output of jobs, bounded; the whole is in the log file",
            },
        ),
        migrations.CreateModel(
            name="Schedule",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        db_comment="Meaningless number", primary_key=True, serialize=False
                    ),
                ),
                (
                    "name",
                    models.CharField(
                        db_comment="Unique name; part of its jobs' keys", max_length=100
                    ),
                ),
                (
                    "cron",
                    models.CharField(
                        db_comment="Five fields: minute hour day month weekday", max_length=100
                    ),
                ),
                (
                    "time_zone",
                    models.CharField(
                        db_comment="IANA name; the times are local there",
                        db_default="UTC",
                        max_length=64,
                    ),
                ),
                ("spec", models.JSONField(db_comment="What its jobs run: as in jobs")),
                (
                    "options",
                    models.JSONField(
                        db_comment="Queue, priority and other properties of its jobs",
                        db_default={},
                        default=dict,
                    ),
                ),
                (
                    "overlap",
                    models.CharField(
                        choices=[("SKIP", "Skip"), ("QUEUE", "Queue"), ("REPLACE", "Replace")],
                        db_comment="When it is due while its last job has not ended: SKIP, QUEUE or REPLACE",
                        db_default="SKIP",
                        max_length=10,
                    ),
                ),
                (
                    "missed",
                    models.CharField(
                        choices=[("SKIP", "Skip"), ("ONCE", "Once"), ("ALL", "All")],
                        db_comment="Times at which nobody ticked: SKIP, ONCE for the newest, or ALL",
                        db_default="ONCE",
                        max_length=10,
                    ),
                ),
                (
                    "enabled",
                    models.BooleanField(db_comment="Whether it is due at all", db_default=True),
                ),
                (
                    "next_run_at",
                    models.DateTimeField(
                        blank=True,
                        db_comment="The next time; NULL where there is none any more",
                        null=True,
                    ),
                ),
                (
                    "last_run_at",
                    models.DateTimeField(
                        blank=True, db_comment="The newest time that was dealt with", null=True
                    ),
                ),
                (
                    "last_job_id",
                    models.UUIDField(
                        blank=True,
                        db_comment="jobs.id of the newest one; kept when that row is gone",
                        null=True,
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        db_comment="When it was added",
                        db_default=models.Func(function="now", output_field=models.DateTimeField()),
                    ),
                ),
                (
                    "updated_at",
                    models.DateTimeField(
                        db_comment="When it was changed last",
                        db_default=models.Func(function="now", output_field=models.DateTimeField()),
                    ),
                ),
            ],
            options={
                "db_table": "job_schedules",
                "db_table_comment": "Jobs that are enqueued again and again, by cron expressions",
                "indexes": [
                    models.Index(
                        condition=models.Q(("enabled", True)),
                        fields=["next_run_at"],
                        name="job_schedules_due_idx",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("name",), name="job_schedules_name_key"),
                    models.CheckConstraint(
                        condition=models.Q(("overlap__in", ["SKIP", "QUEUE", "REPLACE"])),
                        name="job_schedules_overlap_check",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("missed__in", ["SKIP", "ONCE", "ALL"])),
                        name="job_schedules_missed_check",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="FailedAttempt",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        db_comment="Order in which runs failed", primary_key=True, serialize=False
                    ),
                ),
                ("attempt", models.IntegerField(db_comment="Number of the run, from 1")),
                (
                    "worker_id",
                    models.UUIDField(blank=True, db_comment="workers.id of who ran it", null=True),
                ),
                (
                    "started_at",
                    models.DateTimeField(blank=True, db_comment="Begin of the run", null=True),
                ),
                (
                    "failed_at",
                    models.DateTimeField(
                        db_comment="When it was known to fail",
                        db_default=models.Func(function="now", output_field=models.DateTimeField()),
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("CommandNotFound", "Commandnotfound"),
                            ("PermissionDenied", "Permissiondenied"),
                            ("FileNotFound", "Filenotfound"),
                            ("ProcessSpawnFailed", "Processspawnfailed"),
                            ("ExecutionTimeout", "Executiontimeout"),
                            ("SignalReceived", "Signalreceived"),
                            ("NonZeroExitCode", "Nonzeroexitcode"),
                            ("InfrastructureError", "Infrastructureerror"),
                            ("ValidationError", "Validationerror"),
                            ("ConfigurationError", "Configurationerror"),
                            ("SecretInjectionError", "Secretinjectionerror"),
                            ("IoError", "Ioerror"),
                            ("Unknown", "Unknown"),
                        ],
                        db_comment="What kind of failure it was",
                        max_length=30,
                    ),
                ),
                (
                    "error_class",
                    models.CharField(
                        blank=True,
                        db_comment="Dotted path of the exception's class",
                        max_length=255,
                        null=True,
                    ),
                ),
                (
                    "message",
                    models.TextField(blank=True, db_comment="What went wrong, cut", null=True),
                ),
                (
                    "traceback",
                    models.TextField(blank=True, db_comment="Where it went wrong, cut", null=True),
                ),
                (
                    "job",
                    models.ForeignKey(
                        db_comment="The job; its attempts die with it",
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.deletion.DO_NOTHING,
                        related_name="failed_attempts",
                        to="jobs.job",
                    ),
                ),
            ],
            options={
                "verbose_name": "failed attempt",
                "db_table": "job_failed_attempts",
                "db_table_comment": "Runs of jobs that failed; one that succeeds leaves no row",
                "indexes": [models.Index(fields=["job", "id"], name="job_failed_attempts_job_idx")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "kind__in",
                                [
                                    "CommandNotFound",
                                    "PermissionDenied",
                                    "FileNotFound",
                                    "ProcessSpawnFailed",
                                    "ExecutionTimeout",
                                    "SignalReceived",
                                    "NonZeroExitCode",
                                    "InfrastructureError",
                                    "ValidationError",
                                    "ConfigurationError",
                                    "SecretInjectionError",
                                    "IoError",
                                    "Unknown",
                                ],
                            )
                        ),
                        name="job_failed_attempts_kind_check",
                    )
                ],
            },
        ),
        *(
            migrations.RunSQL(
                f"ALTER TABLE {table} ADD CONSTRAINT {table}_job_id_fkey FOREIGN KEY (job_id) REFERENCES jobs (id) ON DELETE CASCADE",
                f"ALTER TABLE {table} DROP CONSTRAINT {table}_job_id_fkey",
            )
            for table in KEYS
        ),
        migrations.RunSQL(EPOCHS, "DROP SEQUENCE job_leases_epoch_seq"),
        migrations.RunSQL(GARBAGE, NO_GARBAGE),
        MoveRows(
            [
                ("job_failed_attempts", "the baseline has no such table", "true"),
                ("job_schedules", "the baseline has no such table", "true"),
                ("job_log_garbage", "the baseline has no such table", "true"),
            ]
        ),
    ]
