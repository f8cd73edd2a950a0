from __future__ import annotations

import io
import json
import re
import uuid
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from outbox.outcomes import permanent
from outbox.services import dead_letters
from outbox.states import DeadLetterState
from tests.outbox.conftest import Outbox
from tests.outbox.dead import JOB, OTHER, die, event_of, refusing
from tests.outbox.test_commands.kit import BY, SECRET, dlq, states
from tests.processes import ROOT


class TestList:
    def test_what_is_stuck_and_whether_others_wait(self, inside: Outbox) -> None:
        letter = die(inside, "order 4711", 1, 2)

        ran = dlq("list")

        title, row = ran.out.splitlines()
        assert title.split("  ")[0] == "letter"
        assert re.fullmatch(
            rf"{str(letter)[:8]} +\d+ s +Counted +JOB order 4711 +http_422 +1 +yes +"
            r"Order 4711 is unknown",
            row,
        )

    def test_of_nothing(self, inside: Outbox) -> None:
        assert dlq("list").out == "There is no dead letter that fits.\n"

    def test_with_every_state_it_says_which_and_by_whom(self, inside: Outbox) -> None:
        dead_letters.discard(die(inside, JOB, 1), **BY)

        assert re.search(r"discarded +anna .* enough", dlq("list", "--state", "all").out)
        assert re.search(r"discarded +anna", dlq("list", "--state", "discarded").out)
        assert "no dead letter" in dlq("list", "--state", "resolved").out

    def test_pages(self, inside: Outbox) -> None:
        for number in range(5):
            die(inside, uuid.uuid4(), number)
        seen: list[str] = []
        words: list[str] = []

        for _ in range(3):
            ran = dlq("list", "--limit", "2", *words)
            seen += [line.split()[0] for line in ran.out.splitlines()[1:]]
            words = re.findall(r"(--after) (\S+)", ran.err)[0] if ran.err else []

        assert words == []
        assert len(set(seen)) == len(seen) == 5

    def test_conditions(self, inside: Outbox) -> None:
        letter, other = die(inside, "7", 1), die(inside, OTHER, 2, outcome=permanent("gone", "x"))
        inside.execute(
            "UPDATE outbox_dlq SET moved_at = now() - interval '2 h' WHERE id = %s", [letter]
        )
        fingerprint = str(dead_letters.get(letter).letter.fingerprint)
        for words in (
            ("--class", "http_422"),
            ("--aggregate", "JOB/7"),
            ("--before", "1h"),
            ("--fingerprint", fingerprint[:6]),
            ("--since", "3h", "--before", "90m"),
            ("--class", "http_422", "--type", "Counted", "--destination", "default"),
        ):
            found = dlq("list", *words).out
            assert str(letter)[:8] in found, words
            assert str(other)[:8] not in found, words
        assert dlq("list", "--aggregate", "JOB").out.count("\n") == 3
        assert "no dead letter" in dlq("list", "--requeued", "1").out

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (["--since", "yesterday"], "is no time"),
            (["--fingerprint", "xyz"], "it is the beginning of one"),
            (["--limit", "0"], "is no number of dead letters"),
            (["--limit", "many"], "is no number of dead letters"),
            (["--after", "x"], "is not what a list has ended with"),
            (["--aggregate", "JOB/"], "aggregate_id has 0 characters"),
            (["--state", "lost"], "invalid choice"),
            (["--database", "nowhere"], "There is no database 'nowhere'"),
        ],
    )
    def test_bad_conditions(self, inside: Outbox, words: list[str], told: str) -> None:
        assert told in dlq("list", *words, code=misuse(words)).err

    def test_json_has_the_documented_keys(self, inside: Outbox) -> None:
        die(inside, JOB, 1)

        found = json.loads(dlq("list", "--format", "json").out)

        page = (ROOT / "docs/reference/outbox_dlq.md").read_text()
        assert set(found) == {"format_version", "database", "dead_letters", "next"}
        assert {key for key in found["dead_letters"][0] if f"`{key}`" not in page} == set()
        died = datetime.fromisoformat(found["dead_letters"][0]["died_at"])
        assert died.utcoffset() == timedelta(0)


def misuse(_words: list[str]) -> int:
    # Through call_command argparse's own errors are CommandErrors of 1; as a process they exit 2.
    return 2 if _words[0] in {"--fingerprint", "--aggregate", "--database"} else 1


