"""A small sample of every table, for a first look: loaded into an empty database and nowhere else.

Its rows are what the services would have written: every state fits its times, its queue rows, its
leases and its audit. Names are invented, and so are the secrets that show how screens hide them.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import connections, models, transaction
from django.utils import timezone

from hodei.sample.draft import Draft
from hodei.sample.jobs import sample_jobs
from hodei.sample.outbox import sample_outbox
from hodei.sample.sagas import sample_sagas
from jobs.models import Job, Provider, Schedule
from outbox.models import Event
from sagas.models import Saga

#: Key of the lock that keeps two loads from meeting; any number that nobody else uses.
_LOCK = 0x686F6465695F73


@dataclass(frozen=True, slots=True)
class SampleReport:
    """What was loaded: rows by table, in the order in which they were written."""

    rows: dict[str, int]

    @property
    def total(self) -> int:
        """Rows in all tables together."""
        return sum(self.rows.values())

    def __str__(self) -> str:
        tables = ", ".join(f"{table} {count}" for table, count in self.rows.items())
        return f"Sample of {self.total} rows loaded: {tables}"


def load_sample(
    using: str = "default", *, now: datetime | None = None, seed: int = 1
) -> SampleReport | None:
    """Load the sample in one transaction of its own, or in the caller's if one is open.

    Returns None, and writes nothing, where a job, an event, a saga, a provider or a schedule
    is there already.
    The same ``now`` and ``seed`` give the same rows.
    """
    with transaction.atomic(using=using):
        with connections[using].cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        if any(model._default_manager.using(using).exists() for model in _GUARDED):
            return None
        # Not for secrets: the ids only have to be the same each time.
        draft = Draft(now or timezone.now(), random.Random(seed))  # noqa: S311
        jobs, rows_of_jobs = sample_jobs(draft)
        rows = [*rows_of_jobs, *sample_outbox(draft, jobs, using), *sample_sagas(draft, jobs)]
        return SampleReport(_write(rows, using))


_GUARDED: tuple[type[models.Model], ...] = (Job, Event, Saga, Provider, Schedule)


def _write(rows: Iterable[models.Model], using: str) -> dict[str, int]:
    """Insert the rows, those of one table together, tables in the order of their first row."""
    tables: dict[type[models.Model], list[models.Model]] = {}
    for row in rows:
        tables.setdefault(type(row), []).append(row)
    written: Counter[str] = Counter()
    for model, ones in tables.items():
        model._default_manager.using(using).bulk_create(ones)
        written[model._meta.db_table] += len(ones)
    return dict(written)
