from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from hodei.schema.suggestions import near_matches, not_found

APPS = ["jobs", "outbox", "sagas", "auth", "contenttypes"]
names = st.text(st.characters(categories=["Ll", "Nd"], include_characters="_"), min_size=1)


class TestNearMatches:
    def test_finds_a_slip_of_the_finger(self) -> None:
        assert near_matches("jbos", APPS) == ["jobs"]

    def test_finds_a_part_of_a_name(self) -> None:
        assert near_matches("content", APPS) == ["contenttypes"]

    def test_ignores_case_and_keeps_the_spelling(self) -> None:
        assert near_matches("OUTBOKS", ["OutBox"]) == ["OutBox"]

    def test_finds_nothing_near(self) -> None:
        assert near_matches("zzz", APPS) == []

    @settings(deadline=None)
    @given(names, st.lists(names))
    def test_gives_few_names_that_exist(self, word: str, known: list[str]) -> None:
        found = near_matches(word, known)

        assert len(found) == len(set(found)) <= 3
        assert set(found) <= set(known)

    @settings(deadline=None)
    @given(st.lists(names, min_size=1), st.data())
    def test_a_known_name_comes_first(self, known: list[str], data: st.DataObject) -> None:
        word = data.draw(st.sampled_from(known))

        assert near_matches(word, known)[0].lower() == word.lower()


class TestNotFound:
    def test_asks_what_was_meant(self) -> None:
        assert not_found("app", "sage", APPS) == "There is no app 'sage'. Did you mean sagas?"

    def test_lists_everything_where_nothing_is_near(self) -> None:
        assert not_found("database", "zzz", ["replica", "default"]) == (
            "There is no database 'zzz'; there are: default, replica."
        )
        assert not_found("app", "zzz", []) == "There is no app 'zzz'; there are: none."
