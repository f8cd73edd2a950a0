from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hodei.redaction import REDACTED, is_secret, redact, redact_text

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


@pytest.mark.parametrize(
    "key",
    [
        *("password", "Password", "DB_PASSWORD", "dbPassword", "dbpassword", "userPasswd", "pwd"),
        *("secret", "client_secret", "clientSecret", "aws-secret-access-key", "token", "apiKey"),
        *("api_key", "API_KEY", "APIKey", "x-api-key", "apikey", "Authorization", "private_key"),
        *("accessKeyId", "session-id", "Set-Cookie", "credentials", "dsn", "refreshTokens"),
        *("connectionString", "signing key", "auth"),
    ],
)
def test_secret_keys(key: str) -> None:
    assert is_secret(key)


@pytest.mark.parametrize(
    "key",
    [
        *("idempotency_key", "aggregate_key", "key", "name", "author", "authors", "monkey"),
        *("correlation_id", "session", "tokenizer", "passport", "access", "", "keyboard"),
    ],
)
def test_keys_that_are_no_secret(key: str) -> None:
    assert not is_secret(key)


class TestRedact:
    def test_replaces_a_secret_whole_at_any_depth(self) -> None:
        value = {"a": [{"credentials": {"user": "u", "pin": [1, 2]}}], "b": 1}

        assert redact(value) == {"a": [{"credentials": REDACTED}], "b": 1}

    @pytest.mark.parametrize("empty", [None, "", [], {}, True, False])
    def test_keeps_that_nothing_is_set(self, empty: Any) -> None:
        assert redact({"password": empty}) == {"password": empty}

    def test_counts_of_tokens_are_numbers(self) -> None:
        assert redact({"max_tokens": 512, "token": 512}) == {"max_tokens": 512, "token": REDACTED}

    def test_environments_of_containers(self) -> None:
        env = [{"name": "DB_PASSWORD", "value": "x"}, {"name": "LANG", "value": "C"}]

        assert redact(env) == [{"name": "DB_PASSWORD", "value": REDACTED}, env[1]]

    def test_words_of_a_command(self) -> None:
        words = ["mysql", "--password", "pa55", "--user", "me", "--token", "--verbose"]
        assert redact(["--password=pa55", "dump.sql"]) == [f"--password={REDACTED}", "dump.sql"]

        assert redact(words) == [*words[:2], REDACTED, *words[3:]]

    def test_leaves_the_original_alone(self) -> None:
        value = {"password": "x", "list": ["y"]}

        redact(value)

        assert value == {"password": "x", "list": ["y"]}

    def test_stops_at_its_depth(self) -> None:
        value: Any = {"password": "x"}
        for _ in range(50_000):
            value = [value]

        text = json.dumps(redact(value))

        assert "1 more, nested too deeply to be shown" in text

    @given(JSON)
    def test_changes_nothing_that_is_no_secret(self, value: Any) -> None:
        again = redact(redact(value))

        assert again == redact(value)

    @given(JSON, st.sampled_from(["password", "apiKey", "x-auth-token"]))
    def test_no_value_under_a_secret_key_survives(self, value: Any, key: str) -> None:
        mark = "needle-in-a-haystack"

        shown = json.dumps(redact({"outer": [{key: [mark, value]}]}))

        assert mark not in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://u:pa55@h.example/x", f"https://u:{REDACTED}@h.example/x"),
        ("postgresql://:pa55@h/db", f"postgresql://:{REDACTED}@h/db"),
        ("password=pa55 host=db", f"password={REDACTED} host=db"),
        ('--token="a b c" x', f"--token={REDACTED} x"),
        ("?api_key=abc&page=2", f"?api_key={REDACTED}&page=2"),
        ("Authorization: Bearer abc.def-ghi", f"Authorization: Bearer {REDACTED}"),
        ("https://h.example/a@b", "https://h.example/a@b"),
        ("http://h.example:8080/a", "http://h.example:8080/a"),
        ("retry_count=3, state=FAILED", "retry_count=3, state=FAILED"),
        ("the token is invalid", "the token is invalid"),
        ("mysql --password pa55 -u me", f"mysql --password {REDACTED} -u me"),
        ("x --api-key 'a b' --verbose", f"x --api-key {REDACTED} --verbose"),
        ("x --password --verbose", "x --password --verbose"),
        ("x --passive yes", "x --passive yes"),
        (
            "KeyError: {'password': 'pa55', 'n': 1}",
            f"KeyError: {{'password': '{REDACTED}', 'n': 1}}",
        ),
        ('{"db": {"apiKey":"a\\"b"}}', f'{{"db": {{"apiKey":"{REDACTED}"}}}}'),
        ('{"token": 12345}', f'{{"token": "{REDACTED}"}}'),
        ('{"token": null, "secret": false}', '{"token": null, "secret": false}'),
        ('{"password": ""}', '{"password": ""}'),
        ("'name': 'value'", "'name': 'value'"),
        ("", ""),
    ],
)
def test_text(text: str, shown: str) -> None:
    assert redact_text(text) == shown


def test_long_text_takes_no_time_out_of_proportion() -> None:
    for text in (
        "a" * 300_000,
        "://" * 100_000,
        "a-" * 150_000,
        "a=" * 150_000,
        "Bearer " * 50_000,
        "--" * 150_000,
        "--token " * 40_000,
        "'a': " * 60_000,
        "'" * 300_000,
        '"password": "' * 25_000,
        '"password": \'' + "\\" * 300_000,
    ):
        redact_text(text)
