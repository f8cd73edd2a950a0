"""Pure: signatures of Standard Webhooks, version 1 (symmetric).

Specification: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

PREFIX = "whsec_"
SHORTEST, LONGEST = 24, 64


def key_of(secret: str) -> bytes:
    """The key that a secret is written for. Raises ValueError, which does not repeat the secret."""
    allowed = f"{PREFIX} and {SHORTEST} to {LONGEST} random bytes in base64"
    if not secret.startswith(PREFIX):
        raise ValueError(f"does not begin with {PREFIX}; it is {allowed}")
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"is no base64 behind {PREFIX}; it is {allowed}") from error
    if not SHORTEST <= len(key) <= LONGEST:
        raise ValueError(f"is of {len(key)} bytes; it is {allowed}")
    return key


def headers(identifier: str, timestamp: int, body: bytes, keys: Sequence[bytes]) -> dict[str, str]:
    """The three headers; one signature for each key, so that the receiver may know either."""
    signed = f"{identifier}.{timestamp}.".encode() + body
    signatures = [
        "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys
    ]
    return {
        "webhook-id": identifier,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }
