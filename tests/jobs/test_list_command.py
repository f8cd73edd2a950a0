"""jobs_list: what an operator finds who knows no id."""

from __future__ import annotations

import json
import uuid
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from jobs.management.commands.jobs_list import WIDTH
from tests.jobs.conftest import Jobs

pytestmark = pytest.mark.django_db


def listed(*words: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("jobs_list", *words, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def found(*words: str) -> list[dict[str, Any]]:
    document = json.loads(listed(*words, "--format", "json")[0])
    assert (document["format_version"], document["database"]) == (1, "default")
    jobs: list[dict[str, Any]] = document["jobs"]
    return jobs


def ids(*words: str) -> list[uuid.UUID]:
    return [uuid.UUID(one["id"]) for one in found(*words)]


def fails(jobs: Jobs, job: uuid.UUID, error: str) -> None:
    jobs.execute("DELETE FROM job_queue WHERE job_id = %s", [job])
    jobs.execute(
        "UPDATE jobs SET state = 'FAILED', attempts = 3, error_message = %s WHERE id = %s",
        [error, job],
    )


def test_the_newest_is_first(jobs: Jobs) -> None:
    old, new = jobs.enqueue(1), jobs.enqueue(2)
    jobs.execute("UPDATE jobs SET created_at = created_at - interval '1 hour' WHERE id = %s", [old])

    assert ids() == [new, old]
    assert ids("--limit", "1") == [new]
    assert ids("--since", "30m") == [new]


def test_each_condition_must_hold(jobs: Jobs) -> None:
    job = jobs.enqueue(1, queue="mail", name="greet", correlation_id="c1")
    jobs.enqueue(2, queue="mail")
    fails(jobs, jobs.enqueue(3, queue="mail", name="greet"), "no")

    words = ("--queue", "mail", "--name", "greet", "--state", "PENDING", "--correlation-id", "c1")

    assert ids(*words) == ids("--correlation-id", "c1") == [job]
    assert len(ids("--queue", "mail")) == 3
    assert ids(*words[:-1], "c2") == []


def test_the_table_tells_why_and_fits(jobs: Jobs) -> None:
    job = jobs.enqueue(1, name="greet", max_attempts=3)
    fails(jobs, job, f"password=hush\n{'x' * 300}")

    out, err = listed("--state", "FAILED")

    titles, line, why = out.splitlines()
    assert titles.split() == ["job", "state", "queue", "attempts", "enqueued"]
    assert line.startswith(f"{job}  FAILED  default  ")
    assert "3 of 3" in line
    assert line.endswith(" ago")
    assert why.startswith("    greet: password=[redacted] xxx")
    assert max(map(len, out.splitlines())) <= WIDTH
    assert err == ""


def test_the_error_of_json_is_redacted_and_cut(jobs: Jobs) -> None:
    fails(jobs, jobs.enqueue(1), f"password=hush {'x' * 500}")

    (one,) = found()

    assert one["error"].startswith("password=[redacted] xxx")
    assert len(one["error"]) <= 410
    assert one["attempts"] == one["max_attempts"] == 3


def test_a_list_that_is_cut_says_so(jobs: Jobs) -> None:
    jobs.enqueue(1)
    jobs.enqueue(2)

    assert listed("--limit", "1")[1] == ("There may be more than 1; --limit goes up to 10,000.\n")
    assert listed("--limit", "3")[1] == ""


def test_of_nothing() -> None:
    assert listed() == ("No job matches.\n", "")
    assert found() == []


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--limit", "0"), "'0' is no number of jobs; give 1 to 10,000"),
        (("--limit", "10001"), "give 1 to 10,000"),
        (("--since", "soon"), "'soon' is no time"),
        (("--state", "LOST"), "invalid choice: 'LOST'"),
        (("--database", "nowhere"), "There is no database 'nowhere'"),
    ],
)
def test_misuse(words: tuple[str, ...], text: str) -> None:
    with pytest.raises(CommandError, match=text):
        listed(*words)


@pytest.mark.parametrize("text", ["'; DROP TABLE jobs; --", "%s", "\N{SNOWMAN}", "x" * 9_999])
def test_hostile_words_match_nothing(jobs: Jobs, text: str) -> None:
    jobs.enqueue(1)

    assert listed("--queue", text, "--name", text, "--correlation-id", text)[0] == (
        "No job matches.\n"
    )
