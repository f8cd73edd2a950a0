"""django-q2 on its ORM broker: one worker, results kept and written 200 at a time; no bulk."""

from __future__ import annotations

from typing import Any

from on_tasks import Backend, main


def enqueue(name: str, payload: dict[str, Any]) -> None:
    from django_q.tasks import async_task  # noqa: PLC0415

    async_task(f"peer_app.plain.{name}", **payload)


if __name__ == "__main__":
    main(
        Backend(
            settings={
                "INSTALLED_APPS": [
                    "django.contrib.contenttypes",
                    "django.contrib.auth",
                    "django_q",
                ],
                "Q_CLUSTER": {
                    "name": "bench",
                    "orm": "default",
                    "workers": 1,
                    "bulk": 200,
                    "queue_limit": 1000,
                    "timeout": 60,
                    "retry": 120,
                    "poll": 0.2,
                    "save_limit": 0,
                    "catch_up": False,
                    "scheduler": False,
                    "log_level": "CRITICAL",
                },
            },
            worker=("qcluster",),
            enqueue=enqueue,
            pauses=(0.05, 0.35),
            left="SELECT count(*) FROM django_q_ormq",
        )
    )
