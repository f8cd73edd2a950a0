"""Make the virtual environment, install the project into it, and write ``.env``.

usage: python scripts/install.py [--venv .venv] [--dev]

Run by the interpreter that the environment is to have; needs nothing but the standard library. Done
again, it does only what has changed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 11)
#: A server of its own, and Django's tasks where Django has none: the sample's jobs are such.
EXTRAS = "embedded,tasks"


def main() -> int:
    parser = argparse.ArgumentParser(description="Install Hodei into a virtual environment.")
    parser.add_argument("--venv", type=Path, default=Path(".venv"), help="its folder")
    parser.add_argument("--dev", action="store_true", help="with the tools that tests need")
    options = parser.parse_args()
    if sys.version_info < OLDEST:
        print(
            f"Hodei needs Python {OLDEST[0]}.{OLDEST[1]} or newer, and {sys.executable} is "
            f"{sys.version.split()[0]}; choose another: make run PYTHON=python3.13",
            file=sys.stderr,
        )
        return 2
    venv = ROOT / options.venv
    make_environment(venv)
    install(venv, dev=options.dev)
    write_env(ROOT / ".env")
    return 0


def make_environment(venv: Path) -> None:
    """Create the environment, anew where it belongs to another version of Python."""
    python = venv / "bin" / "python"
    version = "{}.{}.{}".format(*sys.version_info)
    if python.exists():
        found = subprocess.run(
            [python, "-c", "import sys; print('{}.{}.{}'.format(*sys.version_info))"],
            capture_output=True,
            text=True,
            check=False,
        ).stdout.strip()
        if found == version:
            return
        print(f"{venv.name} was made for Python {found or 'unknown'}: made anew for {version}.")
        shutil.rmtree(venv)
    print(f"Making {venv.name} with Python {version} ...", flush=True)
    made = subprocess.run([sys.executable, "-m", "venv", venv], check=False)
    if made.returncode:
        raise SystemExit(
            "The virtual environment could not be made. On Debian and Ubuntu: "
            "apt install python3-venv. Or choose another interpreter: make run PYTHON=python3.13"
        )


def install(venv: Path, *, dev: bool) -> None:
    """Install what is missing; a stamp in the environment remembers what was installed."""
    wanted = hashlib.sha256(EXTRAS.encode())
    for name in ("pyproject.toml", "constraints.txt"):
        wanted.update((ROOT / name).read_bytes())
    stamp = venv / ("installed-dev" if dev else "installed")
    if stamp.exists() and stamp.read_text() == wanted.hexdigest():
        return
    what = "Hodei and its development tools" if dev else "Hodei"
    print(f"Installing {what} into {venv.name} (a minute or so the first time) ...", flush=True)
    pip = [
        venv / "bin" / "python",
        "-m",
        "pip",
        "install",
        "-qq",
        "--disable-pip-version-check",
    ]
    constraints = ["--constraint", ROOT / "constraints.txt"]
    groups = ["--group", f"{ROOT / 'pyproject.toml'}:dev"] if dev else []
    # Dependency groups came with pip 25.1, and the interpreter may have brought an older one.
    for words in (["pip>=25.1"], ["--editable", f"{ROOT}[{EXTRAS}]", *groups]):
        if subprocess.run([*pip, *constraints, *words], check=False).returncode:
            raise SystemExit("The installation failed; what pip says above tells why.")
    stamp.write_text(wanted.hexdigest())


def write_env(path: Path) -> None:
    """Write settings for development, with a key of its own, where there are none."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(file, "w") as env:
        env.write(
            "# Settings of this checkout; docs/reference/settings.md lists them all.\n"
            f"DEBUG=1\nSECRET_KEY={secrets.token_urlsafe(50)}\n"
        )
    print("Wrote .env with DEBUG=1 and a random SECRET_KEY.")


if __name__ == "__main__":
    sys.exit(main())
