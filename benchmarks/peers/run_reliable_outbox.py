"""django-reliable-outbox: publish events, and let its worker send them to a no-op destination.

usage: run_reliable_outbox.py URL EVENTS THREADS BATCH
"""

from __future__ import annotations

import json
import sys
import threading
import time

from on_django import calm, set_up
from workload import PAYLOAD


class Nop:
    """A destination that takes everything."""

    sent = 0

    def __init__(self, **options: object) -> None:
        pass

    def deliver(self, envelope: object) -> None:
        Nop.sent += 1


def main(url: str, events: int, threads: int, batch: int) -> None:
    # Its setting is a dotted path, and this file is the program.
    sys.modules["reliable_outbox_nop"] = sys.modules["__main__"]
    set_up(
        url,
        INSTALLED_APPS=["reliable_outbox"],
        RELIABLE_OUTBOX={
            "DESTINATIONS": {"default": {"BACKEND": "reliable_outbox_nop.Nop"}},
            "BATCH_SIZE": batch,
        },
    )
    import django  # noqa: PLC0415
    from django.db import transaction  # noqa: PLC0415
    from reliable_outbox import publish  # noqa: PLC0415
    from reliable_outbox.models import OutboxMessage  # noqa: PLC0415
    from reliable_outbox.worker import Worker  # noqa: PLC0415

    OutboxMessage.objects.all().delete()
    with transaction.atomic():
        for _ in range(events):
            publish("order.created", PAYLOAD)
    calm()
    workers = [
        threading.Thread(target=Worker(name=f"w{number}", notify=False).run, kwargs={"burst": True})
        for number in range(threads)
    ]
    started = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    took = time.perf_counter() - started
    left = OutboxMessage.objects.exclude(status="delivered").count()
    if left or Nop.sent != events:
        raise SystemExit(f"{left} events are left, {Nop.sent} were sent of {events}.")
    print(json.dumps({"rate": events / took, "django": django.get_version()}))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:5]))
