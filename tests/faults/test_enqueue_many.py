"""Millions of jobs out of a generator: in flat memory, and all of them or none."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults import runs
from tests.faults.runs import Session
from tests.processes import ROOT, environment

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(sys.platform != "linux", reason="reads the memory of a process in /proc"),
]

NEVER = 10**9
#: Enqueued before it is measured.
FIRST = 10_000


def enqueue(
    database: dict[str, Any], number: int, keyed: bool, fail_at: int = NEVER
) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.many", str(number), str(fail_at), str(keyed)],
        cwd=ROOT,
        env=environment(
            DJANGO_SETTINGS_MODULE="tests.faults.settings",
            FAULTS_DATABASE=json.dumps(database),
            FAULTS_SETTINGS=json.dumps(runs.SETTINGS),
        ),
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout))


@pytest.mark.slow
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize(("number", "keyed"), [(5_000_000, False), (500_000, True)])
def test_all_of_them_in_flat_memory(
    session: Session,
    database: dict[str, Any],
    number: int,
    keyed: bool,
    record_property: Callable[[str, object], None],
) -> None:
    told = enqueue(database, number, keyed)

    record_property("MiB grown", told["grown"])
    assert told["enqueued"] == number
    assert told["grown"] < 16
    assert runs.count(session, "jobs") == runs.count(session, "job_queue") == FIRST + number


@pytest.mark.parametrize("keyed", [False, True])
def test_none_of_them_where_the_source_fails_in_the_middle(
    session: Session, database: dict[str, Any], keyed: bool
) -> None:
    told = enqueue(database, 50_000, keyed, 30_000)

    assert told["grown"] < 16
    assert told == {"enqueued": None, "error": "the source broke at 30000", "grown": told["grown"]}
    assert runs.count(session, "jobs") == runs.count(session, "job_queue") == FIRST