class TestShow:
    def test_everything_and_no_secret(self, inside: Outbox) -> None:
        inside.publish("order 7", 1, metadata={"session_id": "hush", "correlation_id": "c1"})
        inside.publish("order 7", 2, 3)
        inside.execute(
            'UPDATE outbox_events SET payload = payload || \'{"api_key": "hush", "n": 1}\' '
            "WHERE payload ->> 'n' = '1'"
        )
        inside.drain(refusing(1, outcome=SECRET))
        letter = inside.value("SELECT id FROM outbox_dlq")
        dead_letters.discard(letter, by="anna", note="its password=hush was wrong")
        dead_letters.restore(letter, **BY)

        for words in ([], ["--format", "json"]):
            out = dlq("show", str(letter), *words).out
            assert "hush" not in out
            assert "abcdef0123456789" not in out
            assert out.count("[redacted]") >= 4
        out = dlq("show", str(event_of(inside, letter))).out
        assert f"dead letter: {letter}" in out
        assert "JOB order 7 (" in out
        assert "correlation_id" in out
        assert re.search(r"died +\S+ +Authorization", out)
        assert re.search(r"discarded +anna +its password=", out)

    def test_what_waits_behind_it(self, inside: Outbox) -> None:
        letter = die(inside, JOB, 1, 2, 3)

        out = dlq("show", str(letter)[:8]).out

        assert "holds back: 2 events of its aggregate wait behind it" in out
        inside.execute("DELETE FROM outbox_events WHERE status = 'FAILED'")
        assert "event: Counted v1, gone (a requeue makes it again)" in dlq("show", str(letter)).out

    def test_what_it_waits_behind(self, inside: Outbox) -> None:
        first = die(inside, JOB, 1, 2)
        dead_letters.discard(first, **BY)
        inside.drain(refusing(2))
        dead_letters.restore(first, **BY)

        assert "behind: its aggregate waits behind event" in dlq("show", str(first)).out

    def test_json_has_the_documented_keys(self, inside: Outbox) -> None:
        letter = die(inside, JOB, 1, 2)

        found = json.loads(dlq("show", str(letter), "--format", "json").out)

        page = (ROOT / "docs/reference/outbox_dlq.md").read_text()
        assert set(found) == {"format_version", "database", "dead_letter"}
        keys = {*found["dead_letter"], *found["dead_letter"]["actions"][0]}
        assert {key for key in keys if f"`{key}`" not in page} == set()
        assert (found["dead_letter"]["payload"], found["dead_letter"]["followers"]) == ({"n": 1}, 1)

    def test_there_is_none(self, inside: Outbox) -> None:
        assert "There is no dead letter 'nonsense'" in dlq("show", "nonsense", code=1).err

    def test_control_characters_stay_out_of_tables(self, inside: Outbox) -> None:
        die(inside, JOB, 1, outcome=permanent("x", "\x1b[31mred\x1b[0m"))

        assert "\x1b" not in dlq("list").out


class TestAct:
    @pytest.mark.parametrize(
        ("act", "end"),
        [("requeue", "requeued"), ("resolve", "resolved"), ("discard", "discarded")],
    )
    def test_some_by_their_ids(self, inside: Outbox, act: str, end: str) -> None:
        letter, other = die(inside, JOB, 1), die(inside, OTHER, 2)

        ran = dlq(
            *(act, str(letter)[:8], str(event_of(inside, other))),
            *("--reason", "the hook has moved", "--by", "anna"),
        )

        assert ran.out == (f"Dead letter {letter} was {end}.\nDead letter {other} was {end}.\n")
        assert states(inside) == [end.upper()] * 2
        assert dead_letters.get(letter).letter.note == "the hook has moved"
        assert dead_letters.get(letter).letter.resolved_by == "anna"

    def test_restore(self, inside: Outbox) -> None:
        letter = die(inside, JOB, 1)
        dlq("discard", str(letter), "--note", "not needed")

        dlq("restore", str(letter), "--note", "needed")

        assert states(inside) == ["OPEN"]

    def test_by_whom_is_the_systems_user(self, inside: Outbox) -> None:
        import getpass

        letter = die(inside, JOB, 1)
        dlq("discard", str(letter), "--reason", "x")

        assert dead_letters.get(letter).letter.resolved_by == getpass.getuser()

    def test_the_others_are_done_where_one_is_refused(self, inside: Outbox) -> None:
        letter, other = die(inside, JOB, 1), die(inside, OTHER, 2)
        dead_letters.discard(letter, **BY)

        ran = dlq("requeue", str(letter), str(other), "--reason", "x", code=1)

        assert f"Dead letter {letter} was discarded by anna at" in ran.err
        assert ran.out == f"Dead letter {other} was requeued.\n"

    def test_what_waits_behind_another_is_told(self, inside: Outbox) -> None:
        first = die(inside, JOB, 1, 2)
        dead_letters.discard(first, **BY)
        inside.drain(refusing(2))
        dead_letters.restore(first, **BY)

        ran = dlq("requeue", str(first), "--reason", "x")

        assert re.search(r"Its aggregate waits behind event \S+, which goes first", ran.out)

    @pytest.mark.parametrize("act", ["requeue", "resolve", "discard"])
    def test_a_dry_run_does_nothing(self, inside: Outbox, act: str) -> None:
        letter = die(inside, JOB, 1)

        assert "1 dead letter would be" in dlq(act, str(letter), "--dry-run").out
        assert "1 dead letter of 1 that fit, in 1 aggregate, would be" in (
            dlq(act, "--all", "--dry-run").out
        )

        assert states(inside) == ["OPEN"]

    def test_a_dry_run_leaves_alone_what_the_command_would(self, inside: Outbox) -> None:
        letter, done = die(inside, JOB, 1), die(inside, OTHER, 2)
        dead_letters.resolve(done, **BY)

        out = dlq("requeue", str(letter), str(done), "--dry-run").out
        assert out.endswith(
            "1 dead letter would be requeued.\n1 dead letter would be left alone.\n"
        )
        out = dlq("restore", str(letter), str(done), "--dry-run").out
        assert out.endswith(
            "1 dead letter would be restored.\n1 dead letter would be left alone.\n"
        )

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            ([], "Say which: by ids, by conditions such as --class, or --all"),
            (["ID"], "--reason TEXT is missing"),
            (["ID", "--reason", " "], "--reason TEXT is missing"),
            (["ID", "--all", "--reason", "x"], "not several of these"),
            (["ID", "--class", "x", "--reason", "x"], "not several of these"),
            (["ID", "--limit", "3", "--reason", "x"], "not several of these"),
            (["ID", "--rate", "3", "--reason", "x"], "--limit, --rate and --batch are for the"),
            (["--all", "--class", "x", "--reason", "x"], "--all leaves no room for conditions"),
            (["--all"], "--reason TEXT is missing"),
            (["ID", "--reason", "x", "--by", ""], "by is ''"),
            (["ID", "--reason", "x" * 3_000], "the reason has 3000 characters"),
        ],
    )
    def test_misuse_changes_nothing(self, inside: Outbox, words: list[str], told: str) -> None:
        letter = die(inside, JOB, 1)
        given = [str(letter) if word == "ID" else word for word in words]

        assert told in dlq("requeue", *given, code=2).err

        assert states(inside) == ["OPEN"]


