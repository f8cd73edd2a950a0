"""The table ``schema_migration_runs``: every attempt to apply, unapply or fake a migration.

The service makes it when it first has something to record, under the lock of the run, as Django
makes ``django_migrations``. It may be missing anywhere: nothing was recorded then.

An attempt is a row from its start, written by a session of our own and therefore there when the
process dies. Its success is written in the migration's own transaction, its failure by our session
again, which no rollback reaches. A row with neither, of a run that is over, was interrupted.

Modules: ``table`` what stands in it, ``writing`` and ``reading``.
"""

from __future__ import annotations

from hodei.schema.history.reading import COLUMNS, Run, in_progress, read_runs, run_of
from hodei.schema.history.table import (
    ACCEPTED,
    ADOPTED,
    EVENT_OUTCOMES,
    FAKED,
    IMPORTED,
    INTERRUPTED,
    RAN,
    RESET,
    ROLLED_BACK,
    TABLE,
)
from hodei.schema.history.writing import History, HistoryNotWritable, accept

__all__ = [
    "ACCEPTED",
    "ADOPTED",
    "COLUMNS",
    "EVENT_OUTCOMES",
    "FAKED",
    "IMPORTED",
    "INTERRUPTED",
    "RAN",
    "RESET",
    "ROLLED_BACK",
    "TABLE",
    "History",
    "HistoryNotWritable",
    "Run",
    "accept",
    "in_progress",
    "read_runs",
    "run_of",
]
