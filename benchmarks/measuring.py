"""How every benchmark measures: cases in turn within a round, several rounds, medians and ratios.

Machines differ and are busy, so a figure alone says little: what is compared runs in one run, and
results/ keeps figures with the machine and the versions they came from.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = ("django", "psycopg", "hodei")


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
) -> None:
    """Print medians, spread and ratios to the case ``against``, and write them to results/."""
    medians = {name: statistics.median(values) for name, values in figures.items()}
    width = max(len(name) for name in figures)
    print(f"\n{benchmark} ({unit}; median of {len(figures[against])}, lowest to highest)")
    for name, values in figures.items():
        ratio = medians[name] / medians[against]
        print(
            f"  {name:{width}}  {medians[name]:8.3f}  ({min(values):.3f} to {max(values):.3f})"
            f"  {ratio:5.2f} x {against}"
        )
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
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{benchmark}.json"
    path.write_text(json.dumps(document, indent=2) + "\n")


def processor() -> str:
    """The processor's name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
