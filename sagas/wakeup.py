"""Pure: by which names those who start sagas and runners know each other. See Note [The gate] in
``hodei.polling``; there is one gate for all kinds."""

from __future__ import annotations

from typing import Any

#: The channel of the notifications, whose payload is empty.
CHANNEL = "hodei_sagas"
#: The first number of the gate; the second is PLACE.
GATE = 0x73616701
PLACE = 0
#: All of them, as the statements name them.
WAKE: dict[str, Any] = {"gate": GATE, "place": PLACE, "channel": CHANNEL}
