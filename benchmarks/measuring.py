"""How every benchmark measures: cases in turn within a round, several rounds, medians and ratios.

Machines differ and are busy, so a figure alone says little: what is compared runs in one run, and
results/ keeps figures with the machine and the versions they came from.
"""

from __future__ import annotations

import json
import math
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

#: The environment may name another folder, for runs that are no results.
RESULTS = Path(os.environ.get("BENCH_RESULTS") or Path(__file__).resolve().parent / "results")
PACKAGES = ("django", "psycopg", "hodei")


@dataclass(frozen=True, slots=True)
class Target:
    """What a case is to reach: so many times another case, or, without one, so much."""

    case: str
    against: str | None = None
    least: float | None = None
    most: float | None = None

    def found(self, medians: Mapping[str, float]) -> float | None:
        """None where one of the two was not run."""
        if self.case not in medians or (self.against or self.case) not in medians:
            return None
        return medians[self.case] / (medians[self.against] if self.against else 1.0)

    def is_met(self, found: float) -> bool:
        return (self.least is None or found >= self.least) and (
            self.most is None or found <= self.most
        )

    def __str__(self) -> str:
        words = [f"at least {self.least:g}"] if self.least is not None else []
        words += [f"at most {self.most:g}"] if self.most is not None else []
        return f"{self.case}: {', '.join(words)}" + (f" x {self.against}" if self.against else "")


def in_turn(cases: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Run every case once per round, in order; each returns its own figure (seconds, mostly)."""
    figures: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(1, rounds + 1):
        for name, case in cases.items():
            figures[name].append(case())
            print(f"round {number}/{rounds}  {name}: {figures[name][-1]:.3f}", file=sys.stderr)
    return figures


def seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def processor_seconds(of_children: Callable[[], object]) -> tuple[float, float]:
    """Return seconds on the clock, and on a processor in the processes that it starts and awaits.

    The latter hardly depend on what else the machine does; the server's work is not in them.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    clock = seconds(of_children)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def report(
    benchmark: str,
    figures: dict[str, list[float]],
    *,
    unit: str,
    against: str,
    settings: dict[str, Any],
    targets: Sequence[Target] = (),
    missing: Mapping[str, str] | None = None,
) -> None:
    """Print medians, spread and ratios to the case ``against``, what targets are met, and what was
    not run with the reason (``missing``); and write all of it to results/.

    A figure that is not a number is one that could not be taken.
    """
    figures = {
        name: kept
        for name, values in figures.items()
        if (kept := [value for value in values if not math.isnan(value)])
    }
    medians = {name: statistics.median(values) for name, values in figures.items()}
    width = max(len(name) for name in figures)
    print(f"\n{benchmark} ({unit}; median of {len(figures[against])}, lowest to highest)")
    for name, values in figures.items():
        ratio = medians[name] / medians[against]
        print(
            f"  {name:{width}}  {medians[name]:8.3f}  ({min(values):.3f} to {max(values):.3f})"
            f"  {ratio:5.2f} x {against}"
        )
    judged = [_judged(target, medians) for target in targets]
    for target in judged:
        print(f"  target: {target['target']}: {target['said']}")
    for name, why in (missing or {}).items():
        print(f"  NOT RUN {name}: {why}")
    document = {
        "benchmark": benchmark,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "processor": processor(),
            "cores": os.cpu_count(),
            "system": platform.platform(),
        },
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in PACKAGES},
        },
        "settings": settings,
        "unit": unit,
        "figures": {
            name: {"median": medians[name], "all": values} for name, values in figures.items()
        },
        "ratios": {name: medians[name] / medians[against] for name in figures},
        "ratios_to": against,
        **({"targets": judged} if judged else {}),
        **({} if missing is None else {"not run": dict(missing)}),
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{benchmark}.json"
    path.write_text(json.dumps(document, indent=2) + "\n")


def _judged(target: Target, medians: Mapping[str, float]) -> dict[str, Any]:
    found = target.found(medians)
    met = None if found is None else target.is_met(found)
    said = "not measured" if found is None else f"{found:.3g}, {'met' if met else 'MISSED'}"
    return {"target": str(target), "found": found, "met": met, "said": said}


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that so large a share (0 to 1) does not exceed."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


def processor() -> str:
    """The processor's name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
