"""Pure: by which names enqueuers and workers know each other. See Note [The gate] in
``hodei.polling``; the number of a queue's gate is ``hashtext`` of its name."""

from __future__ import annotations

from typing import Any

#: The channel of the notifications, whose payload is empty.
CHANNEL = "hodei_jobs"
#: The first number of the gate of a queue.
GATE = 0x6A6F6201
#: Both, as the statements name them.
WAKE: dict[str, Any] = {"gate": GATE, "channel": CHANNEL}
