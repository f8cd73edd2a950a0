"""Pure: errors that differ only in ids, numbers and times get the same fingerprint."""

from __future__ import annotations

import hashlib
import re

from hodei.redaction import redact_text

#: Characters of an error that are kept.
LONGEST_ERROR = 8_192

_VARIABLE = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"  # a UUID
    r"|0x[0-9a-f]+"
    r"|\b[0-9a-f]{16,}\b"  # a hash
    r"|\d+",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")


def fingerprint(destination: str, event_type: str, error_class: str, message: str) -> str:
    """Return 64 hexadecimal digits: what failures have in common that need one remedy."""
    plain = _VARIABLE.sub("#", _QUOTED.sub("'#'", message[:LONGEST_ERROR]))
    words = "\n".join((destination, event_type, error_class, " ".join(plain.split())))
    return hashlib.sha256(words.encode(errors="replace")).hexdigest()


def storable(message: str) -> str:
    """The text as it may be stored and shown: without secrets, NUL and half characters, and cut."""
    text = redact_text(message).replace("\0", "\N{REPLACEMENT CHARACTER}")
    text = text.encode(errors="replace").decode()
    return text if len(text) <= LONGEST_ERROR else f"{text[: LONGEST_ERROR - 3]}..."
