"""Tasks for tests, and functions that are none."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connection, transaction

from hodei.compat import Task
from jobs.exceptions import DoNotRetry, Retry, Snooze
from jobs.tasks import JobContext, task

#: What runs have noted, in this process.
noted: list[Any] = []
began = threading.Event()
go_on = threading.Event()


def note(value: Any) -> None:
    noted.append(value)


class Unlucky(Exception):  # noqa: N818
    """As a task's own exceptions are."""


class Rude(Exception):  # noqa: N818
    """One that cannot be shown."""

    def __str__(self) -> str:
        raise ValueError("no")


@task
def nothing() -> None: ...


@task
def add(left: int, right: int = 0) -> int:
    note((left, right))
    return left + right


@task()
async def add_later(left: int, right: int = 0) -> int:
    await asyncio.sleep(0)
    note((threading.current_thread().name, id(asyncio.get_running_loop())))
    return left + right


@task(priority=50, queue_name="default", takes_context=True)
def tell(context: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
    return {
        "attempt": context.attempt,
        "id": context.task_result.id,
        "status": context.task_result.status,
        "args": list(args),
        "workers": len(context.task_result.worker_ids),
        "seconds_left": context.seconds_left,
    }


@task(takes_context=True)
async def tell_async(context: Any) -> int:
    return int(context.attempt)


@task(max_attempts=1)
def fail(message: str = "as it was told") -> None:
    raise Unlucky(message)


@task(max_attempts=3, backoff=(0.001, 0.002), takes_context=True)
def fail_twice(context: Any) -> str:
    if context.attempt < 3:
        raise Unlucky(f"attempt {context.attempt}")
    return "at last"


@task(max_attempts=3, backoff=(0.001, 0.002))
def fail_always() -> None:
    note("failed")
    raise Unlucky("always")


@task(backoff=(0.001, 0.002))
async def fail_async() -> None:
    raise Unlucky("later")


@task(retry_on=(ConnectionError,), backoff=(0.001, 0.002))
def fail_with(name: str) -> None:
    note(name)
    raise {"connection": ConnectionResetError, "value": ValueError}[name](name)


@task(max_attempts=2)
def ask_for_retry(seconds: float) -> None:
    raise Retry("the bank is closed", in_=seconds)


@task
def do_not_retry() -> None:
    note("run")
    raise DoNotRetry("there is no such account")


@task(takes_context=True)
def snooze_once(context: JobContext) -> str:
    note(context.attempt)
    if len(noted) == 1:
        raise Snooze(in_=timedelta(0))
    return "done"


@task(max_attempts=1)
def exit_rudely() -> None:
    sys.exit(3)


@task(max_attempts=1)
def raise_rudely() -> None:
    raise Rude


@task
def return_a_set() -> Any:
    note("run")
    return {1, 2}


@task
def return_this(value: Any) -> Any:
    return value


@task
def return_a_tuple() -> Any:
    return (1, (2, b"three"))


@task(timeout=0.3, max_attempts=1)
def ignore_the_time() -> str:
    began.set()
    go_on.wait(60)
    note("returned")
    return "too late"


@task(timeout=0.3, max_attempts=1)
async def wait_for_ever() -> None:
    began.set()
    try:
        await asyncio.sleep(60)
    finally:
        note("cleaned up")


@task(max_attempts=1)
async def wait_without_limit() -> None:
    began.set()
    try:
        await asyncio.sleep(60)
    finally:
        note("cleaned up")


@task(max_attempts=1)
async def time_out_by_itself() -> None:
    raise TimeoutError("of a library")


@task(takes_context=True)
def wait_until_stopped(context: JobContext) -> None:
    began.set()
    while not context.stopping:
        go_on.wait(0.01)
    note("stopped")


@task
def backend_pid() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


@task
async def backend_pid_async() -> int:
    return await sync_to_async(backend_pid.func)()


@task(max_attempts=1)
def break_the_connection() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")


@task(max_attempts=1)
def break_the_transaction() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT no_such_column")


@task(takes_context=True, max_attempts=1, backoff=(0.001, 0.001))
def complete(context: JobContext, then: str) -> str:
    if then == "outside":
        context.complete_in_transaction("never")
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("INSERT INTO job_log_garbage (storage_uri) VALUES ('work')")
            began.set()
            if then == "wait":
                go_on.wait(60)
            context.complete_in_transaction("in the transaction")
            if then == "roll back":
                raise Unlucky("rolled back")  # noqa: TRY301
    except Unlucky:
        return "caught"
    if then == "raise":
        raise Unlucky("after it was completed")
    return "returned"


@task(isolation="process", takes_context=True)
def isolated(context: JobContext, value: Any) -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "value": value,
        "attempt": context.attempt,
        "seconds_left": context.seconds_left,
        "using": context._run.using,
    }


@task(isolation="process")
async def isolated_async(value: int) -> int:
    await asyncio.sleep(0)
    return value + 1


@task(isolation="process", max_attempts=1)
def isolated_fail() -> None:
    raise Unlucky("far away")


@task(isolation="process", max_attempts=1)
def isolated_exit(how: str) -> None:
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(7)


@task(isolation="process", max_attempts=1)
def isolated_hang(path: str) -> None:
    """Starts a process of its own, writes down the ids of both, and hangs."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"]) as other:
        new = Path(path + ".new")
        new.write_text(f"{os.getpid()} {other.pid}")
        new.rename(path)
        time.sleep(300)


@task(unique_key="number {0}")
def only_once(number: int, *, loud: bool = False) -> int:
    return number


def key_by_name(number: int, *, name: str) -> str:
    return name


@task(unique_key=key_by_name)
def only_once_by_name(number: int, *, name: str) -> None: ...


@task(unique_key=lambda: None)
def without_a_key() -> None: ...


def plain(value: Any = None) -> Any:
    note(("plain", value))
    return value


def plain_with_context(context: JobContext) -> int:
    return context.attempt


async def plain_async(value: Any) -> Any:
    return value


def _hidden(value: int) -> int:
    return value


#: A task under another name than its function.
renamed: Task[..., int] = task(_hidden)

NOT_CALLABLE = 7


@task
def snooze_always() -> None:
    raise Snooze(in_=0)
