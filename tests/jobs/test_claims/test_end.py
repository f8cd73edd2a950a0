from __future__ import annotations

import uuid
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest

from jobs import retry
from jobs.runs import Claimed, Ended, Failed, Snoozed, Succeeded
from jobs.states import FailureKind, JobState


class TestEnd:
    """What is written down of an outcome: a pure rule."""

    def job(self, attempts: int = 1, max_attempts: int = 3) -> Claimed:
        now = datetime(2026, 1, 1, tzinfo=UTC)
        return Claimed(
            *(uuid.uuid4(), 7, "{}", attempts, max_attempts, None, "", None, None, now, now, 0),
            *("{}", True, 0, 1, "default"),
        )

    def end(self, outcome: Any, **values: Any) -> Ended:
        return retry.end(self.job(**values), outcome, rng=Random(1))

    def test_a_success(self) -> None:
        found = self.end(Succeeded({"a": 1}))

        assert (found.state, found.result, found.spent) == (JobState.SUCCEEDED, '{"a":1}', True)

    @pytest.mark.parametrize("result", [{1, 2}, float("nan"), "a\0", "\ud800", "x" * 2_000_000])
    def test_a_result_that_cannot_be_stored_is_a_failure(self, result: Any) -> None:
        found = self.end(Succeeded(result))

        assert (found.state, found.kind) == (JobState.FAILED, FailureKind.VALIDATION_ERROR)
        assert found.error is not None
        assert found.error.startswith("The result ")

    def test_a_snooze_spends_nothing(self) -> None:
        found = self.end(Snoozed(5.0))

        assert (found.state, found.seconds, found.spent) == (JobState.PENDING, 5.0, False)

    @pytest.mark.parametrize("kind", list(FailureKind))
    def test_defect_3_1_only_some_kinds_are_tried_again(self, kind: FailureKind) -> None:
        found = self.end(Failed(kind, "no"))

        again = kind in retry.RETRYABLE
        assert found.state is (JobState.PENDING if again else JobState.FAILED)
        assert (found.seconds is not None) is again

    def test_the_last_attempt_is_the_last(self) -> None:
        assert self.end(Failed(FailureKind.UNKNOWN, "no"), attempts=2).state is JobState.PENDING
        assert self.end(Failed(FailureKind.UNKNOWN, "no"), attempts=3).state is JobState.FAILED

    def test_the_job_may_say_when_and_whether(self) -> None:
        said = Failed(FailureKind.VALIDATION_ERROR, "no", retryable=True, retry_in=7.0)
        assert self.end(said).seconds == 7.0
        never = Failed(FailureKind.UNKNOWN, "no", retryable=False)
        assert self.end(never).state is JobState.FAILED

    def test_texts_are_cut_and_made_storable(self) -> None:
        found = self.end(
            Failed(FailureKind.UNKNOWN, "a\0\ud800" + "x" * 10_000, "c" * 300, "t" * 50_000)
        )

        assert found.error is not None
        assert found.traceback is not None
        assert len(found.error) == retry.LONGEST_ERROR
        assert found.error.startswith("a\N{REPLACEMENT CHARACTER}?x")
        assert len(found.error_class or "") == 255
        assert len(found.traceback) == retry.LONGEST_TRACEBACK
