"""``migrate`` in processes that are forked from one where Django is ready: many, quickly.

    python -m tests.schema.forks together N     for each name on stdin: N at once on that database
    python -m tests.schema.forks crash          for each "NAME POINT": one that is killed there, one
                                                that goes to the end, and what commands say then

With another word, ``adopt``, they run ``schema_adopt`` in its place.

One line of JSON for each line of input. The databases are those of ``tests.schema.settings_alone``
under other names. A point is the moment before or after an exchange with the server: each
statement, each commit, each record, over any connection of the main thread, counted from 0; a
process that is not killed tells how many there were.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

Work = Callable[[str], None]

KILLED = -signal.SIGKILL


def main(words: list[str]) -> None:
    import django

    django.setup()
    warm_up()
    for line in sys.stdin:
        fields = line.split()
        work = adopt if "adopt" in words else migrate
        if words[0] == "together":
            told: Any = together(fields[0], int(words[1]), work)
        else:
            told = crash(fields[0], int(fields[1]), work)
        sys.stdout.write(f"{json.dumps(told)}\n")
        sys.stdout.flush()


def warm_up() -> None:
    """Import here what each child would import: the driver, commands and migrations."""
    from django.core.management import get_commands, load_command_class
    from django.db import connections
    from django.db.migrations.loader import MigrationLoader

    commands = get_commands()
    for word in ("migrate", "schema_adopt", "schema_validate", "schema_history"):
        load_command_class(str(commands[word]), word)
    MigrationLoader(connections["default"], load=False).load_disk()


def together(name: str, number: int, work: Work) -> list[dict[str, Any]]:
    """Start them, let them go at the same moment, and return how each has ended."""
    gate, opened = os.pipe()
    children = []
    for _ in range(number):

        def wait_and_work() -> None:
            os.close(opened)
            os.read(gate, 1)  # returns when the parent closes the other end
            work(name)

        children.append(fork(wait_and_work))
    os.close(opened)
    os.close(gate)
    return [end_of(child) for child in children]


def crash(name: str, point: int, work: Work) -> dict[str, Any]:
    """Run one that is killed at this point, another one to its end, and then look."""

    def die() -> None:
        count = instrument(point)
        work(name)
        sys.stdout.write(f"{count()}")

    ends = {"killed": end_of(fork(die)), "after": end_of(fork(lambda: work(name)))}
    if work is not migrate:
        return ends
    return {
        **ends,
        "validated": end_of(fork(lambda: command(name, "schema_validate", strict=True))),
        "failed": end_of(fork(lambda: command(name, "schema_history", failed=True, format="json"))),
    }


def instrument(point: int) -> Callable[[], int]:
    """Count the exchanges of this thread, and kill this process at one of them."""
    import psycopg

    stock, thread, points = psycopg.Connection.wait, threading.get_ident(), [0]

    def reach() -> None:
        if threading.get_ident() == thread:
            if points[0] == point:
                os.kill(os.getpid(), signal.SIGKILL)
            points[0] += 1

    def wait(*args: Any, **options: Any) -> Any:
        reach()
        answer = stock(*args, **options)
        reach()
        return answer

    psycopg.Connection.wait = wait  # type: ignore[method-assign]
    return lambda: points[0]


def migrate(name: str) -> None:
    command(name, "migrate", interactive=False, verbosity=1, stdout=io.StringIO())


def command(name: str, word: str, **options: Any) -> None:
    from django.core.management import call_command
    from django.db import connections

    connections.settings["default"]["NAME"] = name
    call_command(word, **options)


def adopt(name: str) -> None:
    from django.core.management import call_command
    from django.db import connections

    connections.settings["default"]["NAME"] = name
    call_command("schema_adopt", interactive=False, stdout=io.StringIO())


def fork(work: Callable[[], None]) -> tuple[int, int]:
    """Run it in a child; returns the child and the end of a pipe that it writes to."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    os.close(reading)
    with os.fdopen(writing, "w") as out:
        sys.stdout = sys.stderr = out
        code = 0
        try:
            work()
        except BaseException as error:  # noqa: BLE001  (whatever it is, the parent is told)
            traceback.print_exception(error)
            code = getattr(error, "exit_code", 1)
        out.flush()
        os._exit(code)


def end_of(started: tuple[int, int]) -> dict[str, Any]:
    child, reading = started
    with os.fdopen(reading) as told:
        said = told.read()
    _, status = os.waitpid(child, 0)
    return {"code": os.waitstatus_to_exitcode(status), "said": said}


if __name__ == "__main__":
    main(sys.argv[1:])
