"""Other job queues on PostgreSQL, as each runs best with what it offers."""

from __future__ import annotations

from peers import NodePeer, Peer

DJANGO = ("django>=6.0,<6.2", "psycopg[binary,pool]")
NEWER = (3, 12)

#: Those of the world of Django first. Their scripts know ``enqueue N``, ``bulk N``, ``drain N`` and
#: ``pickup N``.
ON_DJANGO = {
    "django-tasks-db": Peer("django-tasks-db", "0.13.0", "run_tasks_db.py", NEWER, DJANGO),
    "django-ox": Peer("django-ox", "1.9.1", "run_ox.py", NEWER, DJANGO),
    "dj-queue": Peer("dj-queue", "0.14.2", "run_dj_queue.py", NEWER, DJANGO),
    "django-task-psql": Peer("django-task-psql", "0.2.1", "run_task_psql.py", NEWER, DJANGO),
    "django-q2": Peer("django-q2", "1.11.1", "run_q2.py", NEWER, (*DJANGO, "blessed")),
    "procrastinate": Peer(
        "procrastinate", "3.10.0", "run_procrastinate.py", NEWER, DJANGO, "[django]"
    ),
}
OTHERS = {
    "pgqueuer": Peer(
        "pgqueuer", "1.6.0", "run_pgqueuer.py", beside=("asyncpg", "uvloop", "psycopg[binary]")
    ),
    "dbos": Peer("dbos", "3.4.0", "run_dbos.py", beside=("psycopg[binary]",)),
    "graphile-worker": NodePeer(
        "graphile-worker", "0.17.3", "run_graphile_worker.cjs", beside=("pg@8",)
    ),
}
ALL = {**ON_DJANGO, **OTHERS}
