"""Providers: kept by id, switched by the table, counted under lock, chosen by one rule."""

from __future__ import annotations

import json
import threading
import uuid
from random import Random
from typing import Any

import pytest
from django.db import connections, transaction

from jobs.selection import Candidate, Capabilities, Needs, choose, unable
from jobs.services import providers, workers
from jobs.services.providers import (
    ProviderConflict,
    ProviderFull,
    ProviderInUse,
    ProviderInvalid,
    ProviderNotActive,
    ProviderNotFound,
)
from jobs.states import PROVIDER_TRANSITIONS, ProviderStatus
from tests.jobs.conftest import Jobs
from tests.jobs.test_workers.kit import WHO, make_provider, make_worker
from tests.meeting import at_once
from tests.processes import eventually


def candidate(name: str = "a", **values: Any) -> Candidate:
    can = {key: values.pop(key) for key in ("cpu", "memory", "gpu", "region") if key in values}
    given: dict[str, Any] = {
        "id": uuid.uuid4(),
        "status": ProviderStatus.ACTIVE,
        "priority": 0,
        "live_workers": 0,
        "max_workers": 10,
        "tags": frozenset(),
        **values,
    }
    return Candidate(name=name, capabilities=Capabilities(**can), **given)


class TestRule:
    """Pure: the defects of 3.4 that come from two rules that disagree."""

    @pytest.mark.parametrize(
        ("offer", "needs", "words"),
        [
            ({"cpu": 2}, {"cpu": 2.5}, "it has 2 cores"),
            ({"memory": 512}, {"memory": 513}, "it has 512 MiB"),
            ({}, {"gpu": 1}, "it has 0 GPUs"),
            ({"region": "eu"}, {"region": "us"}, "it is in eu"),
            ({"tags": frozenset({"a"})}, {"labels": frozenset({"a", "b"})}, "it lacks labels"),
            ({"live_workers": 10}, {}, "all its 10 workers are in use"),
            *(
                ({"status": status}, {}, f"it is {status.value}")
                for status in ProviderStatus
                if status is not ProviderStatus.ACTIVE
            ),
        ],
    )
    def test_defect_3_4_who_is_not_eligible(
        self, offer: dict[str, Any], needs: dict[str, Any], words: str
    ) -> None:
        assert unable(candidate(**offer), Needs(**needs)) == words
        assert choose([candidate(**offer)], Needs(**needs)) is None

    @pytest.mark.parametrize(
        ("offer", "needs"),
        [
            ({}, {"cpu": 64, "memory": 10**6}),
            ({"cpu": 2, "memory": 512, "gpu": 1}, {"cpu": 2, "memory": 512, "gpu": 1}),
            ({"region": "eu"}, {"region": "eu"}),
            ({}, {"region": "eu"}),
            ({"region": "eu"}, {}),
            ({"tags": frozenset({"a", "b"})}, {"labels": frozenset({"b"})}),
        ],
    )
    def test_who_is(self, offer: dict[str, Any], needs: dict[str, Any]) -> None:
        assert unable(candidate(**offer), Needs(**needs)) is None

    def test_defect_3_4_priority_then_load_then_name(self) -> None:
        order = [
            candidate("z", priority=2, live_workers=9),
            candidate("y", priority=1, live_workers=1, max_workers=10),
            candidate("a", priority=1, live_workers=1, max_workers=5),
            candidate("b", priority=1, live_workers=2, max_workers=10),
            candidate("c", priority=-1),
        ]
        for seed in range(20):
            left = list(order)
            Random(seed).shuffle(left)
            found = []
            while (best := choose(left, Needs())) is not None:
                found.append(best.name)
                left.remove(best)
            assert found == ["z", "y", "a", "b", "c"]


