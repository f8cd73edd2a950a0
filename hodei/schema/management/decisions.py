"""Commands with which a person decides about one thing, with a reason that goes on record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from django.core.management.base import CommandError
from django.db import transaction

from hodei.actor import actor
from hodei.schema.management.arguments import id_of
from hodei.schema.management.reports import FINE, FOUND, MISUSE, ActionCommand

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

#: Characters of a reason.
LONGEST_REASON = 1_000
ENDS = (
    "Exit codes: 0 done, 1 refused, or there is no such {thing}, 2 misuse, 3 the database could "
    "not be used."
)


@dataclass(frozen=True, slots=True)
class Decision:
    """One thing that may be decided."""

    #: Takes the id, the options, and reason, actor and using; returns what was done, in words.
    perform: Callable[..., str]
    #: For the help of the command.
    about: str
    #: The further options that it cannot do without, and those that it takes as well.
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()


class DecisionCommand(ActionCommand):
    """``ID ACTION --reason TEXT`` in one transaction, which ``--dry-run`` takes back.

    Exit codes: 0 done, 1 refused, or there is no such thing, 2 misuse, 3 no connection.
    """

    #: What is decided about, as people call it, and a reason such as they would give.
    thing: ClassVar[str]
    example: ClassVar[str]
    decisions: ClassVar[Mapping[str, Decision]]
    #: What the functions raise: there is no such thing; not as it is now; it cannot be at all.
    missing: ClassVar[type[Exception]]
    refused: ClassVar[type[Exception]]
    invalid: ClassVar[type[Exception]]

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            self.thing, type=id_of(self.thing), metavar="ID", help=f"The {self.thing}'s id."
        )
        parser.add_argument(
            "action",
            choices=list(self.decisions),
            metavar="ACTION",
            help=f"One of: {', '.join(self.decisions)}.",
        )
        parser.add_argument("--reason", metavar="TEXT", help="Why, for the audit. Always needed.")

    def report(self, **options: Any) -> int:
        name, using = options["action"], options["database"]
        reason = options["reason"] or ""
        if not reason.strip():
            raise CommandError(f'Say why: --reason "{self.example}".', returncode=MISUSE)
        if len(reason) > LONGEST_REASON:
            raise CommandError(
                f"--reason has {len(reason):,} characters; at most {LONGEST_REASON:,}.",
                returncode=MISUSE,
            )
        values = self.values(name, options)
        try:
            with transaction.atomic(using=using):
                said = self.decisions[name].perform(
                    options[self.thing],
                    **values,
                    reason=reason,
                    actor=actor(),
                    using=using,
                )
                if options["dry_run"]:
                    transaction.set_rollback(True, using=using)
        except self.missing as error:
            raise CommandError(str(error), returncode=FOUND) from error
        except self.refused as error:
            raise CommandError(f"{error} Nothing was changed.", returncode=FOUND) from error
        except self.invalid as error:
            raise CommandError(str(error), returncode=MISUSE) from error
        self.stdout.write(f"{said}." if not said.endswith(".") else said)
        if options["dry_run"]:
            self.stderr.write("Nothing was changed: it would have been (--dry-run).")
        return FINE

    def values(self, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options that the action takes. Raises CommandError for others, and for missing."""
        decision = self.decisions[name]
        allowed = (*decision.needs, *decision.takes)
        further = {
            option for other in self.decisions.values() for option in (*other.needs, *other.takes)
        }
        for option in sorted(further - set(allowed)):
            if options[option] is not None:
                raise CommandError(f"{name} takes no --{option}.", returncode=MISUSE)
        for option in decision.needs:
            if options[option] is None:
                raise CommandError(f"{name} needs --{option}.", returncode=MISUSE)
        return {option: options[option] for option in allowed if options[option] is not None}


def help_of(what: str, thing: str, decisions: Mapping[str, Decision]) -> str:
    """The help of such a command: what it is for, its actions, its ends."""
    actions = "; ".join(f"{name}: {decision.about}" for name, decision in decisions.items())
    return f"{what} Actions: {actions}. {ENDS.format(thing=thing)}"
