"""Each option of each command, given what nobody should give it: one line, and an exit code."""

from __future__ import annotations

import io
import re
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from tests.hostile import LONGEST_ERROR, SECRET, TEXTS, rows

pytestmark = pytest.mark.django_db

ID = str(uuid.UUID(int=1))
HALF_A_PAIR = re.compile("[\ud800-\udfff]")
#: Where the value goes.
X = "\0here\0"
NUMBERS = {
    "zero": "0",
    "negative": "-1",
    "2**63": str(2**63),
    "10,000 digits": "1" * 10_000,
    "a fraction": "1.5",
    "NaN": "nan",
    "infinity": "inf",
    "an exponent": "1e400",
    "other digits": "\u0661",
    "underlines": "1_0",
}
TIMES = {
    "year 1": "0001-01-01T00:00:00+14:00",
    "year 9999": "9999-12-31T23:59:59-12:00",
    "no such day": "2026-02-30",
    "a long span": "9" * 30 + "d",
    "infinity": "infinity",
    "a week": "2026-W01",
}
VALUES = {**TEXTS, **NUMBERS, **TIMES}
JSON_TEXTS = {
    "nothing": "",
    "NaN": '{"n": NaN}',
    "infinity": '{"n": [Infinity]}',
    "half": "{",
    "10,000 digits": '{"n": ' + "1" * 10_000 + "}",
    "100,000 lists": "[" * 100_000 + "]" * 100_000,
    "900 dicts": '{"a":' * 900 + "1" + "}" * 900,
    "NUL": '{"n": "a\\u0000"}',
    "half a surrogate pair": '{"n": "\\ud800"}',
    "a key twice": '{"n": 1, "n": 2}',
    "a list": "[]",
    "null": "null",
    "an exponent": '{"n": 1e999999}',
}

WITH_WORDS = [
    ("jobs_act", X, "hold", "--reason", "why"),
    ("jobs_act", ID, "hold", f"--reason={X}"),
    ("jobs_act", ID, "set-priority", f"--priority={X}", "--reason", "why"),
    ("jobs_act", ID, X, "--reason", "why"),
    *(("hodei_roles", "--dry-run", f"--{option}={X}") for option in ("database", "format")),
    ("jobs_enqueue", "--spec", X),
    *(
        ("jobs_enqueue", f"--{option}={X}", "--", "echo")
        for option in (
            *("name", "queue", "priority", "delay", "timeout", "max-attempts", "key", "database"),
        )
    ),
    ("jobs_enqueue", "--", X),
    ("jobs_enqueue", "--", "echo", X),
    ("jobs_logs", X),
    ("jobs_show", X),
    ("jobs_show", "--format", X, ID),
    ("jobs_provider", "add", X, "--type", "process"),
    *(("jobs_provider", act, X, "--reason", "why") for act in ("enable", "disable", "remove")),
    *(
        ("jobs_provider", "add", "x", "--type", "process", f"--{option}={X}")
        for option in ("type", "config", "capabilities", "priority", "max-workers", "tags")
    ),
    *(
        ("jobs_prune", "--dry-run", f"--{option}={X}")
        for option in ("succeeded", "cancelled", "failed", "timeout", "audit", "workers", "tokens")
    ),
    *(
        ("jobs_requeue", "--dry-run", f"--{option}={X}")
        for option in ("queue", "name", "kind", "since", "limit", "state", "reason")
    ),
    *(("jobs_schedule", act, X) for act in ("enable", "disable", "remove")),
    ("jobs_schedule", "add", X, "--cron", "* * * * *", "--command", "echo"),
    ("jobs_schedule", "add", "x", "--cron", X, "--command", "echo"),
    ("jobs_schedule", "add", "x", "--cron", "* * * * *", "--command", "echo", X),
    *(
        ("jobs_schedule", "add", "x", "--cron", "* * * * *", f"--{option}={X}", "--command", "echo")
        for option in ("zone", "spec", "overlap", "missed", "queue", "priority", "timeout")
    ),
    *(("jobs_worker", "--drain", f"--{option}={X}") for option in ("database",)),
    *(
        ("outbox_dlq", "list", f"--{option}={X}")
        for option in (
            *("class", "type", "aggregate", "destination", "fingerprint", "since", "before"),
            *("requeued", "limit", "after", "state"),
        )
    ),
    *(
        ("outbox_dlq", act, X, "--reason", "why")
        for act in ("requeue", "resolve", "discard", "restore")
    ),
    ("outbox_dlq", "show", X),
    ("outbox_dlq", "resend", X, "--patch", "{}", "--reason", "why"),
    ("outbox_dlq", "resend", ID, "--patch", X, "--reason", "why"),
    ("outbox_dlq", "resend", ID, "--payload", X, "--reason", "why"),
    *(
        ("outbox_dlq", "requeue", "--all", "--reason", "why", f"--{option}={X}")
        for option in ("limit", "rate", "batch", "by")
    ),
    ("outbox_relay", "--once", "--destination", X),
    ("outbox_relay", "--once", "--metrics-port", X),
    ("outbox_stream", "check", "--destination", X),
    ("sagas_show", X),
    *(
        ("sagas_list", f"--{option}={X}")
        for option in ("kind", "state", "outcome", "correlation-id", "key", "limit")
    ),
    ("sagas_act", X, "pause", "--reason", "why"),
    ("sagas_act", ID, "pause", f"--reason={X}"),
    ("sagas_act", ID, "retry", f"--step={X}", "--reason", "why"),
    ("sagas_act", ID, "skip", "--step=a", f"--output={X}", "--reason", "why"),
    ("sagas_act", ID, "extend", f"--until={X}", "--reason", "why"),
    ("sagas_act", ID, X, "--reason", "why"),
    ("sagas_runner", "--drain", f"--kinds={X}"),
    ("schema_history", f"--since={X}"),
    ("schema_history", f"--limit={X}"),
]


