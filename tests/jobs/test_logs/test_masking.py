"""Secret values, out of a stream that comes in pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hodei.redaction import secret_values, secret_words
from jobs.logs.masking import MASK, Masker, needles

#: Of three letters, so that secrets of three letters come up.
small = st.text("abc", max_size=12).map(str.encode)


class TestMasking:
    @given(
        secrets=st.lists(st.text("abc", min_size=4, max_size=6), min_size=1, max_size=3),
        pieces=st.lists(small, max_size=12),
    )
    def test_a_secret_never_shows_however_it_comes_in_pieces(
        self, secrets: list[str], pieces: list[bytes]
    ) -> None:
        found = needles(secrets)
        masker, whole = Masker(found), Masker(found)

        shown = b"".join([*map(masker.feed, pieces), masker.close()])

        assert not any(secret in shown.replace(MASK, b"#") for secret in found)
        assert shown == whole.feed(b"".join(pieces)) + whole.close()

    @given(pieces=st.lists(st.binary(max_size=20)))
    def test_what_is_no_secret_stays_byte_for_byte(self, pieces: list[bytes]) -> None:
        masker = Masker(needles(["a secret that never comes"]))

        shown = b"".join([*map(masker.feed, pieces), masker.close()])

        assert shown == b"".join(pieces)

    def test_secrets_that_overlap_are_one(self) -> None:
        masker = Masker(needles(["abcd", "cdef", "abcdefgh"]))

        assert masker.feed(b"xabcdefx") + masker.close() == b"x[redacted]x"

    def test_the_beginning_of_a_secret_is_held_back_and_not_lost(self) -> None:
        masker = Masker(needles(["hunter2"]))

        assert masker.feed(b"my hunt") == b"my "
        assert masker.feed(b"ing") == b"hunting"
        assert masker.feed(b" hunter") == b" "
        assert masker.feed(b"2.") == b"[redacted]."

    def test_the_lines_of_a_key_are_masked_one_by_one(self) -> None:
        masker = Masker(
            needles(["-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0B\n-----END KEY-----"])
        )

        assert masker.feed(b"> kqhkiG9w0B <\n") + masker.close() == b"> [redacted] <\n"

    def test_what_is_short_hides_nothing(self) -> None:
        assert needles(["", "1", "yes", "true"]) == (b"true",)

    def test_which_values_are_secret(self) -> None:
        variables = {
            "API_TOKEN": "t0ken",
            "LANG": "C",
            "DATABASE_URL": "postgresql://me:hunter2@db/x?password=no",
            "EMPTY_PASSWORD": "",
        }

        assert secret_values(variables) == {"t0ken", "hunter2"}

    @pytest.mark.parametrize(
        ("words", "secrets"),
        [
            (["--password", "a b", "--user", "me"], {"a b"}),
            (["--password", "--verbose", "--token"], set()),
            (["--api-key=x1", "PGPASSWORD='y y'", "mode=fast"], {"x1", "y y"}),
            (["https://me:z@host/", "-H", "Authorization: Basic bWU6eg=="], {"z", "bWU6eg=="}),
            (["-c", "mysql --password q --host db; SECRET=r true"], {"q", "r"}),
            (["", "password", "hunter2"], set()),
        ],
    )
    def test_which_words_are_secret(self, words: list[str], secrets: set[str]) -> None:
        assert secret_words(words) == secrets
