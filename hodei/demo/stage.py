"""Where the demo plays: a database of its own, and a folder, both gone afterwards."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from hodei.db.embedded import session
from hodei.embedded import directory_from


class NoStage(Exception):  # noqa: N818  (it reads as the fact it states)
    """There is no database to play in. The text says why, and what to do."""


@contextmanager
def stage() -> Iterator[Path]:
    """Set the environment for a new database, migrated; yields a folder. Raises NoStage."""
    directory = directory_from(os.environ)
    given = os.environ.get("DATABASE_URL", "").strip()
    server = given or session.ensure(directory).url()
    folder = Path(tempfile.mkdtemp(prefix="hodei-demo-"))
    name = f"hodei_demo_{secrets.token_hex(4)}"
    try:
        with _database(server, name) as url:
            os.environ.update(
                DATABASE_URL=url,
                DJANGO_SETTINGS_MODULE="hodei.demo.settings",
                DEBUG="1",
                SECRET_KEY=secrets.token_urlsafe(50),
                HODEI_JOB_LOGS_DIR=str(folder / "logs"),
                LOG_LEVEL="WARNING",
            )
            manage("migrate", "--verbosity", "0")
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def manage(*words: str) -> None:
    """Run a management command to its end. Raises NoStage."""
    done = subprocess.run(  # noqa: S603  (Django's own entry point)
        [sys.executable, "-m", "django", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise NoStage(f"{words[0]} failed:\n{done.stderr.strip()[-2000:]}")


@contextmanager
def _database(server: str, name: str) -> Iterator[str]:
    import psycopg  # noqa: PLC0415
    from psycopg import sql  # noqa: PLC0415

    parts = urlsplit(server)
    url = parts._replace(scheme="postgresql")
    try:
        with psycopg.connect(url.geturl(), autocommit=True, connect_timeout=10) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    except psycopg.errors.InsufficientPrivilege as error:
        raise NoStage(
            f"{url.username} may not make a database of its own for the demo on this server "
            "(CREATEDB). Give another DATABASE_URL, or none for the embedded PostgreSQL."
        ) from error
    except psycopg.Error as error:
        raise NoStage(f"The database cannot be used: {' '.join(str(error).split())}") from error
    try:
        yield url._replace(path=f"/{name}").geturl()
    finally:
        with psycopg.connect(url.geturl(), autocommit=True, connect_timeout=10) as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )
