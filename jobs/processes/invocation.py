"""Pure: the spec of a command as a program with its arguments, and what can never be run.

``{"command": {"type": "shell", "cmd": "rsync", "args": ["-a", "from/", "to"]}}`` is a program and
its arguments: the word is the original's, and no shell looks at them. What needs a shell says
which: ``{"command": {"type": "script", "interpreter": "sh", "content": "ls | wc -l"}}``.
Beside the key may stand ``env``, ``working_dir``, ``stdin`` and ``timeout_ms``, and what the
original knows for its providers (``BESIDE``), which is checked and otherwise left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hodei.values import shown
from jobs.executors import SpecInvalid

#: Bytes that Linux allows for one argument or one variable, its end among them (MAX_ARG_STRLEN).
LARGEST_WORD = 128 * 1024
LONGEST_TIMEOUT_MS = 30 * 24 * 3600 * 1000
#: Variables that every command gets, and that a spec cannot set.
JOB_ID, ATTEMPT, RUN = "HODEI_JOB_ID", "HODEI_ATTEMPT", "HODEI_RUN"
OURS = frozenset({JOB_ID, ATTEMPT, RUN})

_SHELL = frozenset({"type", "cmd", "args"})
_SCRIPT = frozenset({"type", "interpreter", "content"})
#: Keys that may stand beside ``command``: the first four are for the process, the others for
#: whoever chooses a provider.
BESIDE = (
    *("env", "working_dir", "stdin", "timeout_ms"),
    *("inputs", "outputs", "constraints", "resources", "image", "preferences"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """A program to run, as its spec has it."""

    #: Program and arguments; of a script, only its interpreter.
    words: tuple[str, ...]
    #: Text of the script; None for a program.
    script: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    #: Absolute path; None is the worker's own.
    working_dir: str | None = None
    stdin: str | None = None
    #: Seconds; None where the spec has none.
    timeout: float | None = None
    #: False where the spec forbids another run.
    allow_retry: bool = True


def check_command(command: object) -> tuple[tuple[str, ...], str | None]:
    """What stands under ``command``: the words, and the script. Raises SpecInvalid."""
    if not isinstance(command, Mapping):
        raise _wrong("spec['command']", command, "an object with a type")
    match command.get("type"):
        case "shell":
            _known("spec['command']", command, _SHELL)
            words = (command.get("cmd"), *_list("spec['command']['args']", command.get("args")))
            _program("spec['command']['cmd']", words[0])
            return tuple(
                _word(f"spec['command']['args'][{place - 1}]" if place else "cmd", word)
                for place, word in enumerate(words)
            ), None
        case "script":
            _known("spec['command']", command, _SCRIPT)
            interpreter = _program("spec['command']['interpreter']", command.get("interpreter"))
            content = command.get("content")
            if not isinstance(content, str) or not content.strip():
                raise _wrong("spec['command']['content']", content, "the text of the script")
            return (interpreter,), content
    raise _wrong("spec['command']['type']", command.get("type"), "'shell' or 'script'")


def check_beside(beside: Mapping[str, Any]) -> dict[str, Any]:
    """What stands beside ``command``, as arguments of ``Invocation``. Raises SpecInvalid."""
    _known("spec", beside, frozenset(BESIDE), also=" beside 'command'")
    timeout = beside.get("timeout_ms")
    if timeout is not None and not (_is_number(timeout) and 0 < timeout <= LONGEST_TIMEOUT_MS):
        raise _wrong("spec['timeout_ms']", timeout, f"a number, 1 to {LONGEST_TIMEOUT_MS}")
    folder = beside.get("working_dir")
    if folder is not None and not (isinstance(folder, str) and folder.startswith("/")):
        raise _wrong("spec['working_dir']", folder, "an absolute path")
    stdin = beside.get("stdin")
    if stdin is not None and not isinstance(stdin, str):
        raise _wrong("spec['stdin']", stdin, "a text")
    _check_resources(_object("spec['resources']", beside.get("resources")))
    _check_places("inputs", "destination", beside.get("inputs"))
    _check_places("outputs", "source", beside.get("outputs"))
    preferences = _object("spec['preferences']", beside.get("preferences"))
    allow_retry = preferences.get("allow_retry", True)
    if not isinstance(allow_retry, bool):
        raise _wrong("spec['preferences']['allow_retry']", allow_retry, "true or false")
    return {
        "env": _env(beside.get("env")),
        "working_dir": folder,
        "stdin": stdin,
        "timeout": None if timeout is None else timeout / 1000,
        "allow_retry": allow_retry,
    }


def invocation_of(spec: Mapping[str, Any]) -> Invocation:
    """The whole spec of a job as what to run. Raises SpecInvalid."""
    words, script = check_command(spec["command"])
    beside = {key: value for key, value in spec.items() if key != "command"}
    return Invocation(words=words, script=script, **check_beside(beside))


def _env(given: object) -> dict[str, str]:
    found = _object("spec['env']", given)
    for name, value in found.items():
        if not name or "=" in name:
            raise SpecInvalid(f"spec['env'] has {shown(name)}; a name has a character, and no '='.")
        if name in OURS:
            raise SpecInvalid(f"spec['env'] has {name!r}, which every command is given.")
        if not isinstance(value, str):
            # The value may be a secret, so it is not shown.
            raise SpecInvalid(
                f"spec['env'][{shown(name)}] is a {type(value).__name__}; it is a text."
            )
        _fits(f"spec['env'][{shown(name)}]", f"{name}={value}")
    return dict(found)


def _check_resources(resources: Mapping[str, Any]) -> None:
    for name, value in resources.items():
        positive = name.startswith(("cpu", "memory"))
        if positive and not (_is_number(value) and value > 0):
            raise _wrong(f"spec['resources'][{shown(name)}]", value, "a number above 0")


def _check_places(name: str, needed: str, given: object) -> None:
    for place, one in enumerate(_list(f"spec[{name!r}]", given)):
        if not isinstance(one, Mapping) or not one.get(needed):
            raise _wrong(f"spec[{name!r}][{place}]", one, f"an object with a {needed}")


def _program(where: str, given: object) -> str:
    if not isinstance(given, str) or not given.strip():
        raise _wrong(where, given, "the name or the path of a program")
    return _word(where, given)


def _word(where: str, given: object) -> str:
    if not isinstance(given, str):
        raise _wrong(where, given, "a text")
    _fits(where, given)
    return given


def _fits(where: str, word: str) -> None:
    size = len(word.encode(errors="surrogatepass"))
    if size >= LARGEST_WORD:
        raise SpecInvalid(
            f"{where} has {size:,} bytes; the system takes fewer than {LARGEST_WORD:,}. Give it by "
            "stdin or in a file."
        )


def _known(where: str, given: Mapping[str, Any], known: frozenset[str], also: str = "") -> None:
    for key in given:
        if key not in known:
            raise SpecInvalid(
                f"{where} has {shown(key)}{also}; it may have {', '.join(sorted(known))}."
            )


def _object(where: str, given: object) -> Any:
    found = _shaped(where, given, {}, lambda value: isinstance(value, Mapping), "an object")
    for key in found:
        if not isinstance(key, str):
            raise SpecInvalid(f"{where} has the key {shown(key)}; keys are texts.")
    return found


def _list(where: str, given: object) -> Any:
    return _shaped(where, given, [], lambda value: isinstance(value, list | tuple), "a list")


def _shaped(
    where: str, given: object, nothing: Any, holds: Callable[[object], bool], words: str
) -> Any:
    if given is None:
        return nothing
    if not holds(given):
        raise _wrong(where, given, words)
    return given


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _wrong(where: str, found: object, words: str) -> SpecInvalid:
    return SpecInvalid(f"{where} is {shown(found)}; it is {words}.")
