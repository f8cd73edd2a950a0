"""``python -m hodei.demo``: a job outlives the worker that runs it, shown as it happens."""

from __future__ import annotations