@pytest.mark.django_db
class TestSave:
    def test_defect_3_4_by_id_with_a_new_name_and_type(self, jobs: Jobs) -> None:
        provider = make_provider("old")
        jobs.execute("UPDATE provider_configs SET status = 'MAINTENANCE'")

        is_new = providers.save(
            provider, name="new", provider_type="custom:mine", actor="me", priority=3
        )

        assert not is_new
        assert jobs.rows("SELECT id, name, provider_type, priority, status FROM provider_configs") \
            == [(provider, "new", "custom:mine", 3, "MAINTENANCE")]  # fmt: skip

    def test_a_name_is_one_provider_s(self, jobs: Jobs) -> None:
        make_provider("taken")
        with pytest.raises(ProviderConflict, match="'taken'; give a name that is free"):
            make_provider("taken")
        assert jobs.value("SELECT count(*) FROM provider_configs") == 1

    def test_defect_3_4_capabilities_are_kept_and_used(self, jobs: Jobs) -> None:
        make_provider("small", capabilities={"cpu": 2, "memory": 1024}, priority=9)
        big = make_provider("big", capabilities={"cpu": 8, "gpu": 2, "region": "eu"}, tags=["ssd"])

        assert providers.select(Needs()).name == "small"  # type: ignore[union-attr]
        for needs in (Needs(cpu=4), Needs(gpu=1), Needs(labels=frozenset({"ssd"}))):
            assert providers.select(needs).id == big  # type: ignore[union-attr]
        assert providers.select(Needs(gpu=3)) is None

    def test_it_is_on_record_without_its_configuration(self, jobs: Jobs) -> None:
        make_provider(config={"type": "docker", "password": "hunter2"})

        assert jobs.value("SELECT config ->> 'password' FROM provider_configs") == "hunter2"
        assert "hunter2" not in str(jobs.rows("SELECT a::text FROM audit_logs a"))

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("name", ""), ("name", "x" * 256), ("name", 1), ("name", "a\0b"), ("name", "\ud800"),
            ("provider_type", "nonsense"), ("provider_type", "custom:"), ("provider_type", None),
            ("provider_type", "custom:" + "x" * 50), ("provider_type", "custom:\0"),
            ("config", "text"), ("config", [1]), ("config", {"a": float("nan")}),
            ("config", {"a": "\0"}), ("config", {"a": "\ud800"}), ("config", {"a": object()}),
            ("config", {"a": "x" * 300_000}),
            ("priority", 1.5), ("priority", True), ("priority", 10**9), ("priority", "1"),
            ("max_workers", 0), ("max_workers", -1), ("max_workers", None),
            ("tags", "text"), ("tags", [1]), ("tags", [""]), ("tags", ["\0"]),
            ("capabilities", {"cores": 1}), ("capabilities", {"cpu": -1}),
            ("capabilities", {"gpu": None}), ("capabilities", {"gpu": 1.5}),
            ("capabilities", {"memory": "1G"}), ("capabilities", {"cpu": float("nan")}),
            ("capabilities", {"region": ""}), ("capabilities", "text"),
            ("metadata", {"a": float("inf")}),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_named_and_nothing_stored(
        self, field: str, value: Any, jobs: Jobs
    ) -> None:
        given = {"name": "a", "provider_type": "docker", "actor": "me", field: value}

        with pytest.raises(ProviderInvalid, match=field):
            providers.save(uuid.uuid4(), **given)

        assert jobs.value("SELECT count(*) FROM provider_configs") == 0

    def test_a_hostile_name_is_a_name(self, jobs: Jobs) -> None:
        name = "'; DROP TABLE jobs; -- %s \N{SNOWMAN}"
        make_provider(name, config={name: [name]})

        assert jobs.rows("SELECT name, config::text FROM provider_configs") == [
            (name, json.dumps({name: [name]}, ensure_ascii=False))
        ]


@pytest.mark.django_db
class TestStatus:
    def test_defect_3_4_the_table_decides(self, jobs: Jobs) -> None:
        provider = make_provider()
        for before in ProviderStatus:
            for to in ProviderStatus:
                jobs.execute("UPDATE provider_configs SET status = %s", [before.value])
                if before is to:
                    assert not providers.set_status(provider, to, **WHO)
                elif to in PROVIDER_TRANSITIONS[before]:
                    assert providers.set_status(provider, to, **WHO)
                else:
                    with pytest.raises(ProviderConflict, match=f"is {before} and cannot"):
                        providers.set_status(provider, to, **WHO)
                    to = before  # noqa: PLW2901
                assert jobs.value("SELECT status FROM provider_configs") == to

    def test_defect_3_4_disable_and_enable(self, jobs: Jobs) -> None:
        provider = make_provider()
        assert providers.disable(provider, **WHO)
        assert providers.select(Needs()) is None
        assert providers.enable(provider, **WHO)
        assert not providers.enable(provider, **WHO)

        assert jobs.rows(
            "SELECT payload ->> 'before', payload ->> 'status', payload ->> 'reason' "
            "FROM audit_logs WHERE event_type = 'ProviderStatusChanged' ORDER BY id"
        ) == [("ACTIVE", "DISABLED", "a test"), ("DISABLED", "ACTIVE", "a test")]

    def test_of_an_unknown_one(self, jobs: Jobs) -> None:
        for action in (providers.enable, providers.disable, providers.delete):
            with pytest.raises(ProviderNotFound):
                action(uuid.uuid4(), **WHO)  # type: ignore[operator]


