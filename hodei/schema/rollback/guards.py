"""Pure: the reasons to refuse a way back, each an error that says what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from hodei.schema.errors import SchemaError
from hodei.schema.results import MigrationKey
from hodei.schema.rollback.wording import sentence

if TYPE_CHECKING:
    from hodei.schema.rollback.counting import Counted
    from hodei.schema.rollback.preview import Preview


class Refused(SchemaError):  # noqa: N818  (it reads as the fact it states)
    """A guard stands in the way back. Nothing was touched, or all of it was taken back."""

    exit_code = 1


class Irreversible(Refused):
    """A step has no way back. Nothing was touched."""


class DataAtStake(Refused):
    """Rows or values would be lost, and nobody has allowed it. ``counted`` are those."""

    def __init__(self, text: str, counted: Sequence[Counted]) -> None:
        self.counted = tuple(counted)
        super().__init__(text)


class NotAsShown(Refused):
    """Between the look and the lock something has changed. Nothing was touched."""


def refuse(preview: Preview, *, allow_data_loss: bool) -> None:
    """Raise the reason not to go this way, if there is one."""
    if preview.irreversible:
        told = "; ".join(f"{'.'.join(key)} ({what})" for key, what in preview.irreversible)
        raise Irreversible(
            f"There is no way back through {told}, and nothing was changed. Go back to what is "
            "after it, or give the operation a reverse (RunPython.noop or RunSQL.noop where there "
            "is nothing to undo)."
        )
    if allow_data_loss:
        return
    refuse_losses(preview.whole)
    if preview.losses.beyond_recall:
        told = "; ".join(f"{'.'.join(key)}: {what}" for key, what in preview.losses.beyond_recall)
        raise DataAtStake(
            "What would be lost cannot be told, nor be taken back, and nothing was changed: "
            f"{told} It runs outside of a transaction. Allow it with --allow-data-loss.",
            (),
        )


def refuse_losses(counted: Iterable[Counted]) -> None:
    """Raise DataAtStake if there is anything to lose."""
    at_stake = [one for one in counted if one.at_stake]
    if at_stake:
        raise DataAtStake(
            "Rows or values would be lost, and nothing was changed: "
            f"{'; '.join(map(sentence, at_stake))}. Allow it with --allow-data-loss; "
            "--backup FILE keeps a copy.",
            at_stake,
        )


def refuse_other_steps(shown: Sequence[MigrationKey], now: Sequence[MigrationKey]) -> None:
    """Raise NotAsShown unless the steps are those that were shown."""
    if list(shown) != list(now):
        told = ", ".join(map(".".join, now)) or "nothing"
        raise NotAsShown(
            "Somebody else has migrated since the steps were shown, and nothing was changed: now "
            f"it would undo {told}. Look again."
        )


def refuse_more(shown: Iterable[Counted], now: Iterable[Counted]) -> None:
    """Raise NotAsShown if more of something would be lost than was shown."""
    before = {id(one.loss): one.lost for one in shown}
    more = []
    for one in now:
        known = before[id(one.loss)]
        if known is not None and one.lost is not None and one.lost > known:
            more.append(f"{sentence(one)}, {one.lost - known:,} more")
    if more:
        raise NotAsShown(
            f"More would be lost than was shown, and nothing was changed: {'; '.join(more)}. Stop "
            "those who write there, and look again."
        )
