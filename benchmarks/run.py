"""Run every benchmark: ``make bench``, or ``python benchmarks/run.py NAME...`` for some."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main(names: list[str]) -> int:
    found = sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))
    unknown = set(names) - set(found)
    if unknown:
        print(f"No benchmark named {', '.join(sorted(unknown))}; there are: {', '.join(found)}")
        return 2
    codes = [
        subprocess.run([sys.executable, HERE / f"bench_{name}.py"], check=False).returncode
        for name in names or found
    ]
    return max(codes, default=0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
