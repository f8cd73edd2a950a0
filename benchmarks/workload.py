"""What the benchmarks of the outbox publish: a payload of about 200 bytes, some aggregates."""

from __future__ import annotations

import json

PAYLOAD = {
    "user": 123456,
    "kind": "invoice.send",
    "email": "someone@example.com",
    "tags": ["alpha", "beta", "gamma"],
    "amount": "1234.56",
    "note": "x" * 68,
}
PAYLOAD_TEXT = json.dumps(PAYLOAD)
