"""Pure: what is wrong with a definition."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sagas.calls import resolve
from sagas.definition import LONGEST_NAME, Retry, Saga, Step

MOST_STEPS = 200
#: A time that is added to such a one stays far within what can be stored.
LONGEST_SPAN = timedelta(days=3_650)
LARGEST = 2**31 - 1
SPAN = "Give a timedelta above 0, of ten years at most"


@dataclass(frozen=True, slots=True)
class Problem:
    """``number`` is that of the system check."""

    number: int
    message: str
    hint: str


def problems(saga: type[Saga]) -> list[Problem]:
    """Everything that is wrong, in the order in which it stands there."""
    return [
        *_of_saga(saga),
        *_of_names(saga),
        *_of_pivot(saga),
        *_of_groups(saga),
        *_of_steps(saga),
    ]


def _of_saga(saga: type[Saga]) -> Iterator[Problem]:
    kind = getattr(saga, "kind", None)
    if not _is_name(kind):
        yield Problem(1, f"kind is {kind!r}.", f"Give a text of 1 to {LONGEST_NAME} characters.")
    if not _is_number(saga.version) or not 1 <= saga.version <= LARGEST:
        yield Problem(1, f"version is {saga.version!r}.", "Give a whole number, 1 or more.")
    limit: Any = saga.limit
    if limit is not None and (not _is_number(limit) or not 1 <= limit <= LARGEST):
        yield Problem(
            1, f"limit is {limit!r}.", "Give a whole number, 1 or more, or None for no limit."
        )
    if saga.deadline is not None and not _is_span(saga.deadline):
        yield Problem(1, f"deadline is {saga.deadline!r}.", f"{SPAN}, or None.")
    steps: Any = saga.steps
    if not isinstance(steps, list | tuple) or not 1 <= len(steps) <= MOST_STEPS:
        yield Problem(2, f"steps is {steps!r:.100}.", f"Give a list of 1 to {MOST_STEPS} steps.")
    elif not all(isinstance(step, Step) for step in steps):
        wrong = next(step for step in steps if not isinstance(step, Step))
        yield Problem(2, f"steps has {wrong!r:.100}, which is no Step.", "Give Step(name, action).")


def _of_names(saga: type[Saga]) -> Iterator[Problem]:
    names: list[Any] = [step.name for step in _steps(saga)]
    for name in names:
        if not _is_name(name):
            yield Problem(
                3, f"a step is named {name!r}.", f"Give a text of 1 to {LONGEST_NAME} characters."
            )
    for name, times in Counter(map(repr, names)).items():
        if times > 1:
            yield Problem(
                3, f"{times} steps are named {name}.", "Outputs are found by the names of steps."
            )


def _of_pivot(saga: type[Saga]) -> Iterator[Problem]:
    steps = _steps(saga)
    pivots = [place for place, step in enumerate(steps) if step.pivot]
    if len(pivots) > 1:
        yield Problem(
            4,
            f"{len(pivots)} steps are pivots.",
            "After the first one the saga cannot go back; mark that one alone.",
        )
    if not pivots:
        return
    if steps[pivots[0]].group is not None:
        yield Problem(
            4,
            f"the pivot {steps[pivots[0]].name} is in a group.",
            "Whether the saga may go back has to be clear while others run: put it after them.",
        )
    for step in steps[pivots[0] :]:
        if step.compensation is not None:
            where = "is the pivot" if step.pivot else "comes after the pivot"
            yield Problem(
                4,
                f"{step.name} {where} and has a compensation.",
                "It would never be called: the saga only goes forward from there.",
            )


def _of_groups(saga: type[Saga]) -> Iterator[Problem]:
    closed: set[str] = set()
    current: str | None = None
    for step in _steps(saga):
        if step.group != current and current is not None:
            closed.add(current)
        if step.group in closed:
            yield Problem(
                5,
                f"the group {step.group!r} is interrupted before {step.name}.",
                "The steps of a group stand in a row.",
            )
        current = step.group


def _of_steps(saga: type[Saga]) -> Iterator[Problem]:
    for step in _steps(saga):
        for what in ("action", "compensation", "verify"):
            yield from _of_function(step, what)
        if step.local and step.verify is not None:
            yield Problem(
                7,
                f"{step.name} is local and has a verify.",
                "Of a local step it is always known whether it was done; leave verify out.",
            )
        for what in ("timeout", "total_timeout"):
            span = getattr(step, what)
            if not _is_span(span) and not (what == "total_timeout" and span is None):
                yield Problem(8, f"{what} of {step.name} is {span!r}.", f"{SPAN}.")
        for what in ("retry", "compensation_retry", "verify_retry"):
            yield from _of_retry(step, what)


def _of_function(step: Step, what: str) -> Iterator[Problem]:
    given = getattr(step, what)
    if given is None and what != "action":
        return
    function: Any
    try:
        function = resolve(given)
    except Exception as error:  # noqa: BLE001  (a module may raise anything when it is imported)
        yield Problem(
            6,
            f"{what} of {step.name} is {given!r}, which cannot be imported: {error}",
            "Give a function, or the dotted path of one.",
        )
        return
    if not callable(function):
        yield Problem(
            6, f"{what} of {step.name} is {function!r:.80}.", "Give a function of a StepContext."
        )
    elif inspect.iscoroutinefunction(function):
        yield Problem(
            6,
            f"{what} of {step.name} is async.",
            "Give a plain function; asgiref.sync.async_to_sync makes one.",
        )


def _of_retry(step: Step, what: str) -> Iterator[Problem]:
    retry = getattr(step, what)
    if not isinstance(retry, Retry):
        yield Problem(8, f"{what} of {step.name} is {retry!r:.80}.", "Give a Retry.")
    elif not _is_number(retry.attempts) or retry.attempts < 1:
        yield Problem(
            8, f"{what} of {step.name} has {retry.attempts!r} attempts.", "Give 1 or more."
        )
    elif not _are_pauses(retry.base, retry.cap):
        yield Problem(
            8,
            f"{what} of {step.name} has the pauses {retry.base!r} to {retry.cap!r} s.",
            "Give a base above 0, and a cap that is not below it and at most a week.",
        )


def _steps(saga: type[Saga]) -> list[Step]:
    steps: Any = saga.steps
    if not isinstance(steps, list | tuple):
        return []
    return [step for step in steps if isinstance(step, Step)]


def _is_name(value: object) -> bool:
    if not isinstance(value, str) or not 1 <= len(value) <= LONGEST_NAME or "\0" in value:
        return False
    return not any("\ud800" <= letter <= "\udfff" for letter in value)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_span(value: object) -> bool:
    return isinstance(value, timedelta) and timedelta(0) < value <= LONGEST_SPAN


def _are_pauses(base: object, cap: object) -> bool:
    numbers = isinstance(base, int | float) and isinstance(cap, int | float)
    return numbers and 0 < base <= cap <= 7 * 24 * 3600  # type: ignore[operator]
