"""The streams of a command that a shell has started: what they cannot take ends no command by a
traceback."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import BaseCommand, CommandError, OutputWrapper

from hodei.values import printable

#: For what was not said: nobody can tell from the output how it went.
UNWRITTEN = 3


def write_no_more() -> None:
    """Let what is still in the buffer go nowhere: it would fail once more when the process ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def writing() -> Iterator[None]:
    """Inside the block stdout may fail, as a full disk makes it; a reader that has gone is left to
    others."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        write_no_more()
        raise CommandError(
            f"Cannot write to stdout: {error.strerror}. What was done before stays done.",
            returncode=UNWRITTEN,
        ) from error


class Output(OutputWrapper):
    """Stdout of a process of ours."""

    def write(self, *args: Any, **options: Any) -> None:  # type: ignore[override]
        with writing():
            super().write(*args, **options)

    def flush(self) -> None:
        with writing():
            super().flush()


class Errors(OutputWrapper):
    """Stderr of a process of ours: what a database or a destination said may have been written by
    anybody, and moves no cursor."""

    def write(  # type: ignore[override]
        self, msg: str = "", style_func: Any = None, ending: str | None = None
    ) -> None:
        super().write(printable(msg), style_func, ending)


class StreamCommand(BaseCommand):
    """A command whose stdout may be full, closed, or of an encoding that lacks a character."""

    def run_from_argv(self, argv: list[str]) -> None:
        # Closed ones are None; a socket to the database could be the next to have their number.
        for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
            if getattr(sys, name) is None:
                setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115  (for good)
        lenient = {"backslashreplace", "replace", "ignore", "xmlcharrefreplace", "namereplace"}
        if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors not in lenient:
            # As stderr has it: a name that the terminal cannot show is no failure.
            sys.stdout.reconfigure(errors="backslashreplace")
        self.stdout = Output(sys.stdout)
        self.stderr = Errors(sys.stderr)
        self.stderr.style_func = self.style.ERROR
        try:
            super().run_from_argv(argv)
        finally:
            try:
                sys.stdout.flush()
            except OSError:
                write_no_more()
