from __future__ import annotations

import json
import re
from typing import Any

from outbox.outcomes import down
from tests.databases import alias_of, new_database
from tests.outbox.conftest import Outbox
from tests.outbox.dead import JOB, OTHER, die
from tests.outbox.test_commands.kit import SECRET, Ran, dlq
from tests.processes import ROOT


class TestStats:
    def test_of_an_empty_outbox(self, inside: Outbox) -> None:
        lines = Ran("outbox_stats").out.splitlines()

        assert lines[1] == "pending       0 (0 may be sent, 0 held back)"
        assert lines[2] == "published     0.0 a second, in the last minute"
        assert lines[3] == "dead letters  0 open"
        assert re.fullmatch(r"default +- +0 of 64 +0 +- +0 +0", lines[6])
        assert len(lines) == 7

    def test_what_is_wrong_and_what_to_type(self, inside: Outbox) -> None:
        die(inside, JOB, 1, 2, 3, outcome=SECRET)
        inside.publish(OTHER, 4)
        inside.execute(
            "INSERT INTO outbox_relays (destination, owner, breaker, breaker_error) "
            "VALUES ('billing', 'relay-1', 'OPEN', 'refused: password=hush')"
        )

        out = Ran("outbox_stats").out

        assert "pending       3 (1 may be sent, 2 held back), the oldest for" in out
        assert re.search(r"dead letters  1 open, the oldest for \d+ s", out)
        assert re.search(r"billing +- +0 of 64 +1 +open +0 +0", out)
        assert re.search(r"relay-1 +billing +0 +\d+ s ago +polling", out)
        assert "! Nobody delivers to default: start outbox_relay." in out
        assert "! billing is down for relay-1: refused: password=[redacted]" in out
        assert "! 1 aggregate of default waits behind dead letters: outbox_dlq list" in out
        assert re.search(r"[0-9a-f]{8} +1 +\d+ s +\d+ s +http_401 +Counted", out)
        assert "hush" not in out

    def test_events_for_a_destination_that_was_taken_out_of_the_settings(
        self, inside: Outbox
    ) -> None:
        """A relay cannot be started for it."""
        inside.publish(JOB, 1)
        inside.execute("UPDATE outbox_events SET destination = 'billing'")

        out = Ran("outbox_stats").out

        assert "! HODEI_OUTBOX has no destination billing, and events wait for it: name it" in out
        assert "start outbox_relay" not in out

    def test_a_failure_can_be_listed_by_what_is_shown(self, inside: Outbox) -> None:
        letter = die(inside, JOB, 1)
        (shown,) = re.findall(r"^([0-9a-f]{8}) +1 ", Ran("outbox_stats").out, re.MULTILINE)

        assert str(letter)[:8] in dlq("list", "--fingerprint", shown).out

    def test_json_has_the_documented_keys(self, inside: Outbox) -> None:
        die(inside, JOB, 1, outcome=SECRET)
        inside.publish(OTHER, 4)
        inside.drain(lambda event: down("refused", "x"))
        inside.execute("INSERT INTO outbox_relays (destination, owner) VALUES ('default', 'a')")

        text = Ran("outbox_stats", "--format", "json").out
        found = json.loads(text)

        page = (ROOT / "docs/reference/outbox_stats.md").read_text()
        one, letters = found["destinations"][0], found["dead_letters"]
        keys = {
            *found,
            *(*one, *one["lanes"][0], *one["relays"][0]),
            *(*letters, *letters["by_class"][0], *letters["by_fingerprint"][0]),
        }
        assert {key for key in keys if f"`{key}`" not in page} == set()
        assert "hush" not in text
        assert found["pending"] == 1

    def test_wrong_settings(self, inside: Outbox, settings: Any) -> None:
        settings.HODEI_OUTBOX = {"SORCE": "/x"}

        assert "has a key 'SORCE'" in Ran("outbox_stats", code=2).err

    def test_a_database_without_these_tables(self, django_db_blocker: Any) -> None:
        with django_db_blocker.unblock(), new_database() as database, alias_of(database) as alias:
            for words in (("outbox_stats",), ("outbox_dlq", "list"), ("outbox_prune",)):
                err = Ran(*words, "--database", alias, code=3).err
                assert "does not exist" in err
                assert "\n" not in err
