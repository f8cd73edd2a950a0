"""Take over a database whose tables another program, or an older release, has made.

Exit codes: 0 adopted, or adopted before; 1 refused (a table of unknown shape, rows that nothing
here can repair, nothing to adopt, or the answer was no), or something differs at the end; 2 misuse
or configuration; 3 the database is out of reach, or the role lacks rights; 4 a lock was not free in
time; 5 a repair or a migration failed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hodei.schema.adoption.plan import Plan, Survey
from hodei.schema.adoption.proofs import rows
from hodei.schema.adoption.repairs import Step, StepKind
from hodei.schema.adoption.service import adopt
from hodei.schema.adoption.survey import survey
from hodei.schema.connection import check_connection
from hodei.schema.management.reports import FINE, FOUND, PlanCommand
from hodei.schema.plan.tokens import wrap
from hodei.schema.results import SchemaValidationResult
from hodei.schema.run.progress import Lines
from hodei.schema.tables import WIDTH, render, wrap_words

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

YES = "yes"


class Command(PlanCommand):
    help = (
        "Take over a database whose tables another program, or an older release, has made. Finds "
        "the tables of the baseline migrations, compares them with what those build, shows what "
        "differs and how it would be repaired, and asks. Then, in one transaction, it repairs and "
        "records the baselines as adopted; the migrations that follow run as migrate runs them. No "
        "row is lost. What broke off goes on when it is run again. Exit codes: 0 adopted, also "
        "before; 1 refused, nothing to adopt, or not as it should be at the end; 2 misuse or wrong "
        "configuration; 3 the database is out of reach or the role lacks rights; 4 a lock was not "
        "free in time; 5 a repair or a migration failed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--no-input",
            action="store_false",
            dest="interactive",
            help="Do not ask: do what is shown. Where something is in the way, nothing is done.",
        )

    def report(self, **options: Any) -> int:
        database: str = options["database"]
        check_connection(database)
        found = survey(database)
        if options["format"] == "json":
            self.print_json(as_json(found, database))
            return FOUND if found.plan is not None and found.plan.obstacles else FINE
        if found.plan is None:
            return self.go_on(found, options)
        self.print_plan(found, found.plan, database)
        if found.plan.obstacles:
            self.print_obstacles(found.plan)
            return FOUND
        if options["dry_run"]:
            self.stdout.write("Nothing was changed: this was a dry run.")
            return FINE
        if options["interactive"] and not self.agreed(found.plan):
            self.stdout.write("Nothing was changed.")
            return FOUND
        return self.carry_out(found.plan, database)

    def agreed(self, plan: Plan) -> bool:
        answer = self.ask(
            f"Adopt database {plan.database!r}? Type {YES}:",
            instead="Give --no-input to do what is shown, or --dry-run to look.",
        )
        return answer.lower() == YES

    def go_on(self, found: Survey, options: dict[str, Any]) -> int:
        """Every baseline is recorded: was it adopted, and is that complete?"""
        if not found.adopted:
            self.stdout.write(
                "\n".join(
                    wrap_words(
                        "Nothing to adopt: the baselines were applied here by migrate. Migrations "
                        f"that are pending, and for migrate to run: {found.after}."
                    )
                )
            )
            return FINE
        for app, when in found.adopted.items():
            self.stdout.write(f"App {app} was adopted on {when:%Y-%m-%d %H:%M:%S} (UTC).")
        if options["dry_run"]:
            self.stdout.write(f"Migrations that would follow: {found.after}")
            return FINE
        return self.carry_out(None, options["database"])

    def carry_out(self, plan: Plan | None, database: str) -> int:
        validation = adopt(
            database,
            plan,
            progress=Lines(self.stderr),
            tell=lambda line: self.stdout.write("\n".join(wrap_words(line))),
            # Past the wrapper, which would end each part of a line that migrate writes.
            out=self.stdout._out,  # noqa: SLF001
        )
        return self.print_verdict(validation)

    def print_verdict(self, validation: SchemaValidationResult) -> int:
        self.stdout.write(validation.summary())
        if validation.is_valid:
            return FINE
        for finding in validation.findings:
            for line in wrap_words(finding.message, "--"):
                self.stdout.write(line)
        self.stdout.write("The database is adopted, and not as it should be: see schema_validate.")
        return FOUND

    def print_plan(self, found: Survey, plan: Plan, database: str) -> None:
        self.stdout.write(f"Database {plan.database!r} (alias {database}), schema {plan.schema}:")
        self.stdout.write("")
        apps = [
            (
                app.baseline.app,
                ".".join(app.baseline.last),
                f"{app.found} of {app.total}",
                str(len([step for step in app.steps if step.statements])),
            )
            for app in plan.apps
        ]
        self.stdout.write("\n".join(render(("app", "baseline", "tables", "repairs"), apps)))
        self.stdout.write("")
        steps = [step for app in plan.apps for step in app.steps if step.statements]
        # Where something is in the way it may not have been compared.
        if steps or not plan.obstacles:
            found_out = "What differs, and the repairs, in this order and in one transaction:"
            self.stdout.write(found_out if steps else "Nothing differs from the baselines.")
            self.stdout.write("")
        for step in steps:
            self.print_step(step)
        self.print_rest(found, plan)

    def print_step(self, step: Step) -> None:
        is_of_rows = step.kind is StepKind.ROWS
        counted = f"{rows(step.count or 0)} of {step.subject} " if is_of_rows else ""
        self.stdout.write("\n".join(wrap_words(f"{counted}{step.message}", "--")))
        # Of rows the sentence says more than the statement, which is long.
        for statement in () if is_of_rows else step.statements:
            for line in wrap(f"{statement.rstrip().rstrip(';')};", WIDTH):
                self.stdout.write(line)
        self.stdout.write("")

    def print_rest(self, found: Survey, plan: Plan) -> None:
        unproved = [subject for app in plan.apps for subject in app.unproved]
        lines = [
            f"Applied before that: {', '.join('.'.join(key) for key in found.before)}"
            if found.before
            else "",
            *(
                f"Imported into the history: {rows(one.count)} of {one.history.table}"
                for one in plan.imports
            ),
            f"Validated at the end: {', '.join(unproved)}" if unproved else "",
            f"Left as they are, tables of others: {', '.join(plan.others)}" if plan.others else "",
            f"Left as they are, on these tables: {'; '.join(plan.left)}" if plan.left else "",
            f"Migrations that follow, as migrate runs them: {found.after}",
        ]
        for line in filter(None, lines):
            self.stdout.write("\n".join(wrap_words(line)))

    def print_obstacles(self, plan: Plan) -> None:
        self.stdout.write("")
        self.stderr.write("This database cannot be adopted as it is, and nothing was changed:")
        for text in plan.obstacles:
            lines = "\n".join(wrap_words(text, " "))
            self.stderr.write(f"-{lines[1:]}")


def as_json(found: Survey, database: str) -> dict[str, Any]:
    """Where the adoption stands, as a document; its keys are in docs/reference/schema_adopt.md."""
    plan = found.plan
    return {
        "format_version": 1,
        "database": database,
        "adopted": {app: when.isoformat() for app, when in found.adopted.items()},
        "before": [".".join(key) for key in found.before],
        "following": found.after,
        "plan": None if plan is None else _plan_as_json(plan),
    }


def _plan_as_json(plan: Plan) -> dict[str, Any]:
    return {
        "name": plan.database,
        "schema": plan.schema,
        "apps": [
            {
                "app": app.baseline.app,
                "baseline": ".".join(app.baseline.last),
                "tables_found": app.found,
                "tables": app.total,
                "repairs": [
                    {
                        "kind": step.kind.value,
                        "subject": step.subject,
                        "message": step.message,
                        "rows": step.count,
                        "statements": list(step.statements),
                    }
                    for step in app.steps
                    if step.statements
                ],
                "validated_at_end": list(app.unproved),
            }
            for app in plan.apps
        ],
        "imports": [{"table": one.history.table, "rows": one.count} for one in plan.imports],
        "obstacles": list(plan.obstacles),
        "left": list(plan.left),
        "tables_of_others": list(plan.others),
    }
