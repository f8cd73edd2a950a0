from __future__ import annotations

from typing import Any

import pytest

from outbox.services import dead_letters
from tests.outbox.conftest import Outbox
from tests.outbox.dead import JOB, OTHER, die
from tests.outbox.test_commands.kit import BY, Ran


class TestPrune:
    def test_says_what_went(self, outbox: Outbox) -> None:
        outbox.publish(JOB, 1, 2)
        outbox.drain()
        outbox.execute("UPDATE outbox_events SET published_at = now() - interval '8 days'")

        assert Ran("outbox_prune", "--dry-run").out == (
            "Would delete 2 published events, 0 inbox entries, 0 dead letters.\n"
        )
        assert Ran("outbox_prune").out == (
            "Deleted 2 published events, 0 inbox entries, 0 dead letters.\n"
        )
        assert outbox.value("SELECT count(*) FROM outbox_events") == 0

    def test_options_count_before_the_setting(self, outbox: Outbox, settings: Any) -> None:
        settings.HODEI_OUTBOX = {"RETENTION": {"PUBLISHED_DAYS": 0}}
        outbox.publish(JOB, 1)
        outbox.drain()
        dead_letters.discard(die(outbox, OTHER, 2), **BY)

        assert " 0 published events" in Ran("outbox_prune", "--published-days", "never").out
        assert " 0 published events" in Ran("outbox_prune", "--published-days", "1").out
        assert " 1 published event," in Ran("outbox_prune").out
        assert " 0 dead letters" in Ran("outbox_prune").out
        assert " 1 dead letter." in Ran("outbox_prune", "--dead-letter-days", "0").out

    @pytest.mark.parametrize("days", ["-1", "1.5", "x", "", "99999999999"])
    def test_bad_days(self, outbox: Outbox, days: str) -> None:
        assert "is no number of days" in Ran("outbox_prune", f"--inbox-days={days}", code=1).err

    def test_a_second_one(self, outbox: Outbox) -> None:
        from hodei.sessions import connect
        from outbox.services.retention import PRUNE

        with connect("default", "another") as other:
            other.execute("SELECT pg_advisory_lock(%s, 0)", [PRUNE])

            assert "Another outbox_prune is at work" in Ran("outbox_prune", code=1).err
