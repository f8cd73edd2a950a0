"""TEMPORARY."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from django.utils.module_loading import import_string

from jobs.runs import Outcome, Run, Succeeded

load = lru_cache(import_string)


class PythonExecutor:
    default_timeout: float | None = None

    def validate(self, spec: Mapping[str, Any]) -> None: ...
    def open(self, slots: int) -> None: ...
    def run(self, run: Run) -> Outcome:
        spec = run.spec["python"]
        return Succeeded(load(spec["task"])(*spec.get("args", ()), **spec.get("kwargs", {})))

    def close(self) -> None: ...
