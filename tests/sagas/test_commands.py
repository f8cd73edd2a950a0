"""What an operator types: sagas_runner, sagas_list, sagas_show, sagas_act, sagas_prune."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, timedelta
from typing import Any

import pytest
from django.core.management import call_command, load_command_class
from django.core.management.base import CommandError
from django.db import connections
from django.utils import timezone

from sagas import registry
from sagas.definition import Later, Saga, Step, StepContext, StepFailed
from sagas.models import Saga as SagaModel
from sagas.models import SagaAuditEvent
from sagas.services.start import start
from sagas.states import SagaOutcome, StepState
from sagas.testing import run_sagas, seen
from tests.commands import Ran
from tests.databases import alias_of
from tests.sagas.conftest import Sagas
from tests.sagas.world import local, remote, undo_local, undo_remote

world: dict[str, Exception] = {}


def act(context: StepContext) -> dict[str, str]:
    if context.step in world:
        raise world[context.step]
    return {"token": "hush-hush", "step": context.step}


def undo(context: StepContext) -> None:
    if f"undo {context.step}" in world:
        raise world[f"undo {context.step}"]


class Shown(Saga):
    kind = "SHOWN"
    deadline = timedelta(hours=1)
    steps = (
        Step("first", act, undo, local=True),
        Step("second", act, undo),
        Step("third", act, undo),
    )


@pytest.fixture(autouse=True)
def shown() -> Iterator[None]:
    world.clear()
    registry.register(Shown)
    yield
    registry.unregister(Shown)


def waiting() -> uuid.UUID:
    world["second"] = Later(3_600)
    saga = start("SHOWN", {"order": 7, "password": "hush-hush"}, key="order 7", actor="ada")
    run_sagas()
    return saga


def parked() -> uuid.UUID:
    world.update({"third": StepFailed("no"), "undo second": StepFailed("no", retry=False)})
    saga = start("SHOWN", {}, correlation_id="c")
    run_sagas(later=True)
    return saga


@pytest.mark.django_db
class TestList:
    def test_how_far_they_are_and_what_they_wait_for(self) -> None:
        incident = parked()
        world.clear()
        saga = waiting()

        ran = Ran("sagas_list")

        title, first, waits, second, person = ran.out.splitlines()
        assert title.split() == ["id", "kind", "state", "steps", "age"]
        assert first.split()[:4] == [str(saga), "SHOWN", "IN_PROGRESS", "1/3"]
        assert waits.strip().startswith("waits for 20")
        assert second.split()[:4] == [str(incident), "SHOWN", "COMPENSATION_FAILED", "0/3"]
        assert "waits for a person: What is left behind: second." in person
        assert all(len(line) <= 100 for line in ran.out.splitlines())

    def test_filters(self) -> None:
        incident = parked()
        world.clear()
        saga = waiting()

        def ids(*words: str) -> list[str]:
            return [
                row["id"] for row in Ran("sagas_list", "--format", "json", *words).json["sagas"]
            ]

        assert ids() == [str(saga), str(incident)]
        assert ids("--live") == [str(saga)]
        assert ids("--needs-a-person") == [str(incident)]
        assert ids("--state", "FAILED") == [str(incident)]
        assert ids("--outcome", "COMPENSATION_FAILED") == [str(incident)]
        assert ids("--correlation-id", "c") == [str(incident)]
        assert ids("--key", "order 7") == [str(saga)]
        assert ids("--kind", "OTHER") == []
        assert ids("--limit", "1") == [str(saga)]
        assert "No saga matches." in Ran("sagas_list", "--kind", "OTHER").out
        assert "may be more" in Ran("sagas_list", "--limit", "1").err

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"definition_version": 9}, "a runner with SHOWN version 9"),
            ({"saga_type": "NO_SUCH"}, "a runner with NO_SUCH version 1"),
            ({"steps_hash": "x"}, "a runner with the steps that SHOWN version 1 had when"),
            ({"lease_owner": "me"}, "its runner me"),
            ({"lease_owner": "me", "definition_version": 9}, "its runner me"),
            ({"pause_requested_at": timezone.now()}, "somebody to resume it"),
            ({"due_at": timezone.now()}, "a runner"),
            ({"incident": "do something"}, "a person: do something"),
        ],
    )
    def test_what_a_live_saga_waits_for(self, change: dict[str, Any], words: str) -> None:
        saga = waiting()
        if "lease_owner" in change:
            change = {**change, "lease_until": timezone.now() + timedelta(minutes=1)}
        SagaModel.objects.filter(pk=saga).update(**change)

        (row,) = Ran("sagas_list", "--format", "json").json["sagas"]

        assert row["waits_for"].startswith(words)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({}, "a runner"),
            ({"definition_version": 9}, "a runner with SHOWN version 9"),
            ({"pause_requested_at": timezone.now()}, None),
            ({"lease_owner": "me"}, None),
        ],
    )
    def test_what_no_runner_takes_says_since_when(
        self, change: dict[str, Any], words: str | None
    ) -> None:
        saga = waiting()
        if "lease_owner" in change:
            change = {**change, "lease_until": timezone.now() + timedelta(minutes=1)}
        due = timezone.now() - timedelta(minutes=2)
        SagaModel.objects.filter(pk=saga).update(due_at=due, **change)

        (row,) = Ran("sagas_list", "--format", "json").json["sagas"]

        since = f"; since {due.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
        assert row["waits_for"].endswith(since) is (words is not None)
        if words is not None:
            assert row["waits_for"] == words + since

    @pytest.mark.parametrize(
        "words", [("--limit", "0"), ("--limit", "x"), ("--state", "NOWHERE"), ("--database", "no")]
    )
    def test_misuse(self, words: tuple[str, ...]) -> None:
        with pytest.raises(CommandError):
            call_command("sagas_list", *words)


@pytest.mark.django_db
class TestShow:
    def test_one_whole_without_secrets(self) -> None:
        saga = waiting()

        ran = Ran("sagas_show", str(saga))

        assert "hush" not in ran.out
        for line in (
            f"saga                {saga}",
            "kind                SHOWN version 1",
            "state               IN_PROGRESS",
            "key                 order 7",
            "actor               ada",
        ):
            assert line in ran.out
        assert "first   COMPLETED" in ran.out
        assert re.search(r"^20\d\d-\d\d-\d\d [0-9:.]{12}  STEP_WAITS ", ran.out, re.MULTILINE)
        assert re.search(r"^started at +20\d\d-\d\d-\d\d [0-9:]{8} UTC$", ran.out, re.MULTILINE)

    def test_as_json(self) -> None:
        saga = waiting()
        found = Ran("sagas_show", str(saga), "--format", "json").json

        assert "hush" not in json.dumps(found)
        assert (found["format_version"], found["database"]) == (1, "default")
        assert [step["state"] for step in found["steps"]] == ["COMPLETED", "PENDING", "PENDING"]
        assert found["steps"][1]["waits"] == 1
        assert [one["step"] for one in found["attempts"]] == ["first", "second"]
        assert found["events"][0]["event"] == "SAGA_STARTED"

    def test_what_is_not_there(self) -> None:
        assert "There is no saga" in Ran("sagas_show", str(uuid.UUID(int=1)), code=1).err
        with pytest.raises(CommandError, match="is no id of a saga"):
            call_command("sagas_show", "x")


@pytest.mark.django_db
class TestAct:
    def test_an_action_with_its_reason(self) -> None:
        saga = parked()

        ran = Ran("sagas_act", str(saga), "mark-handled", "--step", "second", "--reason", "by hand")

        assert ran.out == "second was undone by hand.\n"
        told = SagaAuditEvent.objects.filter(saga_id=saga).order_by("-occurred_at")[0]
        assert told.payload["reason"] == "by hand"
        assert "@" in told.payload["actor"]
        run_sagas()
        assert seen(saga).outcome is SagaOutcome.COMPENSATED
        assert "by hand" in Ran("sagas_show", str(saga)).out

    def test_a_dry_run_says_what_it_would_do(self) -> None:
        saga = parked()
        before = SagaAuditEvent.objects.count()

        ran = Ran("sagas_act", str(saga), "retry-compensation", "--reason", "x", "--dry-run")

        assert ran.out == "Undone once more: second.\n"
        assert "Nothing was changed" in ran.err
        assert SagaAuditEvent.objects.count() == before
        assert seen(saga).steps["second"] is StepState.PARKED

    def test_skipping_with_an_output(self) -> None:
        saga = waiting()
        world.clear()

        Ran(
            *("sagas_act", str(saga), "skip", "--step", "second"),
            *("--output", '{"id": 7}', "--reason", "x"),
        )
        run_sagas()

        assert seen(saga).outputs["second"] == {"id": 7}

    def test_another_deadline(self) -> None:
        saga = waiting()

        Ran("sagas_act", str(saga), "extend", "--until", "2999-01-01T12:00", "--reason", "x")
        assert SagaModel.objects.get(pk=saga).deadline_at.year == 2999
        Ran("sagas_act", str(saga), "extend", "--until", "7d", "--reason", "x")
        assert SagaModel.objects.get(pk=saga).deadline_at.year < 2999
        Ran("sagas_act", str(saga), "extend", "--until", "never", "--reason", "x")
        assert SagaModel.objects.get(pk=saga).deadline_at is None

    def test_what_is_refused(self) -> None:
        saga = str(waiting())

        refused = Ran("sagas_act", saga, "resume", "--reason", "x", code=1)
        assert refused.err == "The saga is not paused. Nothing was changed."
        assert (
            "There is no saga"
            in Ran("sagas_act", str(uuid.UUID(int=1)), "pause", "--reason", "x", code=1).err
        )

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("pause",), "Say why"),
            (("pause", "--reason", "  "), "Say why"),
            (("pause", "--reason", "x", "--step", "a"), "pause takes no --step"),
            (("retry", "--reason", "x"), "retry needs --step"),
            (("extend", "--reason", "x"), "extend needs --until"),
            (("retry", "--step", "second", "--output", "1", "--reason", "x"), "takes no --output"),
            (("explode", "--reason", "x"), "invalid choice"),
            (("skip", "--step", "second", "--output", "{", "--reason", "x"), "is no JSON"),
            (("extend", "--until", "tomorrow", "--reason", "x"), "is no time"),
            (("pause", "--reason", "x" * 1_001), "at most 1,000"),
        ],
    )
    def test_misuse(self, words: tuple[str, ...], message: str) -> None:
        saga = str(waiting())
        with pytest.raises(CommandError, match=message) as misuse:
            call_command("sagas_act", saga, *words)
        assert misuse.value.returncode in {1, 2}


class TestRunner:
    def test_it_drains(self, sagas: Sagas) -> None:
        class Drained(Saga):
            kind = "DRAINED"
            steps = (Step("a", local, undo_local, local=True), Step("b", remote, undo_remote))

        saga = sagas.start(Drained)
        other = sagas.start(Shown)

        ran = Ran("sagas_runner", "--drain", "--kinds", "DRAINED")

        assert ran.out == "1 saga ended, 1 call\n"
        assert "drives sagas of DRAINED." in ran.err
        assert seen(saga).outcome is SagaOutcome.COMPLETED
        assert seen(other).outcome is None

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("--concurrency", "0"), "give 1 to 1,000"),
            (("--poll", "0"), "give 0.05 to 3,600"),
            (("--kinds", "A,"), "no list of kinds"),
            (("--kinds", "NO_SUCH"), "registered are"),
            (("--database", "no"), "no"),
        ],
    )
    def test_misuse(self, words: tuple[str, ...], message: str) -> None:
        with pytest.raises(CommandError, match=message):
            call_command("sagas_runner", *words)

    def test_a_database_that_it_cannot_write_to_ends_it_at_the_start(self, sagas: Sagas) -> None:
        alias = "read_only"
        database = {**connections["default"].settings_dict}
        options = {"options": "-c default_transaction_read_only=on"}
        with alias_of({**database, "OPTIONS": options}, alias):
            ran = Ran("sagas_runner", "--drain", "--database", alias, code=3)

        assert "Nothing can be written to database 'read_only'" in ran.err
        assert "Runner" not in ran.err

    def test_a_wrong_definition_is_told_before_anything_runs(self) -> None:
        wrong = type("Wrong", (Saga,), {"kind": "WRONG", "steps": ()})
        registry.register(wrong)
        try:
            ran = Ran("sagas_runner", "--drain", code=2)
        finally:
            registry.unregister(wrong)
        assert "Wrong: steps is ()" in ran.err


class TestPrune:
    def test_what_is_old_is_deleted(self, sagas: Sagas) -> None:
        saga = start("SHOWN")
        sagas.drain()
        assert Ran("sagas_prune").out.split() == ["sagas", "0", "audit", "events", "0"]
        sagas.execute(
            "UPDATE sagas SET started_at = now() - interval '32 days', "
            "completed_at = now() - interval '31 days'"
        )

        looked = Ran("sagas_prune", "--dry-run")
        assert looked.out.splitlines()[0].split() == ["sagas", "1"]
        assert looked.err == "Nothing was deleted.\n"
        assert sagas.value("SELECT count(*) FROM sagas WHERE id = %s", [saga]) == 1

        ran = Ran("sagas_prune")

        assert ran.out.splitlines()[0].split() == ["sagas", "1"]
        assert sagas.value("SELECT count(*) FROM sagas WHERE id = %s", [saga]) == 0

    def test_misuse(self) -> None:
        with pytest.raises(CommandError, match="give 0 to 36500, or never"):
            call_command("sagas_prune", "--sagas", "x")


@pytest.mark.parametrize(
    "name", ["sagas_runner", "sagas_list", "sagas_show", "sagas_act", "sagas_prune"]
)
def test_each_has_a_help_that_names_its_exit_codes(name: str) -> None:
    command = load_command_class("sagas", name)

    text = " ".join(command.create_parser("manage.py", name).format_help().split())

    assert "Exit codes: 0 " in text
    assert all(action.help for action in command.create_parser("x", name)._actions)
