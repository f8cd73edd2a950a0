"""Events written in the same transaction as the data they tell of, and published at least once.

An event is PENDING until a relay has published it; one that cannot be published becomes a dead
letter, which a person requeues, resolves or discards.

States and their transitions: ``outbox.states``. Tables: ``outbox.models``.
"""

from __future__ import annotations
