"""dj-queue: one process, 8 threads, fetching 20 times as many ahead."""

from __future__ import annotations

from on_tasks import Backend, main
from workload import PAYLOAD

CHUNK = 5_000


def bulk(number: int) -> None:
    from peer_app.tasks import noop  # noqa: PLC0415

    backend = noop.get_backend()
    for first in range(0, number, CHUNK):
        backend.enqueue_all([(noop, [], PAYLOAD) for _ in range(first, min(first + CHUNK, number))])


if __name__ == "__main__":
    workers = {"queues": "*", "threads": 8, "processes": 1, "polling_interval": 0.1}
    workers["prefetch_multiplier"] = 20
    main(
        Backend(
            settings={
                "INSTALLED_APPS": ["dj_queue", "peer_app"],
                "DATABASE_ROUTERS": ["dj_queue.routers.DjQueueRouter"],
                "TASKS": {
                    "default": {
                        "BACKEND": "dj_queue.backend.DjQueueBackend",
                        "QUEUES": [],
                        "OPTIONS": {"workers": [workers]},
                    }
                },
            },
            worker=("dj_queue", "-v0"),
            bulk=bulk,
            left="SELECT count(*) FROM dj_queue_jobs WHERE finished_at IS NULL",
        )
    )
