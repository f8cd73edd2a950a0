"""Tasks that do what no task should."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
import time
import warnings
from datetime import timedelta
from typing import Any

from django.db import DatabaseError, connection, transaction

from jobs.exceptions import DoNotRetry, Retry, Snooze
from jobs.tasks import task

#: Set when what was left behind in the event loop was called.
left = threading.Event()


def _leave(do: Any, *args: Any) -> None:
    left.set()
    do(*args)


@task(max_attempts=1)
async def leave_an_exit() -> str:
    async def leave() -> None:
        _leave(sys.exit, 3)

    other = asyncio.create_task(leave())
    await asyncio.sleep(0.01)
    return type(other.exception()).__name__


@task(max_attempts=1)
async def leave_an_exit_in_a_callback() -> str:
    asyncio.get_running_loop().call_soon(_leave, sys.exit, 3)
    await asyncio.sleep(0.01)
    return "done"


@task(max_attempts=1)
async def stop_the_loop() -> str:
    _leave(asyncio.get_running_loop().stop)
    await asyncio.sleep(0.01)
    return "done"


class ExitsWhenShown(Exception):  # noqa: N818
    def __str__(self) -> str:
        raise SystemExit(3)


@task(max_attempts=1)
def raise_an_exit() -> None:
    raise ExitsWhenShown


@task(max_attempts=1)
async def raise_an_exit_async() -> None:
    raise ExitsWhenShown


@task(max_attempts=1)
def raise_what_traceback_cannot_show() -> None:
    # As parsers do that count in numbers what Python has as texts.
    raise SyntaxError("no", ("page.html", 1, 1, 5))  # type: ignore[arg-type]


@task(max_attempts=1)
async def raise_what_traceback_cannot_show_async() -> None:
    raise SyntaxError("no", ("page.html", 1, 1, 5))  # type: ignore[arg-type]


class Closed(Retry):
    def __init__(self) -> None: ...


class Early(Snooze):
    def __init__(self) -> None: ...


@task(max_attempts=2, backoff=(0.001, 0.001), retry_on=())
def retry_of_its_own() -> None:
    raise Closed


@task(max_attempts=1)
def snooze_of_its_own() -> None:
    raise Early


class Strange(Retry):
    seconds = "soon"  # type: ignore[assignment]

    def __init__(self) -> None: ...


@task(max_attempts=2, backoff=(0.001, 0.001), retry_on=())
def retry_of_its_own_strangely() -> None:
    raise Strange


class SoonAgain(Snooze):
    def __init__(self) -> None:
        self.seconds = timedelta(hours=1)  # type: ignore[assignment]


@task(max_attempts=1)
def snooze_of_its_own_for_an_hour() -> None:
    raise SoonAgain


class Unreadable(list[int]):
    def __iter__(self) -> Any:
        raise RuntimeError("not now")


@task(max_attempts=3)
def return_what_cannot_be_read() -> Any:
    return Unreadable([1])


def _write(uri: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO job_log_garbage (storage_uri) VALUES (%s)", [uri])


@task(max_attempts=1)
def leave_a_transaction() -> str:
    transaction.atomic().__enter__()
    _write("left")
    return "done"


@task(max_attempts=1)
def leave_autocommit_off() -> str:
    transaction.set_autocommit(False)
    _write("left")
    return "done"


@task(max_attempts=1)
def leave_a_transaction_unwritten() -> str:
    transaction.atomic().__enter__()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return "done"


@task(max_attempts=1)
def leave_a_broken_transaction() -> str:
    transaction.atomic().__enter__()
    _write("left")
    with contextlib.suppress(DatabaseError), connection.cursor() as cursor:
        cursor.execute("SELECT no_such_column")
    return "done"


@task(max_attempts=1, isolation="process")
def leave_a_transaction_far_away() -> str:
    transaction.atomic().__enter__()
    with connection.cursor() as cursor:
        # It counts as having written, and its tables are not those of the tests.
        cursor.execute("SELECT pg_current_xact_id()")
    return "done"


@task(max_attempts=1, isolation="process")
def fail_at_length() -> None:
    raise DoNotRetry("x" * 9 * 1024 * 1024)


@task(max_attempts=1)
def write(uri: str) -> None:
    _write(uri)


@task(max_attempts=1)
async def wait_for_long() -> None:
    await asyncio.sleep(60)


@task(max_attempts=1, isolation="process")
def wait_for_long_far_away() -> None:
    threading.Event().wait(60)


@task(max_attempts=1)
def come_back_from_a_fork() -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads are not in the fork
        process = os.fork()
    if not process:
        return "in the fork"
    end = time.monotonic() + 20
    while time.monotonic() < end:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return f"the fork ended with {os.waitstatus_to_exitcode(status)}"
        threading.Event().wait(0.01)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return "the fork went on"