class TestCapacity:
    def test_defect_3_4_counts_the_workers_that_live(self, jobs: Jobs) -> None:
        provider = make_provider(max_workers=2)
        first = make_worker(jobs, "DRAINING", provider)
        make_worker(jobs, "FAILED", provider)
        make_worker(jobs, "CREATING", provider)
        with pytest.raises(ProviderFull, match="has 2 live workers, and may have 2"):
            make_worker(jobs, provider=provider)
        assert providers.select(Needs()) is None

        workers.terminate(first, **WHO)

        make_worker(jobs, provider=provider)

    def test_only_an_active_one_makes_workers(self, jobs: Jobs) -> None:
        provider = make_provider()
        providers.disable(provider, **WHO)
        with pytest.raises(ProviderNotActive):
            make_worker(jobs, provider=provider)

    def test_defect_3_4_two_at_once_make_no_more_than_it_may_have(self, jobs: Jobs) -> None:
        provider = make_provider(max_workers=3)
        make_worker(jobs, provider=provider)

        outcomes = at_once(
            *[
                lambda: workers.create(
                    uuid.uuid4(), provider_id=provider, resource_id="c", actor="me"
                )
            ]
            * 6
        )

        assert outcomes.count(None) == 2
        assert sum(isinstance(one, ProviderFull) for one in outcomes) == 4
        assert jobs.value("SELECT count(*) FROM workers") == 3

    def test_who_waits_for_the_lock_counts_anew(self, jobs: Jobs) -> None:
        provider, outcome = make_provider(max_workers=1), []

        def make() -> None:
            outcome.extend(at_once(lambda: make_worker(jobs, provider=provider)))

        thread = threading.Thread(target=make)
        with transaction.atomic():
            make_worker(jobs, provider=provider)
            thread.start()
            waiting = (
                "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted "
                "AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"
            )
            assert eventually(lambda: bool(jobs.value(waiting)))
        thread.join(30)

        assert isinstance(outcome[0], ProviderFull)


class TestDelete:
    @pytest.mark.parametrize(
        ("state", "words"),
        [("READY", "1 live workers and 0"), ("TERMINATED", "0 live workers and 1")],
    )
    def test_defect_3_4_refused_while_it_has_workers(
        self, jobs: Jobs, state: str, words: str
    ) -> None:
        provider = make_provider()
        make_worker(jobs, state, provider)

        with pytest.raises(ProviderInUse, match=words):
            providers.delete(provider, **WHO)

        assert jobs.value("SELECT count(*) FROM provider_configs") == 1

    def test_without_workers(self, jobs: Jobs) -> None:
        provider = make_provider()
        providers.delete(provider, **WHO)

        assert jobs.value("SELECT count(*) FROM provider_configs") == 0
        assert (
            jobs.value("SELECT count(*) FROM audit_logs WHERE event_type = 'ProviderDeleted'") == 1
        )

    def test_a_worker_made_at_the_same_time(self, jobs: Jobs) -> None:
        provider = make_provider()

        outcomes = at_once(
            lambda: providers.delete(provider, **WHO),
            lambda: make_worker(jobs, provider=provider),
        )

        assert sum(isinstance(one, Exception) for one in outcomes) == 1
        connections["default"].close()
        assert jobs.value("SELECT count(*) FROM workers w FULL JOIN provider_configs p "
                          "ON w.provider_id = p.id") in {0, 1}  # fmt: skip
