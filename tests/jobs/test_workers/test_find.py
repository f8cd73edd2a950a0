from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest

from jobs.services import workers
from jobs.states import WorkerState
from tests.jobs.conftest import Jobs
from tests.jobs.test_workers.kit import make_provider, make_worker, silence


@pytest.mark.django_db
class TestFind:
    def test_pages_are_stable_and_whole(self, jobs: Jobs) -> None:
        provider = make_provider(max_workers=100)
        made = {make_worker(jobs, provider=provider) for _ in range(7)}
        jobs.execute("UPDATE workers SET created_at = '2026-01-01T00:00:00Z'")
        seen: list[uuid.UUID] = []
        page = workers.find(limit=3)
        while True:
            seen += [row.pk for row in page.workers]
            if page.after is None:
                break
            make_worker(jobs, provider=provider)
            page = workers.find(limit=3, after=page.after)

        assert len(seen) == 7
        assert set(seen) == made

    def test_defect_3_3_every_filter_holds(self, jobs: Jobs) -> None:
        provider = make_provider()
        ready, busy = make_worker(jobs, provider=provider), make_worker(jobs, "BUSY")
        silence(jobs, busy)

        def found(**filters: Any) -> set[uuid.UUID]:
            return {row.pk for row in workers.find(**filters).workers}

        from django.utils import timezone

        limit = timezone.now() - timedelta(seconds=20)
        assert found() == {ready, busy}
        assert found(states=[WorkerState.BUSY]) == {busy}
        assert found(provider_id=provider) == {ready}
        assert found(provider_type="docker") == {ready, busy}
        assert found(silent_since=limit) == {busy}
        assert found(silent_since=limit, provider_id=provider) == set()

    @pytest.mark.parametrize("limit", [0, -1, 1001])
    def test_a_page_has_bounds(self, jobs: Jobs, limit: int) -> None:
        with pytest.raises(ValueError, match="give 1 to 1,000"):
            workers.find(limit=limit)
