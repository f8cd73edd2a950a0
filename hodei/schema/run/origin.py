"""Who runs migrations, from where, with what: the part of a record that all of a run share."""

from __future__ import annotations

import socket
import uuid
from dataclasses import dataclass

import django

import hodei
from hodei.actor import os_user
from hodei.schema import conf


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """One run. ``batch`` ties its records together."""

    batch: uuid.UUID
    database_user: str
    os_user: str
    host: str
    command: str
    release: str
    hodei_version: str
    django_version: str


def origin_of(command: str, database_user: str) -> Origin:
    """This process, at this moment."""
    return Origin(
        batch=uuid.uuid4(),
        database_user=database_user,
        os_user=os_user(),
        host=socket.gethostname(),
        command=command,
        release=conf.release(),
        hodei_version=hodei.__version__,
        django_version=django.get_version(),
    )
