"""Write constraints.txt: the versions that the project was tested with, on each Python.

usage: python scripts/constraints.py PYTHON3.11 PYTHON3.12 PYTHON3.13

For each interpreter a fresh environment gets the project with every extra and the development
tools; what pip chose is pinned. A version that all of them share stands once, others with a marker.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEAD = """\
# The versions that the project was tested with; written by scripts/constraints.py.
# They bind installs of this repository alone: what the package needs is in pyproject.toml.
"""


def main(interpreters: list[str]) -> int:
    if not interpreters:
        print(__doc__)
        return 2
    chosen: dict[str, dict[str, str]] = {}
    for interpreter in interpreters:
        version, pins = choose(interpreter)
        print(f"Python {version}: {len(pins)} packages")
        for name, pin in pins.items():
            chosen.setdefault(name, {})[version] = pin
    versions = {version for pins in chosen.values() for version in pins}
    (ROOT / "constraints.txt").write_text(HEAD + "".join(lines(chosen, versions)))
    return 0


def choose(interpreter: str) -> tuple[str, dict[str, str]]:
    """Install everything into a fresh environment: (minor version, pin by package name)."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "bin" / "python"
        subprocess.run([interpreter, "-m", "venv", folder], check=True)
        pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--upgrade", "pip>=25.1"], check=True)
        subprocess.run(
            [
                *(*pip, "install", "--editable", f"{ROOT}[{','.join(extras)}]"),
                *("--group", f"{ROOT / 'pyproject.toml'}:dev"),
            ],
            check=True,
        )
        frozen = subprocess.run(
            [*pip, "freeze", "--exclude-editable"], check=True, capture_output=True, text=True
        ).stdout
        version = subprocess.run(
            [python, "-c", "import sys; print('{}.{}'.format(*sys.version_info))"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", frozen, flags=re.MULTILINE))
    return version, {name.lower().replace("_", "-"): pin for name, pin in pins.items()}


def lines(chosen: dict[str, dict[str, str]], versions: set[str]) -> list[str]:
    """One line per package, or one per version and Python where they differ."""
    written = []
    for name, pins in sorted(chosen.items()):
        if set(pins) == versions and len(set(pins.values())) == 1:
            written.append(f"{name}=={next(iter(pins.values()))}\n")
            continue
        written += [
            f"{name}=={pin} ; python_version == '{version}'\n"
            for version, pin in sorted(pins.items())
        ]
    return written


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
