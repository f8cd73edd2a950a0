"""django-outbox-pattern: store events, and let its producer send them over a no-op connection.

usage: run_outbox_pattern.py URL EVENTS
"""

from __future__ import annotations

import json
import sys
import time

from on_django import calm, set_up
from workload import PAYLOAD


class Connection:
    """A STOMP connection that takes everything."""

    sent = 0

    def __init__(self, **options: object) -> None:
        self.up = False

    def connect(self, **options: object) -> None:
        self.up = True

    def is_connected(self) -> bool:
        return self.up

    def send(self, **options: object) -> None:
        Connection.sent += 1

    def disconnect(self, **options: object) -> None:
        self.up = False

    def set_listener(self, *words: object) -> None:
        pass

    def set_ssl(self, **options: object) -> None:
        pass

    def get_listener(self, *words: object) -> None:
        pass

    def remove_listener(self, *words: object) -> None:
        pass


def main(url: str, events: int) -> None:
    # Its setting is a dotted path, and this file is the program.
    sys.modules["outbox_pattern_nop"] = sys.modules["__main__"]
    set_up(
        url,
        INSTALLED_APPS=["django_outbox_pattern"],
        DJANGO_OUTBOX_PATTERN={
            "DEFAULT_CONNECTION_CLASS": "outbox_pattern_nop.Connection",
            "DEFAULT_PRODUCER_WAITING_TIME": 0,
        },
    )
    import django  # noqa: PLC0415
    from django_outbox_pattern.factories import factory_producer  # noqa: PLC0415
    from django_outbox_pattern.models import Published  # noqa: PLC0415

    Published.objects.all().delete()
    Published.objects.bulk_create(
        [Published(destination="/topic/x", body=PAYLOAD) for _ in range(events)], batch_size=2_000
    )
    calm()
    producer = factory_producer()
    started = time.perf_counter()
    while Connection.sent < events:
        producer.publish_message_from_database()
    took = time.perf_counter() - started
    done = Published.objects.filter(status=2).count()
    if done != events:
        raise SystemExit(f"{done} of {events} events are marked as published.")
    print(json.dumps({"rate": events / took, "django": django.get_version()}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