def answer(*words: str) -> str | None:
    """What the command says where it fails; None where it does not. Raises what is no answer."""
    try:
        call_command(*words, stdout=io.StringIO(), stderr=io.StringIO())
    except CommandError as error:
        return str(error) if error.returncode in {1, 2, 3} else f"exit code {error.returncode}\n\n"
    except SystemExit as end:
        return None if end.code in {1, 2, 3} else f"exit code {end.code}\n\n"
    return None


def wrong_with(words: tuple[str, ...], values: dict[str, str]) -> list[str]:
    found = []
    before = rows()
    for name, value in values.items():
        try:
            said = answer(*(word.replace(X, value) for word in words))
        except Exception as error:  # noqa: BLE001  (it is what is looked for)
            text = f"{type(error).__name__}: {error}"
            found.append(f"{name}: {text[:200]!a}")
            said = None
        if said is None:
            before = rows()
            continue
        if rows() != before:
            found.append(f"{name}: it left rows behind")
        # What argparse says of a word it shows whole, to whoever has just typed it.
        is_ours = not said.startswith("Error: ")
        lines = len(said.strip().splitlines())
        if not said or lines != 1 or (is_ours and len(said) > LONGEST_ERROR):
            found.append(f"{name}: {lines} lines, {len(said)} characters")
        if SECRET in said and is_ours:
            found.append(f"{name}: it tells a secret: {said[:200]!a}")
        if HALF_A_PAIR.search(said):
            found.append(f"{name}: it cannot be printed: {said[:200]!a}")
    return found


@pytest.mark.parametrize("words", WITH_WORDS, ids=lambda words: " ".join(words).replace(X, "X"))
def test_an_option_is_taken_or_refused_in_one_line(words: tuple[str, ...]) -> None:
    assert wrong_with(words, VALUES) == []


@pytest.mark.parametrize(
    "words",
    [
        ("jobs_enqueue", "--spec", X),
        ("jobs_provider", "add", "x", "--type", "process", "--config", X),
        ("jobs_provider", "add", "y", "--type", "process", "--capabilities", X),
        ("jobs_schedule", "add", "x", "--cron", "* * * * *", "--spec", X),
        ("outbox_dlq", "resend", ID, "--payload", X, "--reason", "why"),
    ],
    ids=lambda words: " ".join(words).replace(X, "X"),
)
def test_a_file_is_taken_or_refused_in_one_line(words: tuple[str, ...], tmp_path: Path) -> None:
    files = {}
    for number, (name, text) in enumerate(JSON_TEXTS.items()):
        file = tmp_path / f"{number}.json"
        file.write_text(text)
        files[name] = str(file)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe{}")
    files |= {"bytes": str(tmp_path / "bytes"), "a folder": str(tmp_path), "NUL": "\0"}

    assert wrong_with(words, files) == []


@pytest.mark.parametrize(
    "words",
    [
        ("outbox_dlq", "resend", ID, f"--patch={X}", "--reason", "why"),
        ("sagas_act", ID, "skip", "--step=a", f"--output={X}", "--reason", "why"),
    ],
    ids=lambda words: words[0],
)
def test_json_is_taken_or_refused_in_one_line(words: tuple[str, ...]) -> None:
    assert wrong_with(words, JSON_TEXTS) == []


def test_arguments_may_be_bytes_that_are_no_text(capsys: Any) -> None:
    with pytest.raises(CommandError, match=r"--queue is 'a\\udcff'; it holds half a surrogate"):
        call_command(
            "jobs_requeue", "--dry-run", "--queue", b"a\xff".decode(errors="surrogateescape")
        )