class TestResend:
    def test_a_patch_leaves_the_rest_as_it_is(self, inside: Outbox) -> None:
        letter = die(inside, JOB, 1, 2)
        inside.execute('UPDATE outbox_dlq SET payload = \'{"n": 1, "token": "hush"}\'')

        shown = dlq("resend", str(letter), "--patch", '{"n": 10}', "--dry-run").out
        ran = dlq("resend", str(letter), "--patch", '{"n": 10}', "--reason", "x")

        assert "[redacted]" in shown
        assert "hush" not in shown
        (copy,) = re.findall(
            rf"Dead letter {letter} was resent\.\n  Its copy is event (\S+)\.", ran.out
        )
        recorder = inside.drain()
        assert recorder.numbers == [10, 2]
        assert recorder.delivered[0].payload == {"n": 10, "token": "hush"}
        assert str(recorder.delivered[0].id) == copy
        assert f"copy: event {copy}" in dlq("show", str(letter)).out

    def test_a_whole_payload_of_a_file(self, inside: Outbox, tmp_path: Path) -> None:
        letter = die(inside, JOB, 1)
        file = tmp_path / "payload.json"
        file.write_text('{"n": 11, "ü": "💥"}', encoding="utf-8")

        dlq("resend", str(letter), "--payload", str(file), "--reason", "x")

        assert inside.drain().delivered[0].payload == {"n": 11, "ü": "💥"}

    def test_or_of_stdin(self, inside: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
        letter = die(inside, JOB, 1)
        monkeypatch.setattr("sys.stdin", io.StringIO('{"n": 12}'))

        dlq("resend", str(letter), "--payload", "-", "--reason", "x")

        assert inside.drain().numbers == [12]

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (["--patch", "{"], "--patch is no JSON"),
            (["--patch", '{"n": NaN}'], "--patch is no JSON: NaN is no JSON"),
            (["--patch", '{"n": "\\u0000"}'], "NUL"),
            (["--patch", '{"n": "[redacted]"}'], "screens put in place of secrets"),
            (["--payload", "/nowhere/to/be/found"], "cannot be read"),
            (["--payload", "/"], "cannot be read"),
        ],
    )
    def test_misuse_changes_nothing(self, inside: Outbox, words: list[str], told: str) -> None:
        letter = die(inside, JOB, 1)

        assert told in dlq("resend", str(letter), *words, "--reason", "x", code=2).err

        assert states(inside) == ["OPEN"]


def test_states_can_all_be_listed(inside: Outbox) -> None:
    for one in DeadLetterState:
        dlq("list", "--state", one.lower())
