"""Files of logs in Django's storage, and the URIs by which rows name them.

``storage://job_logs/2026/03/01/ID-1-TOKEN.log`` is the file of that name in the storage
``STORAGES["job_logs"]``.
``file:///var/log/jobs/ID.log``, as the original writes, is read and deleted only if that storage
keeps its files in a local folder, and the path lies in it.
"""

from __future__ import annotations

import secrets
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.core.files import File
from django.core.files.storage import Storage, storages

from jobs.logs.conf import ALIAS, spool_folder

CHUNK = 64 * 1024


class LogUnreadable(Exception):  # noqa: N818  (it reads as the fact it states)
    """There is a row, but its file cannot be had. The text names the URI and the reason."""

    def __init__(self, uri: str, reason: str) -> None:
        self.uri = uri
        super().__init__(f"Log file {uri}: {reason}.")


class LogMissing(LogUnreadable):
    """The file is not there."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri, "there is no such file")


def storage() -> Storage:
    """Raises ImproperlyConfigured."""
    try:
        return storages[ALIAS]
    except Exception as error:
        # It is made of settings, by a class that may be anybody's.
        known = isinstance(error, ImproperlyConfigured)
        raise ImproperlyConfigured(
            f"STORAGES has no {ALIAS!r} that can be used, where the logs of jobs are kept: "
            f"{error if known else repr(error)}"
        ) from error


def new_uri(job_id: uuid.UUID, attempt: int, now: datetime) -> str:
    """A URI that no file ever had."""
    name = f"{now:%Y/%m/%d}/{job_id}-{attempt}-{secrets.token_hex(4)}.log"
    return uri_of(name)


def uri_of(name: str) -> str:
    return f"storage://{ALIAS}/{name}"


def save(uri: str, content: IO[bytes]) -> str:
    """Store a file; returns its URI, which is another one if the storage changed the name. Raises
    whatever the storage does."""
    name = _name(uri)
    return uri_of(storage().save(name, File(content, name=name)))


def delete(uri: str) -> None:
    """Delete the file, if it is there. Raises LogUnreadable for a URI that is not ours, and
    whatever the storage does."""
    try:
        storage().delete(_name(uri))
    except FileNotFoundError:
        return


@contextmanager
def opened(uri: str) -> Iterator[Any]:
    """The file, to be read from its beginning. Raises LogMissing and LogUnreadable."""
    name = _name(uri)
    try:
        file = storage().open(name, "rb")
    except FileNotFoundError as error:
        raise LogMissing(uri) from error
    except Exception as error:
        raise LogUnreadable(uri, f"{type(error).__name__}: {error}") from error
    with file:
        yield file


def chunks(uri: str, start: int = 0) -> Iterator[bytes]:
    """The bytes of the file from there on. Raises LogMissing and LogUnreadable."""
    with opened(uri) as file:
        try:
            file.seek(start)
            while data := file.read(CHUNK):
                yield data
        except FileNotFoundError as error:
            # Some storages look only now.
            raise LogMissing(uri) from error
        except OSError as error:
            raise LogUnreadable(uri, str(error)) from error


@contextmanager
def joined(before: str, content: IO[bytes]) -> Iterator[IO[bytes]]:
    """A local file with what another one has, and what follows. Raises LogMissing, LogUnreadable
    and OSError."""
    with tempfile.TemporaryFile(prefix="hodei-log-", dir=spool_folder()) as both:
        for data in chunks(before):
            both.write(data)
        while data := content.read(CHUNK):
            both.write(data)
        both.seek(0)
        yield both


def _name(uri: str) -> str:
    """The name of the file in the storage. Raises LogUnreadable."""
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise LogUnreadable(uri, str(error)) from error
    if parts.scheme == "storage" and parts.netloc == ALIAS:
        name = uri.removeprefix(uri_of(""))
    elif parts.scheme == "file" and parts.netloc in {"", "localhost"}:
        name = _inside(uri, unquote(parts.path))
    else:
        raise LogUnreadable(uri, f"it is in no storage of this project (storage://{ALIAS}/...)")
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\0" in name:
        raise LogUnreadable(uri, "its path leaves the storage")
    return name


def _inside(uri: str, path: str) -> str:
    location = getattr(storage(), "location", None)
    if not isinstance(location, str) or not Path(location).is_absolute():
        raise LogUnreadable(uri, f"the storage {ALIAS!r} is no local folder")
    try:
        return Path(path).resolve().relative_to(Path(location).resolve()).as_posix()
    except (OSError, ValueError) as error:
        raise LogUnreadable(uri, f"it is not below {location}") from error
