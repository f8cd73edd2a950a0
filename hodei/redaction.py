"""Takes secrets out of what is shown: one list of names, and values replaced by their keys.

It guards screens and logs against what people put into free-form JSON. It is no reason to store a
secret in the clear: a secret under an innocent name passes. Pure: no Django, no database.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

#: What stands in place of a secret.
REDACTED = "[redacted]"

#: A key is secret if one of its words is here: DB_PASSWORD, clientSecret and x-auth-token are.
SECRET_WORDS = frozenset(
    {
        *("auth", "authorization", "bearer", "cookie", "cookies", "credential", "credentials"),
        *("dsn", "passphrase", "passwd", "password", "passwords", "pwd", "secret", "secrets"),
        *("signature", "token", "tokens", "apikey", "jwt", "otp"),
    }
)
#: Or if two words that follow each other are here: an idempotency key is none, an API key is one.
SECRET_PAIRS = frozenset(
    {
        *(("access", "key"), ("account", "key"), ("api", "key"), ("connection", "string")),
        *(("encryption", "key"), ("private", "key"), ("shared", "key"), ("signing", "key")),
        *(("session", "id"), ("storage", "key")),
    }
)
#: Or if it contains one of these, however its words are run together.
SECRET_PARTS = ("password", "passwd", "secret", "credential", "apikey", "accesskey", "privatekey")

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_]+")
_URL_PASSWORD = re.compile(r"(?<=://)([^\s/:@]*):[^\s/@]+@")
_PASSWORD_IN_URL = re.compile(r"://[^\s/:@]*:([^\s/@]+)@")
_ASSIGNMENT = re.compile(r"(?<![\w-])([\w-]{1,80})=(\"[^\"]*\"|'[^']*'|[^\s&;,\"']+)")
#: A key and its value as JSON and Python write them: 'password': 'x'.
_QUOTED_KEY = re.compile(
    r"""(?<![\w-])(["'])([\w .-]{1,80})\1(\s?:\s?)("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[\w.+-]+)"""
)
#: An option and its value as a command line has them: --password x.
_OPTION = re.compile(r"(?<![\w-])--([\w-]{1,80})(\s)(\"[^\"]*\"|'[^']*'|[^\s&;\"'-][^\s&;\"']*)")
_BEARER = re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]{8,}", re.IGNORECASE)


def is_secret(key: str) -> bool:
    """Whether a value under this key must not be shown."""
    words = [word.lower() for word in _WORDS.findall(key[:200])]
    if not SECRET_WORDS.isdisjoint(words) or not SECRET_PAIRS.isdisjoint(pairwise(words)):
        return True
    joined = "".join(words)
    return any(part in joined for part in SECRET_PARTS)


def redact(value: Any, *, depth: int = 64) -> Any:
    """A copy of a JSON value without its secrets.

    What a secret key holds is replaced whole, but for null, booleans and empty values, which tell
    no more than whether something is set, and for numbers under a plural (``max_tokens``). A pair
    of ``name`` and ``value``, as container environments are written, counts as key and value. Text
    anywhere loses what ``redact_text`` takes out, and a word after one like ``--password`` is
    replaced. What lies deeper than ``depth`` levels
    is replaced, so that no input exhausts the stack.
    """
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        if depth <= 0:
            return _too_deep(value)
        hidden = secret_keys(value)
        return {
            key: REDACTED if key in hidden else redact(item, depth=depth - 1)
            for key, item in value.items()
        }
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        if depth <= 0:
            return _too_deep(value)
        return [
            REDACTED if _follows_option(value, place) else redact(item, depth=depth - 1)
            for place, item in enumerate(value)
        ]
    return value


def secret_keys(value: Mapping[Any, Any]) -> frozenset[Any]:
    """The keys of a mapping whose values must not be shown, as ``redact`` decides it."""
    named = next((value[key] for key in ("name", "key") if isinstance(value.get(key), str)), "")
    return frozenset(
        key
        for key, item in value.items()
        if _hides(str(key), item) or (key == "value" and _hides(named, item))
    )


def redact_text(text: str) -> str:
    """Text without passwords in URLs, ``password=...``, ``--password ...``, ``"password": "..."``
    and credentials of HTTP headers."""
    text = _URL_PASSWORD.sub(rf"\1:{REDACTED}@", text)
    text = _BEARER.sub(rf"\1 {REDACTED}", text)
    text = _ASSIGNMENT.sub(
        lambda found: f"{found[1]}={REDACTED}" if is_secret(found[1]) else found[0], text
    )
    if "--" in text:
        text = _OPTION.sub(
            lambda found: f"--{found[1]}{found[2]}{REDACTED}" if is_secret(found[1]) else found[0],
            text,
        )
    if ":" in text:
        text = _QUOTED_KEY.sub(_without_value, text)
    return text


def _without_value(found: re.Match[str]) -> str:
    quote, key, colon, value = found.groups()
    if not is_secret(key) or not _hides(
        key, value.strip("\"'") if value[0] in "\"'" else _word(value)
    ):
        return found[0]
    return f"{quote}{key}{quote}{colon}{quote}{REDACTED}{quote}"


def _word(value: str) -> object:
    """What stands unquoted after a key: null, true and false hide nothing."""
    return None if value in {"null", "None", "true", "false", "True", "False"} else value


def secret_values(variables: Mapping[str, str]) -> frozenset[str]:
    """The values of variables whose names are secret, and the passwords in URLs of the others."""
    found = {value for name, value in variables.items() if value and is_secret(name)}
    for value in variables.values():
        found.update(password[1] for password in _PASSWORD_IN_URL.finditer(value))
    return frozenset(found)


def secret_words(words: Sequence[str]) -> frozenset[str]:
    """The secrets of a command line, as ``redact`` sees them: what follows ``--password``, what is
    assigned to a secret name, passwords in URLs, and credentials of HTTP headers."""
    found = {word for place, word in enumerate(words) if _follows_option(words, place)}
    for word in words:
        found.update(password[1] for password in _PASSWORD_IN_URL.finditer(word))
        found.update(header[0].split(maxsplit=1)[1] for header in _BEARER.finditer(word))
        named = [*_ASSIGNMENT.findall(word), *((n, v) for n, _, v in _OPTION.findall(word))]
        found.update(value.strip("\"'") for name, value in named if is_secret(name))
    return frozenset(found - {""})


def _follows_option(value: Sequence[Any], place: int) -> bool:
    """Whether this is the value of an option before it, as in ["--password", "x"]."""
    if place == 0 or not isinstance(value[place], str) or value[place].startswith("-"):
        return False
    option = value[place - 1]
    # One with its value behind an equals sign has it already.
    is_option = isinstance(option, str) and option.startswith("--") and "=" not in option
    return is_option and is_secret(option)


def _hides(key: str, value: Any) -> bool:
    if value is None or isinstance(value, bool) or value in ("", [], {}):
        return False
    if isinstance(value, (int, float)) and key.lower().endswith("tokens"):
        return False
    return is_secret(key)


def _too_deep(value: Mapping[Any, Any] | Sequence[Any]) -> str:
    return f"[{len(value)} more, nested too deeply to be shown]"
