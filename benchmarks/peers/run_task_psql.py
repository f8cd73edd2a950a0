"""django-task-psql: 4 at once on Django's connection pool, and no bulk."""

from __future__ import annotations

from on_tasks import Backend, database, main

if __name__ == "__main__":
    import sys

    pooled = database(
        sys.argv[1], CONN_MAX_AGE=0, OPTIONS={"pool": {"min_size": 2, "max_size": 12}}
    )
    main(
        Backend(
            settings={
                "INSTALLED_APPS": ["django_task_psql", "peer_app"],
                "TASKS": {
                    "default": {
                        "BACKEND": "django_task_psql.backend.PostgresBackend",
                        "QUEUES": ["default"],
                        "OPTIONS": {"max_attempts": 3},
                    }
                },
            },
            worker_settings={"DATABASES": {"default": pooled}},
            worker=("runworker", "--concurrency", "4", "-v0"),
            left="SELECT count(*) FROM task_psql_task WHERE status <> 'SUCCESSFUL'",
        )
    )
