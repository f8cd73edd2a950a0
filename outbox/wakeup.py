"""Pure: by which names publishers and relays know each other. See Note [The gate] in
``hodei.polling``."""

from __future__ import annotations

from typing import Any

#: The channel of the notifications, whose payload is empty.
CHANNEL = "hodei_outbox"
#: The first number of the gate of a lane; the second is the lane.
GATE = 0x6F757402
#: Both, as the statements name them.
WAKE: dict[str, Any] = {"gate": GATE, "channel": CHANNEL}
