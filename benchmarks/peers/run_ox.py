"""django-ox: 20 at once. It polls; for the pick-up every 50 ms instead of 1 s."""

from __future__ import annotations

from on_tasks import Backend, main
from workload import PAYLOAD

WORKER = ("ox_worker", "--concurrency", "20", "--processes", "1", "-v0")


def bulk(number: int) -> None:
    from django_ox.bulk import enqueue_many  # noqa: PLC0415
    from peer_app.tasks import noop  # noqa: PLC0415

    enqueue_many(noop, [((), PAYLOAD) for _ in range(number)])


if __name__ == "__main__":
    main(
        Backend(
            settings={
                "INSTALLED_APPS": ["django_ox", "peer_app"],
                "TASKS": {"default": {"BACKEND": "django_ox.backend.OxBackend", "QUEUES": []}},
            },
            worker=WORKER,
            pickup_worker=(*WORKER, "--interval", "0.05"),
            pauses=(0.06, 0.11),
            bulk=bulk,
            left="SELECT count(*) FROM django_ox_oxtask WHERE status <> 'SUCCESSFUL'",
        )
    )
