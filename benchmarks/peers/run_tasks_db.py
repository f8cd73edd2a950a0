"""django-tasks-db: one thread, no bulk. It polls; for the pick-up every 10 ms instead of 1 s."""

from __future__ import annotations

from on_tasks import Backend, main

WORKER = ("db_worker", "--no-startup-delay", "-v0", "--interval")
LEFT = "SELECT count(*) FROM django_tasks_database_dbtaskresult WHERE status <> 'SUCCESSFUL'"

if __name__ == "__main__":
    main(
        Backend(
            settings={
                "INSTALLED_APPS": ["django_tasks_db", "peer_app"],
                "TASKS": {"default": {"BACKEND": "django_tasks_db.DatabaseBackend", "QUEUES": []}},
            },
            worker=(*WORKER, "0"),
            pickup_worker=(*WORKER, "0.01"),
            left=LEFT,
        )
    )
