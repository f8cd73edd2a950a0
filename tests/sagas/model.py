"""What becomes of a saga, in a few lines: the rules of the documentation, without rows and clocks.

One definition alone: ``reserve`` (local), ``charge`` (has a verification), ``pack`` (has none, so
that it is undone where nobody knows), ``ship`` (the pivot) and ``thank``. Each is tried once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

STEPS = ("reserve", "charge", "pack", "ship", "thank")
UNDONE = ("reserve", "charge", "pack")
VERIFIED = ("charge", "ship", "thank")
PIVOT = "ship"
DONE = ("COMPLETED", "SKIPPED")


class Fate(Enum):
    """What an action does, and what its caller hears of it."""

    FINE = "done, and heard"
    REFUSED = "not done, for sure"
    LOST_AFTER = "done, and nobody hears of it"
    LOST_BEFORE = "not done, and nobody hears of it"


@dataclass
class Weather:
    """How it goes at present, by step."""

    actions: dict[str, Fate] = field(default_factory=lambda: dict.fromkeys(STEPS, Fate.FINE))
    #: Compensations that are refused for good.
    broken: set[str] = field(default_factory=set)
    #: Whether verifications cannot tell.
    is_mute: bool = False


@dataclass
class Model:
    """One saga, as it should be."""

    key: str | None = None
    state: str = "PENDING"
    outcome: str | None = None
    steps: dict[str, str] = field(default_factory=lambda: dict.fromkeys(STEPS, "PENDING"))
    is_paused: bool = False
    is_cancelled: bool = False
    #: A runner looks at it, though it is paused.
    is_due: bool = False
    #: Unknown steps whose verification is not asked any more.
    asked: set[str] = field(default_factory=set)
    #: Steps whose effects stand.
    standing: set[str] = field(default_factory=set)

    @property
    def is_past(self) -> bool:
        return self.steps[PIVOT] in DONE

    def run(self, weather: Weather) -> None:
        """As far as it goes by itself."""
        if self.outcome is not None or (self.is_paused and not self.is_due):
            return
        self.is_due = False
        for name in STEPS:
            if self.steps[name] == "IN_PROGRESS":
                self.steps[name] = "UNKNOWN"
        if self.state == "PENDING":
            self.state = "IN_PROGRESS"
        if self.is_paused:
            return
        if self.state == "IN_PROGRESS":
            self._forward(weather)
        if self.state == "COMPENSATING":
            self._backward(weather)

    def _forward(self, weather: Weather) -> None:
        while True:
            left = [name for name in STEPS if self.steps[name] not in DONE]
            if not left:
                self.state = self.outcome = "COMPLETED"
                return
            name = left[0]
            failed = self.steps[name] == "FAILED"
            if failed and self.is_past:
                return  # for a person
            is_open = name == PIVOT and self.steps[name] == "UNKNOWN"
            if failed or (self.is_cancelled and not self.is_past and not is_open):
                self.state = "COMPENSATING"
                return
            if self.steps[name] == "PENDING":
                self._act(name, weather.actions[name])
            elif self._find_out(name, weather):
                again = "PENDING" if self.is_past else "FAILED"
                self.steps[name] = "COMPLETED" if name in self.standing else again
            elif name == PIVOT or self.is_past:
                return  # for a person
            else:
                self.state = "COMPENSATING"
                return

    def _find_out(self, name: str, weather: Weather) -> bool:
        """Whether it becomes known if an unknown step was done."""
        if name in VERIFIED and weather.is_mute:
            self.asked.add(name)
        return name in VERIFIED and name not in self.asked

    def _act(self, name: str, fate: Fate) -> None:
        self.asked.discard(name)
        if fate in {Fate.FINE, Fate.LOST_AFTER}:
            self.standing.add(name)
        if fate is Fate.FINE:
            self.steps[name] = "COMPLETED"
        else:
            # What a local step has done is undone with its transaction.
            is_known = fate is Fate.REFUSED or name == "reserve"
            self.steps[name] = "FAILED" if is_known else "UNKNOWN"
        if name == "reserve" and fate is not Fate.FINE:
            self.standing.discard(name)

    def _backward(self, weather: Weather) -> None:
        for name in VERIFIED:
            if self.steps[name] == "UNKNOWN" and self._find_out(name, weather):
                self.steps[name] = "COMPLETED" if name in self.standing else "FAILED"
        for name in UNDONE:
            if self.steps[name] in {*DONE, "UNKNOWN", "COMPENSATING"}:
                is_broken = name in weather.broken
                self.steps[name] = "PARKED" if is_broken else "COMPENSATED"
                if not is_broken:
                    self.standing.discard(name)
        if "PARKED" in self.steps.values():
            self.state, self.outcome = "FAILED", "COMPENSATION_FAILED"
        elif self.is_cancelled:
            self.state = self.outcome = "CANCELLED"
        else:
            self.state, self.outcome = "COMPLETED", "COMPENSATED"

    # --- what people decide -----------------------------------------------------------------

    def may(self, action: str) -> bool:
        """Whether a person may do that with it now, while nobody drives it."""
        is_live = self.outcome is None
        going = is_live and self.state == "IN_PROGRESS" and not self.is_past
        return {
            "pause": is_live and not self.is_paused,
            "resume": is_live and self.is_paused,
            "cancel": (is_live and self.state == "PENDING") or (going and not self.is_cancelled),
            "compensate": going and self.steps[PIVOT] not in {"UNKNOWN", "IN_PROGRESS"},
        }[action]

    def decide(self, action: str) -> None:
        """A person has decided that."""
        self.is_due = action != "pause"
        if action in {"pause", "resume"}:
            self.is_paused = action == "pause"
        elif action == "compensate":
            self.state = "COMPENSATING"
        else:
            self.is_cancelled = True
            if self.state == "PENDING":
                self.state = self.outcome = "CANCELLED"

    def may_step(self, action: str, step: str) -> bool:
        """Whether a person may do that with a step now."""
        state, is_live = self.steps[step], self.outcome is None
        here = next((name for name in STEPS if self.steps[name] not in DONE), None)
        is_here = state in {"FAILED", "UNKNOWN"} or (state == "PENDING" and here == step)
        turned = self.state == "COMPENSATING"
        is_open = state in {"COMPENSATING", "UNKNOWN"} if turned else is_here
        can_be_asked = state != "UNKNOWN" or step in VERIFIED
        return {
            "skip_step": is_live and is_here and not turned,
            "retry_step": is_live and is_open and can_be_asked,
            "mark_done": is_live and state == "UNKNOWN",
            "mark_not_done": is_live and state == "UNKNOWN",
            "retry_compensation": state == "PARKED",
            "mark_handled": state == "PARKED",
        }[action]

    def would_live(self, action: str, step: str | None = None) -> bool:
        """Whether it is driven again after that, though it may have ended."""
        left = [name for name in STEPS if self.steps[name] == "PARKED" and name != step]
        return action == "retry_compensation" or (action == "mark_handled" and not left)

    def decide_step(self, action: str, step: str) -> None:
        """A person has decided that about a step."""
        self.is_due = True
        going_on = self.is_past and self.state != "COMPENSATING"
        self.steps[step] = {
            "skip_step": "SKIPPED",
            "retry_step": "PENDING" if self.steps[step] == "FAILED" else self.steps[step],
            "mark_done": "COMPLETED",
            "mark_not_done": "PENDING" if going_on else "FAILED",
            "retry_compensation": "COMPENSATING",
            "mark_handled": "COMPENSATED",
        }[action]
        if action in {"retry_step", "mark_not_done"}:
            self.asked.discard(step)
        if action == "mark_handled":
            self.standing.discard(step)
        if self.would_live(action):
            self.state, self.outcome = "COMPENSATING", None
