"""Work with dead letters: events that could not be delivered, and wait for a person.

JSON (``list`` and ``show`` with ``--format json``): docs/reference/outbox_dlq.md has the keys.

Exit codes: 0 done, also where a filter matches nothing; 1 refused for some or all (somebody else
was faster, there is no such dead letter), or stopped before the end; 2 misuse or configuration;
3 the database could not be used.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from argparse import ArgumentTypeError
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError

from hodei.actor import os_user
from hodei.redaction import redact
from hodei.schema.management.arguments import id_of, whole
from hodei.schema.management.reports import FINE, FOUND, MISUSE, DatabaseCommand, ReportCommand
from hodei.schema.timing import instant
from hodei.values import printable
from hodei.wording import counted
from outbox.events import EventInvalid
from outbox.management import letters
from outbox.management.conditions import add_conditions, filter_of, is_limited
from outbox.management.stopping import stopped_by_signals
from outbox.services import dead_letters
from outbox.services.dead_letters import Cursor, DeadLetterError, Deed, LetterFilter
from outbox.services.dead_letters.acting import is_possible
from outbox.services.dead_letters.bulk import MOST_ACTED, Rate
from outbox.services.dead_letters.reading import MOST_LISTED
from outbox.services.dead_letters.resending import merge_patch
from outbox.states import DeadLetterAction, DeadLetterState

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

ACTIONS = {
    "requeue": DeadLetterAction.REQUEUED,
    "resolve": DeadLetterAction.RESOLVED,
    "discard": DeadLetterAction.DISCARDED,
    "restore": DeadLetterAction.RESTORED,
}
HELP = {
    "list": "List dead letters, those that died last first; without their content.",
    "show": "Show one whole: what went wrong, what waits behind it, what was done, its content.",
    "requeue": "Send events again: the same ones, each in its old place and with all its attempts.",
    "resolve": "Say that what the events tell of was brought about by other means.",
    "discard": "Say that nobody needs the events any more.",
    "restore": "Open dead letters again that were discarded or resolved.",
    "resend": "Send a changed copy in place of an event, under an id of its own.",
}
LIMIT = 50
SECONDS_BETWEEN_NOTICES = 1.0
NOTHING_FITS = "There is no dead letter that fits."


class Command(ReportCommand):
    help = (
        "Work with dead letters: events that a destination would not take, and that wait for a "
        "person. What waits behind one goes on, in order, once it is requeued, resolved, discarded "
        "or resent. Each of these is done once, and put on record with who did it, when and why. "
        "Exit codes: 0 done, 1 refused or stopped, 2 misuse or wrong configuration, 3 the database "
        "could not be used."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

        def command(name: str) -> CommandParser:
            found: CommandParser = commands.add_parser(
                name, help=HELP[name], description=HELP[name]
            )
            return found

        listing = command("list")
        ReportCommand.add_arguments(self, listing)
        add_conditions(listing)
        listing.add_argument(
            "--state",
            choices=[*(state.lower() for state in DeadLetterState), "all"],
            default="open",
            help="Only those of this state (default: open).",
        )
        listing.add_argument(
            "--limit",
            type=whole("dead letters", most=MOST_LISTED),
            default=LIMIT,
            metavar="N",
            help=f"At most N (default: {LIMIT}).",
        )
        listing.add_argument(
            "--after",
            type=_cursor,
            metavar="WHERE",
            help="Go on where a list has ended: it says how.",
        )

        showing = command("show")
        ReportCommand.add_arguments(self, showing)
        showing.add_argument("ids", nargs=1, metavar="ID", help=_ID_HELP)

        for name in ACTIONS:
            acting = command(name)
            DatabaseCommand.add_arguments(self, acting)
            acting.add_argument("ids", nargs="*", metavar="ID", help=_ID_HELP)
            add_conditions(acting)
            if name == "restore":
                acting.add_argument(
                    "--state",
                    choices=["discarded", "resolved"],
                    help="With conditions: those of this state (default: discarded).",
                )
            acting.add_argument("--all", action="store_true", help="All that there are.")
            acting.add_argument(
                "--limit",
                type=whole("dead letters", most=MOST_ACTED),
                metavar="N",
                help="At most N, those of the oldest events.",
            )
            acting.add_argument(
                "--rate", type=_rate, metavar="N", help="At most N a second (default: no limit)."
            )
            acting.add_argument(
                "--batch",
                type=id_of("run"),
                metavar="ID",
                help="Go on with a run that was stopped: it said its id. Give the same conditions.",
            )
            _add_record(acting)

        resending = command("resend")
        DatabaseCommand.add_arguments(self, resending)
        resending.add_argument("ids", nargs=1, metavar="ID", help=_ID_HELP)
        content = resending.add_mutually_exclusive_group(required=True)
        content.add_argument(
            "--patch",
            metavar="JSON",
            help=(
                "What is to be different, as a JSON object; null takes a key away, and the rest "
                "stays as it is, secrets included (RFC 7396)."
            ),
        )
        content.add_argument(
            "--payload", metavar="FILE", help="The whole new payload, as JSON; - reads from stdin."
        )
        _add_record(resending)

    def report(self, **options: Any) -> int:
        act = {"list": self.list, "show": self.show, "resend": self.resend}.get(
            options["command"], self.act
        )
        try:
            return act(options)
        except DeadLetterError as error:
            raise CommandError(str(error), returncode=FOUND) from error
        except (ValueError, ImproperlyConfigured) as error:
            raise CommandError(str(error), returncode=MISUSE) from error

    def list(self, options: dict[str, Any]) -> int:
        database, state = options["database"], options["state"]
        wanted = filter_of(options, None if state == "all" else DeadLetterState(state.upper()))
        page = dead_letters.list_letters(
            wanted, limit=options["limit"], after=options["after"], using=database
        )
        cursor = page.next and f"{page.next.died_at.isoformat()}/{page.next.id}"
        if options["format"] == "json":
            self.print_json(letters.list_document(database, page, cursor))
            return FINE
        if not page.letters:
            self.stdout.write(NOTHING_FITS)
            return FINE
        now = datetime.now(UTC)
        table = letters.table if state == "open" else letters.table_of_ends
        self.stdout.write(printable("\n".join(table(page.letters, now))))
        if cursor:
            self.stderr.write(f"There are more: --after {cursor}")
        return FINE

    def show(self, options: dict[str, Any]) -> int:
        database = options["database"]
        (letter,) = dead_letters.identify(options["ids"], using=database)
        detail = dead_letters.get(letter, using=database)
        if options["format"] == "json":
            self.print_json(letters.detail_document(database, detail))
        else:
            self.stdout.write(printable("\n".join(letters.whole(detail, datetime.now(UTC)))))
        return FINE

    def act(self, options: dict[str, Any]) -> int:
        """Requeue, resolve, discard or restore: some by their ids, or all that fit."""
        named, conditions = bool(options["ids"]), is_limited(options)
        of_many = any(options[name] for name in ("all", "limit", "rate", "batch"))
        if named and options.get("state"):
            raise ValueError("--state is for conditions and --all; ids alone say which are meant.")
        if named and (conditions or of_many):
            raise ValueError(
                "Give ids, or conditions, or --all: not several of these. --limit, --rate and "
                "--batch are for the last two."
            )
        if not named and not conditions and not options["all"]:
            raise ValueError(
                "Say which: by ids, by conditions such as --class, or --all. With --dry-run it "
                "shows how many they are."
            )
        if conditions and options["all"]:
            raise ValueError("--all leaves no room for conditions.")
        return self.act_on_ids(options) if named else self.act_on_all(options)

    def act_on_ids(self, options: dict[str, Any]) -> int:
        database = options["database"]
        found = dead_letters.identify(options["ids"], using=database)
        done = _past(options)
        if options["dry_run"]:
            wanted = LetterFilter(state=None, ids=found)
            page = dead_letters.list_letters(wanted, limit=len(found), using=database)
            now = datetime.now(UTC)
            self.stdout.write(printable("\n".join(letters.table_of_ends(page.letters, now))))
            action = ACTIONS[options["command"]]
            able = sum(1 for one in page.letters if is_possible(one.state, action))
            self.stdout.write(f"{counted(able, 'dead letter')} would be {done}.")
            if able < len(page.letters):
                left = len(page.letters) - able
                self.stdout.write(f"{counted(left, 'dead letter')} would be left alone.")
            return FINE
        act = getattr(dead_letters, options["command"])
        refused = 0
        for letter in found:
            try:
                one = act(letter, by=options["by"], note=_reason(options), using=database)
            except DeadLetterError as error:
                refused += 1
                self.stderr.write(printable(str(error)))
                continue
            self.stdout.write(f"Dead letter {one.letter_id} was {done}.")
            if one.waits_behind:
                self.stdout.write(
                    f"  Its aggregate waits behind event {one.waits_behind}, which goes first."
                )
        return FOUND if refused else FINE

    def act_on_all(self, options: dict[str, Any]) -> int:
        database, done = options["database"], _past(options)
        usual = "discarded" if options["command"] == "restore" else "open"
        state = DeadLetterState((options.get("state") or usual).upper())
        wanted, batch = filter_of(options, state), options["batch"]
        ahead = dead_letters.preview(wanted, limit=options["limit"], batch_id=batch, using=database)
        scope = (
            f"{counted(ahead.selected, 'dead letter')} of {ahead.matching:,} that fit, in "
            f"{counted(ahead.aggregates, 'aggregate')}"
        )
        if options["dry_run"]:
            self.stdout.write(f"{scope}, would be {done}.")
            return FINE
        if not ahead.selected:
            self.stdout.write(NOTHING_FITS)
            return FINE
        deed = Deed(
            action=ACTIONS[options["command"]],
            by=options["by"],
            note=_reason(options),
            batch_id=batch or uuid.uuid4(),
        )
        self.stderr.write(f"{scope}. Ctrl-C stops it, and --batch {deed.batch_id} goes on with it.")
        with stopped_by_signals() as stop:
            result = dead_letters.act_where(
                wanted,
                deed,
                limit=options["limit"],
                rate=options["rate"],
                stop=stop,
                tell=self.progress(),
                using=database,
            )
        self.stdout.write(f"{counted(result.done, 'dead letter')} {_were(result.done)} {done}.")
        if result.waiting:
            self.stdout.write(
                f"Of these {result.waiting:,} wait behind another event of their aggregate."
            )
        if result.refused:
            were = _were(result.refused)
            self.stderr.write(f"{counted(result.refused, 'dead letter')} {were} left alone:")
            for refusal in result.refusals:
                self.stderr.write(f"  {printable(str(refusal))}")
        if result.is_interrupted:
            left = result.selected - result.done - result.refused
            self.stderr.write(f"Stopped: {left:,} left. --batch {deed.batch_id} goes on.")
        return FOUND if result.refused or result.is_interrupted else FINE

    def progress(self) -> Any:
        """Tell how far it is, once a second at most."""
        told = time.monotonic()

        def tell(number: int, every: int) -> None:
            nonlocal told
            if number < every and time.monotonic() - told >= SECONDS_BETWEEN_NOTICES:
                told = time.monotonic()
                self.stderr.write(f"  {number:,} of {every:,}")
                self.stderr.flush()

        return tell

    def resend(self, options: dict[str, Any]) -> int:
        database = options["database"]
        (letter,) = dead_letters.identify(options["ids"], using=database)
        if options["patch"] is not None:
            patch = _json("--patch", options["patch"])
            payload = merge_patch(dead_letters.get(letter, using=database).payload, patch)
        else:
            payload = _json("--payload", _read(options["payload"]))
        if options["dry_run"]:
            self.stdout.write(printable(json.dumps(redact(payload), indent=2, ensure_ascii=False)))
            self.stdout.write(f"This would be sent in place of dead letter {letter}.")
            return FINE
        try:
            copy = dead_letters.edit_and_resend(
                letter, payload=payload, by=options["by"], note=_reason(options), using=database
            )
        except EventInvalid as error:
            raise CommandError(str(error), returncode=MISUSE) from error
        self.stdout.write(f"Dead letter {letter} was resent.\n  Its copy is event {copy}.")
        return FINE


_ID_HELP = (
    "The id of a dead letter or of its event; of a dead letter's the first eight digits are enough."
)


def _add_record(parser: CommandParser) -> None:
    parser.add_argument(
        "--reason",
        "--note",
        dest="reason",
        metavar="TEXT",
        help="Why; it is put on record. It may be left out with --dry-run alone.",
    )
    parser.add_argument(
        "--by",
        metavar="NAME",
        default=os_user(),
        help="Who does it, for the record. Without it: the user of the operating system.",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="Show what would be done, and do none of it."
    )


def _reason(options: dict[str, Any]) -> str:
    reason: str = options["reason"] or ""
    if not reason.strip():
        raise ValueError("--reason TEXT is missing: the next one to look will want to know why.")
    return reason.strip()


def _past(options: dict[str, Any]) -> str:
    return ACTIONS[options["command"]].lower()


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def _json(option: str, text: str) -> Any:
    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is no JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{option} is no JSON: {error}.") from error


def _read(name: str) -> str:
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"--payload {name!r} cannot be read: {error}.") from error


def _cursor(text: str) -> Cursor:
    when, _slash, letter = text.rpartition("/")
    try:
        return Cursor(instant(when, datetime.now(UTC)).astimezone(UTC), uuid.UUID(letter))
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r:.80} is not what a list has ended with") from error


def _rate(text: str) -> float:
    try:
        return Rate(float(text)).per_second or 0.0
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is no rate; give a number above 0.") from error
