"""Values that somebody may give where another was meant, by what was meant; and what must become of
each: it is taken, or refused by a documented error that says what is wrong with it, and nothing is
stored by halves."""

from __future__ import annotations

import math
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

from django.db import connections, transaction
from psycopg.pq import TransactionStatus

INTRANS = TransactionStatus.INTRANS
MIB = 1024 * 1024
#: Characters that an error may have: what it shows of a value is cut.
LONGEST_ERROR = 1_000
#: What must never be shown.
SECRET = "hunter2-hunter2"

TABLES = (
    *("jobs", "job_queue", "job_queue_deferred", "job_leases", "job_schedules", "job_log_files"),
    *("audit_logs", "workers", "provider_configs", "worker_bootstrap_tokens"),
    *("outbox_events", "outbox_dlq", "outbox_dlq_actions", "outbox_inbox"),
    *("sagas", "saga_steps", "saga_locks", "saga_audit_events"),
)


def nested(depth: int, make: Callable[[Any], Any] = lambda inner: [inner]) -> Any:
    found: Any = "x"
    for _ in range(depth):
        found = make(found)
    return found


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("it cannot be shown")


def _itself() -> list[Any]:
    found: list[Any] = []
    found += [found, found]
    return found


#: Of no type that anybody asks for.
STRANGE: Mapping[str, Any] = {
    "bytes": b"x",
    "a set": {1},
    "an object": object(),
    "an object that cannot be shown": Unprintable(),
    "a list": ["x"],
    "a list in itself": _itself(),
    "10,000 lists in each other": nested(10_000),
    "a secret": {"password": SECRET},
    "a complex number": 1j,
}
#: Characters that PostgreSQL has no place for, or that mean something to somebody.
TEXTS: Mapping[str, str] = {
    "nothing": "",
    "blanks": " \t ",
    "NUL": "a\0b",
    "half a surrogate pair": "a\ud800",
    "the other half": "\udfffb",
    "1 MiB": "x" * MIB,
    "SQL": "'; DROP TABLE jobs; --",
    "a format": "%s %(x)s {} {0} {x.__class__}",
    "shell": "$(reboot) `reboot` ; reboot & | > /etc/passwd",
    "a path": "../../../../etc/passwd",
    "right to left": "\u202eevil\u2066",
    "no width": "a\u200b\u200d\ufeffb",
    "lines": "a\r\nX-Injected: yes\n\nb",
    "an escape": "\x1b[31m\x07\x7f",
    "script": "<script>alert(1)</script>",
    "a secret": f"password={SECRET}",
    "beyond the plane": "\U0010ffff" * 40,
}
NUMBERS: Mapping[str, Any] = {
    "true": True,
    "zero": 0,
    "negative": -1,
    "2**31": 2**31,
    "2**63": 2**63,
    "10,000 digits": 10**10_000,
    "NaN": math.nan,
    "infinity": math.inf,
    "a fraction": 1.5,
    "the largest float": sys.float_info.max,
    "a text": "1",
    "nothing": "",
}
INSTANTS: Mapping[str, Any] = {
    "naive": datetime(2026, 1, 1),  # noqa: DTZ001
    "year 1": datetime.min.replace(tzinfo=UTC),
    "year 1 in the east": datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
    "year 9999": datetime.max.replace(tzinfo=UTC),
    "year 10000 in UTC": datetime.max.replace(tzinfo=timezone(timedelta(hours=-12))),
    "a date": date(2026, 1, 1),
    "a text": "2026-01-01T00:00:00Z",
    "seconds": 1_767_225_600,
    "infinity": "infinity",
}
SPANS: Mapping[str, Any] = {
    "nothing": timedelta(),
    "backwards": timedelta(seconds=-1),
    "the longest": timedelta.max,
    "the shortest": timedelta.min,
    "a moment": timedelta(microseconds=1),
    "seconds": 5,
    "NaN": math.nan,
    "infinity": math.inf,
    "a text": "5 minutes",
}
JSON: Mapping[str, Any] = {
    "NaN": {"n": math.nan},
    "NaN far down": {"n": nested(500, lambda inner: [inner, math.nan])},
    "infinity": {"n": [-math.inf]},
    "10,000 digits": {"n": 10**10_000},
    "NUL": {"n": "a\0"},
    "NUL far down": {"n": nested(400, lambda inner: {"a\0": inner})},
    "NUL in a key": {"a\0": 1},
    "half a surrogate pair": {"\ud800": 1},
    "10,000 dicts in each other": nested(10_000, lambda inner: {"n": inner}),
    "900 dicts in each other": nested(900, lambda inner: {"n": inner}),
    "101 lists in each other": {"n": nested(101)},
    "itself": {"n": _itself()},
    "keys of other types": {1: "a", None: "b", 2.5: "c"},
    "a key that is a tuple": {(1, 2): 3},
    "an object": {"n": object()},
    "a set": {"n": {1, 2}},
    "a time": {"n": datetime(2026, 1, 1, tzinfo=UTC)},
    "bytes": {"n": b"x"},
    # Twice of what is taken at most, anywhere.
    "2 MiB": {"n": "x" * (2 * MIB)},
    "a list": [1],
    "a text": "x",
    "a number": 7,
    "true": True,
}
IDS: Mapping[str, Any] = {
    "nothing": None,
    "a text": "nonsense",
    "an empty text": "",
    "NUL": "\0",
    "half a surrogate pair": "\ud800",
    "a number": 7,
    "true": True,
    "nobody": uuid.UUID(int=0),
    "nobody, as a text": str(uuid.UUID(int=0)),
    "SQL": "' OR 1 = 1 --",
}

