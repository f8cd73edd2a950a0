"""The output of jobs: files, tails, and files to delete."""

from __future__ import annotations

import uuid

from django.contrib.postgres.functions import RandomUUID
from django.db import models

from hodei.columns import now
from jobs.models.job import Job


class LogFile(models.Model):
    """Where the output of a job is stored, and until when."""

    id = models.UUIDField(
        primary_key=True,
        default=uuid.uuid4,
        db_default=RandomUUID(),
        editable=False,
        db_comment="Id of the log file",
    )
    job = models.ForeignKey(
        Job,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="log_files",
        db_comment="The job; one log file each",
    )
    storage_uri = models.TextField(db_comment="URI to log storage (file://, s3://, etc.)")
    size_bytes = models.BigIntegerField(db_default=0, db_comment="Size of the log file in bytes")
    entry_count = models.IntegerField(db_default=0, db_comment="Number of log entries in the file")
    created_at = models.DateTimeField(db_default=now(), db_comment="When it was stored first")
    expires_at = models.DateTimeField(db_comment="When retention may delete it")

    class Meta:
        db_table = "job_log_files"
        db_table_comment = "Log files of jobs: where they are, how large, and until when"
        constraints = [
            models.UniqueConstraint(fields=["job"], name="uq_job_log_files_job_id"),
        ]
        indexes = [
            models.Index(fields=["expires_at"], name="idx_job_log_files_expires_at"),
            models.Index(fields=["storage_uri"], name="idx_job_log_files_storage_uri"),
        ]
        verbose_name = "log file"

    def __str__(self) -> str:
        return self.storage_uri


class LogTail(models.Model):
    """The end of a running job's output, for whoever follows it from another machine."""

    job = models.OneToOneField(
        Job,
        primary_key=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="+",
        db_comment="The job; its tail dies with it",
    )
    tail = models.BinaryField(db_comment="The newest bytes of its output, secrets masked")
    total_bytes = models.BigIntegerField(db_comment="Bytes of output so far; the tail ends there")
    updated_at = models.DateTimeField(db_default=now(), db_comment="When it was written last")

    class Meta:
        db_table = "job_log_tails"
        db_table_comment = "The newest output of jobs, bounded; the whole is in the log file"
        verbose_name = "log tail"

    def __str__(self) -> str:
        return f"{self.total_bytes} bytes of {self.job_id}"


class LogGarbage(models.Model):
    """A log file whose row is gone: it is deleted next, so that no file is orphaned."""

    id = models.BigAutoField(primary_key=True, db_comment="Meaningless number")
    storage_uri = models.TextField(db_comment="As it was in job_log_files")
    since = models.DateTimeField(db_default=now(), db_comment="When its row went")

    class Meta:
        db_table = "job_log_garbage"
        db_table_comment = "Log files to delete; filled by a trigger on job_log_files"
        verbose_name = "log file to delete"
        verbose_name_plural = "log files to delete"

    def __str__(self) -> str:
        return self.storage_uri
