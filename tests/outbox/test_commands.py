"""What an operator types: outbox_dlq, outbox_stats, outbox_prune."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
import uuid
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connections

from outbox.management.wording import age, one_line, short_age
from outbox.outcomes import down, permanent
from outbox.services import dead_letters
from outbox.services.dead_letters import LetterFilter
from outbox.states import DeadLetterState
from tests.databases import alias_of, new_database
from tests.outbox.conftest import Outbox
from tests.outbox.dead import JOB, OTHER, die, event_of, refusing
from tests.processes import ROOT, environment, eventually

BY = {"by": "anna", "note": "enough"}
SECRET = permanent("http_401", "Authorization: Bearer abcdef0123456789 was refused, password=hush")


class Ran:
    """A command that has ended."""

    def __init__(self, *words: str, code: int = 0, stdin: str = "") -> None:
        out, err = io.StringIO(), io.StringIO()
        self.code = 0
        try:
            call_command(*words, stdout=out, stderr=err)
        except CommandError as error:
            self.code = error.returncode
            err.write(str(error))
        except SystemExit as ended:
            self.code = int(ended.code or 0)
        self.out, self.err = out.getvalue(), err.getvalue()
        assert self.code == code, self.out + self.err
        for line in self.out.splitlines():
            assert len(line) <= 100 or "error: " in line, line


def dlq(*words: str, code: int = 0) -> Ran:
    return Ran("outbox_dlq", *words, code=code)


def states(outbox: Outbox) -> list[str]:
    found = dead_letters.list_letters(LetterFilter(state=None), limit=100)
    return sorted(letter.state for letter in found.letters)


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
            (["--limit", "0"], "is no number of things"),
            (["--limit", "many"], "is no number of things"),
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

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            ([], "Say which: by ids, by conditions such as --class, or --all"),
            (["ID"], "--reason TEXT is missing"),
            (["ID", "--reason", " "], "--reason TEXT is missing"),
            (["ID", "--all", "--reason", "x"], "not several of these"),
            (["ID", "--class", "x", "--reason", "x"], "not several of these"),
            (["ID", "--limit", "3", "--reason", "x"], "not several of these"),
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


class TestActOnAll:
    def test_all_that_fit(self, outbox: Outbox) -> None:
        for number in range(3):
            die(outbox, uuid.uuid4(), number)
        kept = die(outbox, JOB, 9, outcome=permanent("other", "x"))

        ran = dlq("requeue", "--class", "http_422", "--reason", "fixed", "--rate", "1000")

        assert ran.out == "3 dead letters were requeued.\n"
        assert "3 dead letters of 3 that fit, in 3 aggregates. Ctrl-C stops it" in ran.err
        assert [one.id for one in dead_letters.list_letters().letters] == [kept]

    def test_at_most_so_many_and_then_the_rest_of_the_batch(self, outbox: Outbox) -> None:
        for number in range(3):
            die(outbox, uuid.uuid4(), number)
        ran = dlq("discard", "--all", "--limit", "2", "--reason", "x")
        assert "2 dead letters of 3 that fit" in ran.err
        (batch,) = re.findall(r"--batch (\S+)", ran.err)

        assert dlq("discard", "--all", "--batch", batch, "--reason", "x").out == (
            "1 dead letter was discarded.\n"
        )

        assert (
            outbox.value(
                "SELECT count(DISTINCT batch_id) FROM outbox_dlq_actions WHERE batch_id IS NOT NULL"
            )
            == 1
        )

    def test_restore_by_conditions(self, outbox: Outbox) -> None:
        dead_letters.resolve(die(outbox, JOB, 1), **BY)
        dead_letters.discard(die(outbox, OTHER, 2), **BY)

        assert "1 dead letter was restored" in dlq("restore", "--all", "--reason", "x").out
        assert "1 dead letter was restored" in (
            dlq("restore", "--all", "--state", "resolved", "--reason", "x").out
        )
        assert states(outbox) == ["OPEN", "OPEN"]

    def test_what_was_refused_is_told(self, outbox: Outbox) -> None:
        die(outbox, JOB, 1)
        outbox.execute("UPDATE outbox_events SET status = 'PUBLISHED', published_at = now()")

        ran = dlq("requeue", "--all", "--reason", "x", code=1)

        assert "1 dead letter was left alone" in ran.err
        assert "was published at" in ran.err

    def test_nothing_fits(self, outbox: Outbox) -> None:
        assert dlq("requeue", "--all", "--reason", "x").out == (
            "There is no dead letter that fits.\n"
        )

    def test_a_signal_stops_it_and_it_is_gone_on_with(self, outbox: Outbox) -> None:
        for number in range(4):
            die(outbox, uuid.uuid4(), number)
        # One now, and the next one in a quarter of an hour.
        running = process("outbox_dlq", "requeue", "--all", "--reason", "x", "--rate", "0.001")
        assert eventually(lambda: states(outbox).count("REQUEUED") == 1, 60)

        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)

        assert running.returncode == 1
        assert out == "1 dead letter was requeued.\n"
        assert "Stopped: 3 left." in err
        (batch, *_) = re.findall(r"--batch (\S+)", err)
        assert dlq("requeue", "--all", "--batch", batch, "--reason", "x").out.startswith("3 ")


def process(*words: str) -> subprocess.Popen[str]:
    """A command on the test database, in a process of its own."""
    found = connections["default"].settings_dict
    url = "postgresql://{USER}@/{NAME}?host={HOST}&port={PORT}".format(**found)
    return subprocess.Popen(
        [sys.executable, "manage.py", *words],
        cwd=ROOT,
        env=environment(DATABASE_URL=url, PGPASSWORD=str(found["PASSWORD"] or "")),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


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

        assert " 0 published events" in Ran("outbox_prune", "--published-days", "keep").out
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


class TestHelp:
    @pytest.mark.parametrize(
        "words",
        [
            *(["outbox_dlq", name] for name in ("list", "show", "requeue", "resolve", "discard")),
            *(["outbox_dlq", name] for name in ("restore", "resend")),
            *(["outbox_dlq"], ["outbox_stats"], ["outbox_prune"]),
        ],
    )
    def test_every_option_is_explained_and_documented(
        self, words: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as ended:
            call_command(*words, "--help") if len(words) == 1 else help_of(*words)

        assert ended.value.code == 0
        text = capsys.readouterr().out
        page = (ROOT / f"docs/reference/{words[0]}.md").read_text()
        for option in set(re.findall(r"--[a-z][a-z-]+", text)) - DJANGOS:
            assert option in page, option

    def test_misuse_as_a_process_is_2(self) -> None:
        done = subprocess.run(
            [sys.executable, "manage.py", "outbox_dlq", "requeue", "--rate", "none"],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )

        assert done.returncode == 2
        assert "'none' is no rate; give a number above 0." in done.stderr


DJANGOS = {
    *("--help", "--version", "--verbosity", "--settings", "--pythonpath", "--traceback"),
    *("--no-color", "--force-color", "--skip-checks", "--class"),
}


def help_of(command: str, subcommand: str) -> None:
    from django.core.management import load_command_class

    load_command_class("outbox", command).create_parser("manage.py", command).parse_args(
        [subcommand, "--help"]
    )


@pytest.mark.parametrize(
    ("seconds", "long", "short"),
    [
        (None, "-", "-"),
        (-5, "0 s", "0 s"),
        (0.4, "0 s", "0 s"),
        (59, "59 s", "59 s"),
        (125, "2 min", "2 min"),
        (3_600, "1 h", "1 h"),
        (12_000, "3 h 20 min", "3 h"),
        (90_061, "1 d 1 h", "1 d"),
        (86_400 * 400 + 120, "400 d 2 min", "400 d"),
    ],
)
def test_ages(seconds: float | None, long: str, short: str) -> None:
    assert (age(seconds), short_age(seconds)) == (long, short)


def test_one_line() -> None:
    assert one_line("a\n  b\tpassword=x") == "a b password=[redacted]"
    assert one_line(None) == one_line(" ") == "-"


def test_states_can_all_be_listed(inside: Outbox) -> None:
    for one in DeadLetterState:
        dlq("list", "--state", one.lower())
