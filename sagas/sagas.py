"""The sagas of this app, found as those of any other."""

from __future__ import annotations

from sagas import builtin, scheduler

__all__ = ["builtin", "scheduler"]
