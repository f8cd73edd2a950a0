"""Runs a how-to page in this process, on the test database, in the order of the page.

A paragraph that ends with a path in backquotes and a colon ("Make `shop/tasks.py`:") has a file
under it. In any block, lines after ``>>> `` are Python as in a shell, lines after
``$ python manage.py`` are commands, and lines under either, up to an empty one, are what it prints;
``...`` stands for anything. What follows "settings:" is set before the page begins. Everything else
is left alone.
"""

from __future__ import annotations

import doctest
import io
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings as django_settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import override_settings

#: A page with this sentence is run.
RUN = "Every example on this page is run by the tests of this project."
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
_MAKE = re.compile(r"(?:Make|Append to|Replace) `([^`]+)`:$")
_MANAGE = "$ python manage.py "
_BEGINS = re.compile(r"^(?:Worker [0-9a-f-]{36} runs|Runner \S+ drives) .*\n", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    #: The line over it.
    before: str
    #: What comes before the first example; a file, or the settings, or neither.
    text: str
    #: Each a statement of Python, or a command, with what it prints.
    examples: tuple[str, ...]

    @property
    def file(self) -> str | None:
        found = _MAKE.search(self.before)
        return found[1] if found else None

    @property
    def is_settings(self) -> bool:
        return self.before.endswith("settings:")


def blocks(page: Path) -> Iterator[Block]:
    for part in re.split(r"\n(?=\S)", page.read_text(encoding="utf-8")):
        before, *rest = part.splitlines()
        code = "\n".join(line[4:] for line in rest).strip("\n")
        if code:
            text, *examples = re.split(r"^(?=>>> |\$ )", f"{code}\n", flags=re.MULTILINE)
            yield Block(before, f"{text.rstrip()}\n", tuple(f"{one.strip()}\n" for one in examples))


def follow(page: Path, folder: Path) -> int:
    """Run a page in a folder. Returns how many examples it had; raises AssertionError."""
    found = list(blocks(page))
    settings: dict[str, Any] = {}
    for block in found:
        if block.is_settings:
            exec(compile(block.text, str(page), "exec"), settings)
    given = {name: value for name, value in settings.items() if name.isupper()}
    # To set TASKS makes the executor forget functions; those of another page have the same names.
    with override_settings(**{"TASKS": django_settings.TASKS, **given}), modules_of(folder):
        return _follow(page, found, folder)


def _follow(page: Path, found: list[Block], folder: Path) -> int:
    names: dict[str, Any] = {}
    ran = 0
    for block in found:
        if block.file:
            _write(folder / block.file, block.text)
        for example in block.examples:
            ran += 1
            if example.startswith(">>> "):
                _python(page, example, names)
            else:
                _command(example)
    return ran


def _python(page: Path, example: str, names: dict[str, Any]) -> None:
    test = doctest.DocTestParser().get_doctest(example, names, page.name, str(page), 0)
    said = io.StringIO()
    result = doctest.DocTestRunner(optionflags=FLAGS, verbose=False).run(
        test, out=said.write, clear_globs=False
    )
    assert result.failed == 0, said.getvalue()
    names.update(test.globs)


def _command(example: str) -> None:
    line, _, wanted = example.partition("\n")
    assert line.startswith(_MANAGE), line
    printed = _call(shlex.split(line.removeprefix(_MANAGE)))
    checker = doctest.OutputChecker()
    assert checker.check_output(f"{wanted.strip()}\n", f"{printed.strip()}\n", FLAGS), (
        f"{line}\n{printed}"
    )


def _call(words: list[str]) -> str:
    """What a command prints, also if it refuses, but for the line with which an agent begins."""
    said = io.StringIO()
    with redirect_stdout(said):
        try:
            call_command(*words, stdout=said, stderr=said)
        except CommandError as error:
            said.write(f"CommandError: {error}\n")
        except SystemExit as error:
            if error.code:
                said.write(f"ended with {error.code}\n")
    return _BEGINS.sub("", said.getvalue())


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@contextmanager
def modules_of(folder: Path) -> Iterator[None]:
    """What stands in the folder can be imported, and is forgotten after it."""
    known = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - known:
            path = getattr(sys.modules[name], "__file__", None)
            if path and Path(path).is_relative_to(folder):
                del sys.modules[name]
