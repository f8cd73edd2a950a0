from __future__ import annotations

from pathlib import Path


def alive(process: int) -> bool:
    """Whether it runs; one that only waits to be noticed does not."""
    try:
        return ") Z " not in Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False


FAMILY = """
sleep 600 & child=$!
setsid sleep 600 & gone=$!
echo $$ $child $gone
wait
"""
