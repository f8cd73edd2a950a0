"""List and change the providers, which make workers. Exit codes: 0 fine, 1 there is no such
provider, or it cannot be done now; 2 misuse; 3 no connection.

JSON (``list --format json``), one object whose keys stay: see docs/reference/jobs_provider.md.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError
from django.db import transaction
from django.db.models import Count, F, Q

from hodei.actor import actor
from hodei.redaction import redact
from hodei.schema.management.arguments import number, whole
from hodei.schema.management.reports import FINE, FOUND, MISUSE, ReportCommand
from hodei.values import shown
from jobs.management.files import read_json
from jobs.management.tables import aligned, cut
from jobs.models import Provider
from jobs.services import providers
from jobs.states import WORKER_FINAL

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

FORMAT_VERSION = 1
WRITES = ("add", "change")
#: What ``add`` and ``change`` give to ``providers.save``.
FIELDS = ("provider_type", "config", "capabilities", "priority", "max_workers", "tags")


class Command(ReportCommand):
    help = (
        "List, add, change, enable, disable and remove providers: what makes workers where jobs "
        "wait and no worker serves them, while a sagas_runner runs. Exit codes: 0 fine, 1 there is "
        "no such provider, or one of this name already, or it cannot be done now, 2 misuse or an "
        "invalid provider, 3 the database could not be used."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "action",
            choices=("list", "add", "change", "enable", "disable", "remove"),
            help="What to do. Of a disabled provider the workers go on, and none is made.",
        )
        parser.add_argument("name", nargs="?", metavar="NAME", help="The name of the provider.")
        parser.add_argument(
            "--type",
            dest="provider_type",
            metavar="TYPE",
            help="For add: process, docker, kubernetes or another type, or custom: and a name.",
        )
        parser.add_argument(
            "--config",
            metavar="FILE",
            help="For add and change: a file with its config as JSON; - is stdin. Without it: {}.",
        )
        parser.add_argument(
            "--capabilities",
            metavar="FILE",
            help="For add and change: a file with what its workers can, as JSON; - is stdin.",
        )
        parser.add_argument(
            "--priority",
            type=number("priority", -providers.MOST_PRIORITY, providers.MOST_PRIORITY),
            metavar="N",
            help="For add and change: the one with the highest is chosen first. Without it: 0.",
        )
        parser.add_argument(
            "--max-workers",
            type=whole("workers", most=providers.MOST_WORKERS),
            metavar="N",
            help="For add and change: how many workers of it may live at once. Without it: 10.",
        )
        parser.add_argument(
            "--tags",
            metavar="TAG,TAG",
            help="For add and change: its tags. Without it: none.",
        )
        parser.add_argument(
            "--reason",
            metavar="TEXT",
            help="For enable, disable and remove: why; the audit keeps it.",
        )

    def report(self, **options: Any) -> int:
        action, name, using = options["action"], options["name"], options["database"]
        if (action == "list") is (name is not None):
            raise CommandError(
                "list takes no name." if name else f"Give the name of the provider to {action}.",
                returncode=MISUSE,
            )
        _check_options(action, options)
        if action == "list":
            return self._list(using, options["format"])
        try:
            said = _do(action, name, options, using)
        except (providers.ProviderNotFound, providers.ProviderConflict) as error:
            raise CommandError(str(error), returncode=FOUND) from error
        except providers.ProviderInvalid as error:
            raise CommandError(str(error), returncode=MISUSE) from error
        self.stdout.write(said)
        return FINE

    def _list(self, using: str, form: str) -> int:
        final = [state.value for state in WORKER_FINAL]
        found = list(
            Provider.objects.using(using)
            .annotate(live_workers=Count("workers", filter=~Q(workers__state__in=final)))
            .order_by(F("priority").desc(), "name")
        )
        if form == "json":
            self.print_json(
                {
                    "format_version": FORMAT_VERSION,
                    "database": using,
                    "providers": [document(row) for row in found],
                }
            )
        elif found:
            for line in table(found):
                self.stdout.write(line)
        else:
            self.stdout.write("There are no providers.")
        return FINE


def _check_options(action: str, options: dict[str, Any]) -> None:
    """Raise CommandError for what the action would leave aside."""
    if action not in WRITES and (given := [one for one in FIELDS if options[one] is not None]):
        option = "type" if given[0] == "provider_type" else given[0].replace("_", "-")
        raise CommandError(
            f"{action} takes no --{option}; {' and '.join(WRITES)} do.", returncode=MISUSE
        )
    if (action in WRITES or action == "list") and options["reason"] is not None:
        raise CommandError(
            f"{action} takes no --reason; enable, disable and remove do.", returncode=MISUSE
        )
    if action != "list" and options["format"] == "json":
        raise CommandError(f"{action} takes no --format json; list does.", returncode=MISUSE)


def _do(action: str, name: str, options: dict[str, Any], using: str) -> str:
    if action in WRITES:
        return _save(action, name, options, using)
    found = _named(name, using)
    reason = options["reason"]
    if not (reason or "").strip():
        raise CommandError("Say why: --reason TEXT; the audit keeps it.", returncode=MISUSE)
    if action == "remove":
        providers.delete(found.pk, reason=reason, actor=actor(), using=using)
        return f"Provider {name} is removed."
    change = providers.enable if action == "enable" else providers.disable
    changed = change(found.pk, reason=reason, actor=actor(), using=using)
    return f"Provider {name} is {'now' if changed else 'already'} {action}d."


def _save(action: str, name: str, options: dict[str, Any], using: str) -> str:
    given = {field: options[field] for field in FIELDS if options[field] is not None}
    for field in ("config", "capabilities"):
        if field in given:
            given[field] = _object(given[field])
    if "tags" in given:
        given["tags"] = [tag.strip() for tag in given["tags"].split(",") if tag.strip()]
    if action == "change":
        if not given:
            raise CommandError("Give what is to be changed, as --max-workers 5.", returncode=MISUSE)
        with transaction.atomic(using=using):
            # Locked: what another changes at this moment is not written back.
            before = _named(name, using, lock=True)
            kept = {field: getattr(before, field) for field in FIELDS if field != "capabilities"}
            given = {"metadata": before.metadata, **kept, **given}
            providers.save(before.pk, name=name, actor=actor(), using=using, **given)
        return f"Provider {name} is changed."
    if "provider_type" not in given:
        raise CommandError("Give its type: --type process.", returncode=MISUSE)
    found = uuid.uuid4()
    providers.save(found, name=name, actor=actor(), using=using, **given)
    return f"Provider {name} is added, and ACTIVE; its id is {found}."


def _named(name: str, using: str, *, lock: bool = False) -> Provider:
    rows = Provider.objects.using(using)
    found = (rows.select_for_update() if lock else rows).filter(name=name).first()
    if found is None:
        raise CommandError(f"There is no provider {shown(name)}.", returncode=FOUND)
    return found


def _object(file: str) -> dict[str, Any]:
    found = read_json(file)
    if not isinstance(found, dict):
        raise CommandError(f"{file} holds {shown(found)}; it is a JSON object.", returncode=MISUSE)
    return found


def document(row: Any) -> dict[str, Any]:
    """One provider, as JSON has it."""
    metadata = row.metadata if isinstance(row.metadata, dict) else {}
    return {
        "id": str(row.pk),
        "name": row.name,
        "type": row.provider_type,
        "status": row.status,
        "priority": row.priority,
        "live_workers": row.live_workers,
        "max_workers": row.max_workers,
        "tags": row.tags,
        "config": redact(row.config),
        "capabilities": redact(metadata.get(providers.CAPABILITIES)),
    }


def table(rows: Sequence[Any]) -> Iterator[str]:
    """The same for a person, at most 100 columns."""
    cells = [("name", "type", "status", "workers", "priority")]
    cells += [
        (
            cut(row.name, 36),
            cut(row.provider_type, 24),
            row.status,
            f"{row.live_workers} of {row.max_workers}",
            str(row.priority),
        )
        for row in rows
    ]
    return aligned(cells)
