"""A management command in a process in which a test has changed something:

FAULTS_SHIFT    seconds by which its clock is off, as that of its machine would be
FAULTS_PATCHES  JSON: constants of modules, by dotted name, and their values
"""

from __future__ import annotations

import datetime
import json
import os
import sys
import time
from importlib import import_module
from typing import Any, Self

REAL = datetime.datetime


def shift_clock(seconds: float) -> None:
    """Whatever is imported from here on sees another time of day. Clocks that only measure how
    long something took go on as they were: nobody can set those."""
    real_time, real_time_ns = time.time, time.time_ns

    class Shifted(REAL):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Self:
            return cls.fromtimestamp(real_time() + seconds, tz)

        @classmethod
        def utcnow(cls) -> Self:
            return cls.fromtimestamp(real_time() + seconds, datetime.UTC).replace(tzinfo=None)

        @classmethod
        def today(cls) -> Self:
            return cls.now()

    time.time = lambda: real_time() + seconds
    time.time_ns = lambda: real_time_ns() + int(seconds * 1e9)
    datetime.datetime = Shifted  # type: ignore[misc]


def patch(constants: dict[str, Any]) -> None:
    for path, value in constants.items():
        module, _, name = path.rpartition(".")
        found = import_module(module)
        assert hasattr(found, name), path
        setattr(found, name, value)


def main() -> None:
    shift = float(os.environ.get("FAULTS_SHIFT", "0"))
    if shift:
        shift_clock(shift)
    import django
    from django.core.management import execute_from_command_line

    django.setup()
    patch(json.loads(os.environ.get("FAULTS_PATCHES", "{}")))
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
