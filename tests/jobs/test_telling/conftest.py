from __future__ import annotations

from typing import Any

import pytest

from tests.jobs.conftest import Jobs
from tests.jobs.test_telling.kit import Told


@pytest.fixture
def told(jobs: Jobs) -> Told:
    return Told()


@pytest.fixture
def everything(settings: Any) -> None:
    settings.JOBS_AUDIT = settings.JOBS_EVENTS = "all"
