"""What the jobs of the sample call: each takes a moment, and returns what it would have made.

A worker beside ``make run`` runs those that wait, and those that a person sets going again.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from jobs.tasks import task

logger = logging.getLogger(__name__)


def _work(run: str) -> None:
    logger.info("at work on %s", run)
    time.sleep(0.2)


@task
def invoice_export(run: str) -> dict[str, Any]:
    _work(run)
    return {"rows": 18_204, "file": f"s3://exports/{run.rsplit(maxsplit=1)[-1]}.csv"}


@task
def nightly_report(run: str) -> dict[str, Any]:
    _work(run)
    return {"pages": 12}


@task
def thumbnail(run: str) -> dict[str, Any]:
    _work(run)
    return {"width": 320}


@task
def transcode(run: str) -> dict[str, Any]:
    _work(run)
    return {"seconds": 94}


@task
def settlement(run: str) -> dict[str, Any]:
    _work(run)
    return {"settled": 418}


@task
def archive_logs(run: str) -> dict[str, Any]:
    _work(run)
    return {"files": 31}


@task
def train_ranking(run: str) -> dict[str, Any]:
    _work(run)
    return {"loss": 0.031}


@task
def newsletter(run: str) -> dict[str, Any]:
    _work(run)
    return {"sent": 1_204}
