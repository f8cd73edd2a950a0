"""The one transaction of an adoption: lock, look again, repair, record. All of it, or nothing."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from django.db import Error
from django.db.migrations.recorder import MigrationRecorder

from hodei.schema import history
from hodei.schema.adoption.comparison import read_again, remaining
from hodei.schema.adoption.plan import AppPlan, Ground, Plan
from hodei.schema.errors import SchemaError
from hodei.schema.results import Direction, MigrationKey
from hodei.schema.run.failures import is_blocked
from hodei.schema.stakes import TablesBusy, lock_tables, sessions_in

if TYPE_CHECKING:
    from django.db.backends.postgresql.base import DatabaseWrapper
    from django.db.migrations import Migration
    from django.db.migrations.loader import MigrationLoader

    from hodei.schema.run.attempts import Attempt
    from hodei.schema.run.run import MigrationRun

_LONGEST_PAUSE = 30.0


class AdoptionRefused(SchemaError):  # noqa: N818  (it reads as the fact it states)
    """There are obstacles. Nothing was touched."""


class PlanChanged(SchemaError):  # noqa: N818
    """The database is not what it was when the plan was made. Nothing was touched."""


class RepairFailed(SchemaError):  # noqa: N818
    """Something differs still after all repairs. Everything was rolled back."""

    exit_code = 5


class AdoptionTransaction:
    """Carries out the plan that was agreed to, on Django's connection, as attempts of the run."""

    def __init__(
        self,
        connection: DatabaseWrapper,
        run: MigrationRun,
        loader: MigrationLoader,
        *,
        agreed: Plan,
        ground: Ground,
    ) -> None:
        self._connection = connection
        self._run = run
        self._agreed = agreed
        self._ground = ground
        self._migrations = {
            key: loader.graph.nodes[key] for one in ground.baselines for key in one.migrations
        }

    def carry_out(self, *, retries: int) -> None:
        """Owns its transaction, and tries again for want of a lock alone.

        Raises AdoptionRefused, PlanChanged, RepairFailed, TablesBusy, and what a statement raises.
        """
        with self._run.work([(migration, False) for migration in self._migrations.values()]):
            number = 1
            while not self._attempt(number, retries):
                number += 1

    def _attempt(self, number: int, retries: int) -> bool:
        before = len(self._run.results)
        try:
            with self._run.as_one():
                self._everything()
        except (TablesBusy, Error) as error:
            blocked = isinstance(error, TablesBusy) or is_blocked(error)
            if not blocked or number > retries:
                raise
            del self._run.results[before:]
            self._pause(number, retries)
            return False
        return True

    def _everything(self) -> None:
        plans: dict[str, AppPlan] = {}

        def work(attempt: Attempt, key: MigrationKey) -> None:
            if not plans:
                plans.update(self._look_again(attempt))
            plan = plans[key[0]]
            if key == plan.baseline.migrations[0]:
                self._repair(attempt, plan)

        for one in self._ground.baselines:
            for key in one.migrations:
                self._recorded(key, work)

    def _recorded(self, key: MigrationKey, work: Callable[[Attempt, MigrationKey], None]) -> None:
        migration = self._migrations[key]

        def once(attempt: Attempt) -> None:
            attempt.ran()
            work(attempt, key)
            attempt.record(lambda: self._record(migration))

        self._run.attempts(migration, Direction.FORWARD, once, event=history.ADOPTED)

    def _look_again(self, attempt: Attempt) -> dict[str, AppPlan]:
        """Lock what will be changed, and see that it is what was shown."""
        with attempt.operation("locking the tables"):
            lock_tables(self._connection, self._agreed.tables())
        with attempt.operation("comparing the tables again"):
            plan = read_again(self._connection, self._agreed.schema, self._ground)
        if plan.obstacles:
            raise AdoptionRefused(f"Nothing was changed. {' '.join(plan.obstacles)}")
        if plan.changes() != self._agreed.changes():
            raise PlanChanged(
                "The tables have been changed since the plan was made, so nothing was done: run "
                "again to see what it would be now."
            )
        with attempt.operation("importing records"):
            for one in plan.imports:
                self._run.imported(one.history.table, one.history.rows)
        return {one.baseline.app: one for one in plan.apps}

    def _repair(self, attempt: Attempt, plan: AppPlan) -> None:
        one = plan.baseline
        with self._connection.cursor() as cursor:
            # A table whose deferred keys have still to be looked at cannot be altered.
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            for step in plan.steps:
                with attempt.operation(f"{step.kind.value} {step.subject}: {step.message}"):
                    for statement in step.statements:
                        cursor.execute(statement)
        with attempt.operation("proving the repairs"):
            left = remaining(
                self._connection, self._agreed.schema, one, self._ground.builds[one.app]
            )
        if left:
            raise RepairFailed(
                f"The repairs have not made the tables of {one.app} what the baseline makes, so "
                f"everything was undone: {' '.join(left)}"
            )

    def _record(self, migration: Migration) -> None:
        recorder = MigrationRecorder(self._connection)
        for app, name in [*migration.replaces, (migration.app_label, migration.name)]:
            recorder.record_applied(app, name)

    def _pause(self, number: int, retries: int) -> None:
        seconds = min(2.0 ** (number - 1), _LONGEST_PAUSE)
        seconds *= random.uniform(0.5, 1.0)  # noqa: S311  (so that two who collide do not again)
        with self._connection.cursor() as cursor:
            found = sessions_in(cursor, self._agreed.tables())
        who = "; ".join(map(str, found)) or "sessions that have just let go"
        self._run.progress.say(
            f"the tables could not be locked, attempt {number} of {retries + 1}; the next in "
            f"{seconds:.1f} s. In the way: {who}"
        )
        time.sleep(seconds)
