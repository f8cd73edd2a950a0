from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from hodei.schema.tables import elide, render

TITLES = ("app", "migration", "state")


class TestRender:
    def test_aligns_columns_and_trims_line_ends(self) -> None:
        lines = render(TITLES, [("jobs", "0001_initial", "applied"), ("a", "0002", "pending")])

        assert lines == [
            "app   migration     state",
            "jobs  0001_initial  applied",
            "a     0002          pending",
        ]

    def test_without_rows_there_are_titles(self) -> None:
        assert render(TITLES, []) == ["app  migration  state"]

    def test_the_widest_column_gives_way(self) -> None:
        (_, line) = render(TITLES, [("jobs", "0001_" + "very_" * 40 + "end", "applied")], width=40)

        assert len(line) == 40
        assert line.startswith("jobs  0001_very_")
        assert line.endswith("very_end  applied")
        assert "..." in line

    def test_what_says_nothing_without_its_middle_gives_way_last(self) -> None:
        row = ("applications", "0001_initial_of_the_application", "2026-03-31 12:00:00")
        titles = ("app", "migration", "at")

        (_, line) = render(titles, [row], width=50, whole={"at"})
        (_, narrow) = render(titles, [row], width=30, whole={"at"})

        assert (len(line), line[-19:]) == (50, "2026-03-31 12:00:00")
        assert len(narrow) == 30

    def test_paints_the_cell_and_not_the_padding(self) -> None:
        rows = [("jobs", "0001", "ok"), ("jobs", "0002", "pending")]
        lines = render(TITLES, rows, paint={"state": lambda text: f"<{text}>"})

        assert lines[1] == "jobs  0001       <ok>"
        assert lines[2] == "jobs  0002       <pending>"

    def test_no_control_character_reaches_the_terminal(self) -> None:
        (_, line) = render(("name",), [("a\x1b[31m\nb",)])

        assert line == "a?[31m?b"

    @settings(deadline=None)
    @given(
        st.lists(st.lists(st.text(), min_size=3, max_size=3), max_size=5),
        st.integers(min_value=30, max_value=120),
    )
    def test_no_line_is_longer_than_the_width(self, rows: list[list[str]], width: int) -> None:
        lines = render(TITLES, rows, width=width, whole={"state"})

        assert len(lines) == len(rows) + 1
        assert all(len(line) <= width for line in lines)


class TestElide:
    @settings(deadline=None)
    @given(st.text(), st.integers(min_value=0, max_value=30))
    def test_keeps_short_texts_and_both_ends_of_long_ones(self, text: str, width: int) -> None:
        found = elide(text, width)

        assert len(found) == min(len(text), width)
        if len(text) <= width:
            assert found == text
        elif width > 4:
            assert found[0] == text[0]
            assert found[-1] == text[-1]
