"""Calls the functions of steps, and says in our words what came of it."""

from __future__ import annotations

import json
import logging
from asyncio import CancelledError
from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import cache
from importlib import import_module
from typing import Any

from hodei.values import said, shown
from jobs.retry import result_text, storable
from sagas import points
from sagas.definition import Answer, Done, Later, Step, StepContext, StepFailed, Verdict
from sagas.records import SagaRow, StepRow, outputs
from sagas.settle import Delayed, Did, Doubted, Outcome, Refused

logger = logging.getLogger(__name__)

#: What a function of a step raises is its outcome, and so it is where sys.exit() was called, or the
#: task of an event loop was cancelled: that must end no runner, nor a thread of it.
_RAISED = (Exception, SystemExit, CancelledError)


class Half(StrEnum):
    """Which function of a step is called."""

    ACTION = "action"
    VERIFY = "verify"
    COMPENSATION = "compensation"


def context_of(
    saga: SagaRow, steps: Sequence[StepRow], row: StepRow, half: Half, using: str
) -> StepContext:
    """What the function gets. ``row`` is as it was begun."""
    return StepContext(
        saga_id=saga.id,
        kind=saga.kind,
        step=row.name,
        input=saga.input,
        outputs=outputs(steps),
        key=key_of(row),
        lease_epoch=saga.epoch,
        attempt=row.compensation_attempts if half is Half.COMPENSATION else max(row.attempt, 1),
        correlation_id=saga.correlation_id,
        actor=saga.actor,
        using=using,
    )


def key_of(row: StepRow) -> str:
    """The idempotency key of a step."""
    return str(row.id)


@cache
def resolve(function: Callable[..., Any] | str) -> Callable[..., Any]:
    """The function of this dotted path. Raises ImportError and AttributeError."""
    if not isinstance(function, str):
        return function
    module, _, name = function.rpartition(".")
    found: Callable[..., Any] = getattr(import_module(module), name)
    return found


def call(step: Step, half: Half, context: StepContext) -> Outcome:
    """Call its action or its compensation. Of a local step whatever is raised means not done, since
    it is undone; the caller undoes it. KeyboardInterrupt passes, and what is unheard of."""
    function = step.compensation if half is Half.COMPENSATION else step.action
    if function is None:
        return Did(None)
    points.reach(f"before {half} {step.name}")
    try:
        found = resolve(function)(context)
    except _RAISED as error:
        return _raised(step, error)
    finally:
        points.reach(f"after {half} {step.name}")
    return _returned(step, found)


def ask(step: Step, context: StepContext) -> Verdict | Doubted:
    """Call its verification; whatever that raises is no answer."""
    if step.verify is None:
        return Doubted("it has no verification")
    points.reach(f"before verify {step.name}")
    try:
        return _verdict(step, resolve(step.verify)(context))
    except _RAISED as error:
        return Doubted(storable(f"{type(error).__qualname__}: {words_of(error)}"), "VerifyFailed")
    finally:
        points.reach(f"after verify {step.name}")


def words_of(error: BaseException) -> str:
    """What an exception says, or its name where it says nothing."""
    return said(error) or type(error).__name__


def _raised(step: Step, error: BaseException) -> Outcome:
    message = storable(words_of(error))
    name = storable(type(error).__qualname__, 255)
    if isinstance(error, Later):
        try:
            # Once more: a subclass may have its own idea of it.
            return Delayed(Later(error.seconds).seconds)
        except (TypeError, ValueError, OverflowError) as wrong:
            return _raised(step, wrong)
    if isinstance(error, StepFailed):
        return Refused(message, name, error.retry)
    if step.local:
        return Refused(message, name)
    logger.warning("step raised step=%s error=%s: %s", step.name, name, " ".join(message.split()))
    return Doubted(message, name)


def _returned(step: Step, found: Any) -> Outcome:
    try:
        text = result_text(found)
    except ValueError as error:
        message = f"The output of {step.name} cannot be stored: {error}"
        if step.local:
            return Refused(message, "OutputInvalid", retry=False)
        # It was done, and nobody can say what came of it.
        return Doubted(message, "OutputInvalid")
    # As it will be read: a tuple is a list from here on.
    return Did(None if text is None else json.loads(text))


def _verdict(step: Step, found: Any) -> Verdict | Doubted:
    if isinstance(found, Answer):
        return found
    if isinstance(found, Done):
        try:
            text = result_text(found.output)
        except ValueError as error:
            return Doubted(f"The output of {step.name} cannot be stored: {error}", "OutputInvalid")
        return Done(None if text is None else json.loads(text))
    return Doubted(
        f"verify of {step.name} returned {shown(found)}; it gives Done(output), NOT_DONE or UNSURE",
        "VerdictInvalid",
    )
