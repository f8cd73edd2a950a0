"""Pure: which migrations a wish undoes, in which order; and what a release had applied."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from hodei.schema.results import Direction, MigrationKey
from hodei.schema.rollback.releases import Difference, Event, Moment, difference, end_of, labels
from hodei.schema.rollback.targets import Ground, beyond, closed, last, newest_first, reason

# a1 - a2l - a3 (a merge)      b1 needs a2l, b2 needs b1
#    \ a2r /                   c1 is alone
A1, A2L, A2R, A3 = ("a", "1"), ("a", "2l"), ("a", "2r"), ("a", "3")
B1, B2, C1 = ("b", "1"), ("b", "2"), ("c", "1")
PARENTS = {A1: [], A2L: [A1], A2R: [A1], A3: [A2L, A2R], B1: [A2L], B2: [B1], C1: []}


def ground(*applied: MigrationKey) -> Ground:
    """These are applied, in this order."""
    return Ground(parents=PARENTS, applied={key: place for place, key in enumerate(applied)})


ALL = ground(A1, A2L, A2R, A3, B1, C1, B2)


class TestTargets:
    def test_the_last_ones_by_their_records(self) -> None:
        assert last(ALL, 1) == {B2}
        assert last(ALL, 3) == {B2, C1, B1}

    def test_what_an_app_has_beyond_a_migration(self) -> None:
        assert beyond(ALL, "b", B1) == {B2}
        assert beyond(ALL, "b", None) == {B1, B2}
        assert beyond(ALL, "a", A3) == set()

    def test_to_go_back_to_one_branch_is_to_be_without_the_other(self) -> None:
        assert beyond(ALL, "a", A2L) == {A3, A2R}
        assert beyond(ALL, "a", A2R) == {A3, A2L}

    def test_it_is_closed_over_all_that_depends_on_it(self) -> None:
        assert closed(ALL, {A2L}) == {A2L, A3, B1, B2}
        assert closed(ground(A1, A2L, B1), {A2L}) == {A2L, B1}

    def test_the_newest_goes_first(self) -> None:
        assert newest_first(ALL, {A3, B1, C1, B2}) == [B2, C1, B1, A3]

    def test_what_depends_on_another_goes_before_it_whatever_the_records_say(self) -> None:
        assert newest_first(ground(B2, A2L, A1, B1), {A1, A2L, B1, B2}) == [B2, B1, A2L, A1]

    def test_one_that_was_not_chosen_tells_why_it_goes(self) -> None:
        assert reason(ALL, B2, chosen={B1}, undone={B1, B2}) == B1
        assert reason(ALL, B1, chosen={B1}, undone={B1, B2}) is None

    @given(st.permutations(list(PARENTS)), st.sets(st.sampled_from(list(PARENTS))))
    def test_every_order_can_be_undone(
        self, records: list[MigrationKey], chosen: set[MigrationKey]
    ) -> None:
        undone = closed(ground(*records), chosen)

        order = newest_first(ground(*records), undone)

        assert set(order) == undone
        for place, key in enumerate(order):
            assert not set(PARENTS[key]) & set(order[:place])


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
BATCHES = {name: uuid.UUID(int=number) for number, name in enumerate("abcdefgh")}


def history(*rows: tuple[str, str, MigrationKey, str]) -> list[Event]:
    """Rows of (batch, release, migration, + or -), a minute apart."""
    return [
        Event(
            number,
            BATCHES[batch],
            release,
            key,
            Direction.FORWARD if sign == "+" else Direction.BACKWARD,
            NOON + timedelta(minutes=number),
        )
        for number, (batch, release, key, sign) in enumerate(rows)
    ]


def since(
    events: list[Event],
    release: str,
    applied: dict[MigrationKey, datetime],
    replaces: dict[MigrationKey, list[MigrationKey]] | None = None,
) -> Difference:
    moment = end_of(events, release)
    assert moment is not None
    return difference(
        events, moment, applied=applied, replaces=replaces or {}, recorded=set(applied)
    )


def dated(*keys: MigrationKey, at: datetime = NOON) -> dict[MigrationKey, datetime]:
    return dict.fromkeys(keys, at)


class TestReleases:
    def test_what_came_after_the_last_run_of_the_release(self) -> None:
        events = history(
            ("a", "v1", A1, "+"),
            ("b", "v1", A2L, "+"),
            ("c", "v2", B1, "+"),
            ("d", "v3", B2, "+"),
        )

        assert since(events, "v1", dated(A1, A2L, B1, B2)).since == {B1, B2}
        assert since(events, "v2", dated(A1, A2L, B1, B2)).since == {B2}
        assert since(events, "v3", dated(A1, A2L, B1, B2)).since == set()

    def test_the_end_of_a_run_is_that_of_its_last_migration(self) -> None:
        events = history(("a", "v1", A1, "+"), ("a", "v1", A2L, "+"), ("b", "v2", A2R, "+"))

        assert end_of(events, "v1") == Moment(number=1, at=NOON + timedelta(minutes=1))

    def test_both_branches_of_a_fork_go_that_came_after_it(self) -> None:
        events = history(
            ("a", "v1", A1, "+"),
            ("a", "v1", A2L, "+"),
            ("b", "v2", A2R, "+"),
            ("b", "v2", A3, "+"),
        )

        assert since(events, "v1", dated(A1, A2L, A2R, A3)).since == {A2R, A3}

    def test_a_run_that_only_undid_was_a_way_out_of_its_release(self) -> None:
        events = history(
            ("a", "v1", A1, "+"),
            ("b", "v2", B1, "+"),
            ("c", "v2", B1, "-"),
            ("d", "v3", B1, "+"),
            ("d", "v3", B2, "+"),
        )

        assert since(events, "v2", dated(A1, B1, B2)).since == {B2}
        assert labels(events) == ["v1", "v2", "v3"]

    def test_one_that_was_undone_and_applied_again_was_applied_then(self) -> None:
        events = history(
            ("a", "v1", A1, "+"),
            ("b", "", A1, "-"),
            ("c", "v2", A1, "+"),
            ("c", "v2", A2L, "+"),
        )

        assert since(events, "v1", dated(A1, A2L)).since == {A2L}

    def test_one_that_is_not_applied_any_more_is_missing(self) -> None:
        events = history(("a", "v1", A1, "+"), ("a", "v1", C1, "+"), ("b", "v2", C1, "-"))

        assert since(events, "v1", dated(A1)).missing == {C1}

    def test_what_the_history_does_not_know_goes_by_its_date(self) -> None:
        events = history(("a", "v1", A1, "+"), ("b", "v2", A2L, "+"))
        before, after = NOON - timedelta(days=1), NOON + timedelta(days=1)

        found = since(events, "v1", dated(A1, A2L) | {B1: before, C1: after})

        assert found.since == {A2L, C1}
        assert found.by_date == {C1}

    def test_what_was_undone_later_had_been_applied_by_somebody(self) -> None:
        events = history(("a", "v1", A1, "+"), ("b", "v2", C1, "-"), ("c", "v2", C1, "+"))

        found = since(events, "v1", dated(A1, C1, at=NOON + timedelta(days=1)))

        assert found.since == set()

    def test_of_a_replacement_count_those_that_it_replaces(self) -> None:
        squashed = ("a", "1_squashed_2l")
        events = history(("a", "v1", A1, "+"), ("b", "v2", A2L, "+"), ("c", "v3", C1, "+"))
        replaces = {squashed: [A1, A2L]}

        assert since(events, "v2", dated(squashed, C1), replaces).since == {C1}
        assert since(events, "v1", dated(squashed, C1), replaces).in_between == {squashed}

    def test_a_replacement_that_was_undone_takes_its_parts_along(self) -> None:
        squashed = ("a", "1_squashed_2l")
        events = history(
            ("a", "v1", C1, "+"),
            ("b", "", A1, "+"),
            ("b", "", A2L, "+"),
            ("c", "v2", squashed, "-"),
            ("d", "v3", C1, "-"),
            ("d", "v3", C1, "+"),
            ("e", "v4", squashed, "+"),
        )
        replaces = {squashed: [A1, A2L]}

        assert since(events, "v3", dated(squashed, C1), replaces).since == {squashed}

    def test_a_label_that_no_run_has(self) -> None:
        assert end_of(history(("a", "", A1, "+"), ("b", "v1", A1, "-")), "v1") is None
        assert labels(history(("a", "", A1, "+"), ("b", "v1", A1, "-"))) == []

    def test_the_latest_label_comes_last(self) -> None:
        events = history(("a", "v1", A1, "+"), ("b", "v2", B1, "+"), ("c", "v1", C1, "+"))

        assert labels(events) == ["v2", "v1"]
