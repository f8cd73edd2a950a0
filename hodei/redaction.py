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
    anywhere loses passwords in URLs and in ``password=...``. What lies deeper than ``depth`` levels
    is replaced, so that no input exhausts the stack.
    """
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        if depth <= 0:
            return _too_deep(value)
        named = next((value[key] for key in ("name", "key") if isinstance(value.get(key), str)), "")
        return {
            key: REDACTED
            if _hides(str(key), item) or (key == "value" and _hides(named, item))
            else redact(item, depth=depth - 1)
            for key, item in value.items()
        }
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        if depth <= 0:
            return _too_deep(value)
        return [redact(item, depth=depth - 1) for item in value]
    return value


def redact_text(text: str) -> str:
    """Text without passwords in URLs, ``password=...`` and credentials of HTTP headers."""
    text = _URL_PASSWORD.sub(rf"\1:{REDACTED}@", text)
    text = _BEARER.sub(rf"\1 {REDACTED}", text)
    return _ASSIGNMENT.sub(
        lambda found: f"{found[1]}={REDACTED}" if is_secret(found[1]) else found[0], text
    )


def secret_values(variables: Mapping[str, str]) -> frozenset[str]:
    """The values of variables whose names are secret, and the passwords in URLs of the others."""
    found = {value for name, value in variables.items() if value and is_secret(name)}
    for value in variables.values():
        found.update(password[1] for password in _PASSWORD_IN_URL.finditer(value))
    return frozenset(found)


def _hides(key: str, value: Any) -> bool:
    if value is None or isinstance(value, bool) or value in ("", [], {}):
        return False
    if isinstance(value, (int, float)) and key.lower().endswith("tokens"):
        return False
    return is_secret(key)


def _too_deep(value: Mapping[Any, Any] | Sequence[Any]) -> str:
    return f"[{len(value)} more, nested too deeply to be shown]"