KINDS: Mapping[str, Mapping[str, Any]] = {
    "text": {**TEXTS, **STRANGE, "a number": 7, "true": True},
    "number": {**NUMBERS, **STRANGE},
    "instant": {**INSTANTS, **STRANGE},
    "span": {**SPANS, **STRANGE},
    "json": {**JSON, **STRANGE},
    "id": {**IDS, **STRANGE},
}


Call = Callable[[Any], object]
#: A name, the kind of value, what it is given to, and what may be raised.
Case = tuple[str, str, Call, tuple[type[BaseException], ...]]


def each(call: Callable[..., object], *documented: type[BaseException], **kinds: str) -> list[Case]:
    """A case for each argument: its name, and what was meant for it."""

    def given(field: str) -> Call:
        return lambda value: call(**{field: value})

    return [
        (f"{call.__name__}({field})", kind, given(field), documented)
        for field, kind in kinds.items()
    ]


def rows(using: str = "default") -> dict[str, int]:
    with connections[using].cursor() as cursor:
        counts = ", ".join(f"(SELECT count(*) FROM {table})" for table in TABLES)
        cursor.execute(f"SELECT {counts}")
        return dict(zip(TABLES, cursor.fetchone(), strict=True))


def complaints(
    call: Call,
    kind: str,
    *documented: type[BaseException],
    leave_out: tuple[str, ...] = (),
) -> list[str]:
    """Give each value of a kind to the call, in a transaction that is rolled back; returns what is
    wrong with the answers, a line each: what is not documented, does not tell, tells too much, or
    leaves something behind."""
    found = []
    before = rows()
    for name, value in KINDS[kind].items():
        if name in leave_out:
            continue
        try:
            with transaction.atomic():
                call(value)
                if connections["default"].connection.info.transaction_status != INTRANS:
                    found.append(f"{name}: it went on after a statement that had failed")
                transaction.set_rollback(True)
        except documented as error:
            found += [f"{name}: {words}" for words in _of_error(error)]
        except Exception as error:  # noqa: BLE001  (it is what is looked for)
            text = f"{type(error).__module__}.{type(error).__name__}: {error}"
            found.append(f"{name}: {text[:200]!a}")
    if rows() != before:
        # Over another connection, or it would have been rolled back.
        found.append("it left rows behind")
    return found


def _of_error(error: BaseException) -> Iterator[str]:
    text = str(error)
    if not text or len(text) > LONGEST_ERROR:
        yield f"the error has {len(text)} characters"
    if SECRET in text:
        yield f"the error tells a secret: {text[:200]!a}"
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        yield f"the error cannot be written down: {text[:200]!a}"
