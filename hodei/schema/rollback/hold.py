"""What a way back does in its transaction beside the migrations: locks what goes, counts again,
copies it, and looks at what really went."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hodei.schema.backup import Backup, back_up
from hodei.schema.errors import SchemaError
from hodei.schema.results import MigrationKey
from hodei.schema.rollback.counting import count
from hodei.schema.rollback.guards import refuse_losses, refuse_more
from hodei.schema.rollback.losses import read_names
from hodei.schema.rollback.witness import Witness
from hodei.schema.stakes import lock_tables

if TYPE_CHECKING:
    from django.db.backends.postgresql.base import DatabaseWrapper

    from hodei.schema.rollback.preview import Preview


class BackupPathTaken(SchemaError):  # noqa: N818  (it reads as the fact it states)
    """The backup cannot be written there. Nothing was touched."""

    exit_code = 2


def check_path(path: Path | None) -> None:
    """Raise BackupPathTaken if there is something of that name, or no folder for it."""
    if path is not None and (path.exists() or not path.parent.is_dir()):
        why = "is there already" if path.exists() else "is in a folder that does not exist"
        raise BackupPathTaken(
            f"The backup cannot be written: {path} {why}, and nothing was changed. Name a new file "
            "in a folder that exists."
        )


class Hold:
    """The guard of one way back.

    ``allowed``: to lose what is counted, and what could not be seen before. ``shown``: somebody has
    agreed to the counts of the preview, and to no more.
    """

    def __init__(
        self,
        connection: DatabaseWrapper,
        preview: Preview,
        *,
        allowed: bool,
        shown: bool,
        path: Path | None,
    ) -> None:
        self.backup: Backup | None = None
        self._connection = connection
        self._preview = preview
        self._allowed = allowed
        self._shown = shown
        self._path = path
        self._witness: Witness | None = None

    def before(self, step: MigrationKey | None) -> None:
        """Nobody writes into what goes from here on, until the caller's transaction ends.

        Raises TablesBusy, DataAtStake, NotAsShown and BackupFailed.
        """
        counted = [
            one
            for one in (self._preview.whole if step is None else self._preview.counted)
            if step in {None, one.loss.step}
        ]
        there = read_names(self._connection, [one.loss.table for one in counted])
        losses = [one.loss for one in counted if one.loss.table.oid in there and not one.problem]
        lock_tables(self._connection, {table.quoted for table in there.values()})
        now = count(self._connection, losses)
        if step is not None:
            # Where a rule cannot be asked in the middle of the way, its operation asks by itself.
            now = [one for one in now if not one.problem]
        if not self._allowed:
            refuse_losses(now)
            self._witness = Witness(self._connection, self._preview.losses)
        elif self._shown:
            refuse_more(counted, now)
        if step is None:
            self._copy()

    def _copy(self) -> None:
        """Write the backup, if one is wanted and there is something to copy."""
        tables = [table.quoted for table in self._preview.tables]
        if self._path is None or not tables:
            return
        if self.backup is not None:
            # Of an attempt that did not get its locks: nothing had gone, and it is old now.
            self._path.unlink()
            self.backup = None
        with self._connection.cursor() as cursor:
            # While pg_dump works this session is idle, and holds the locks.
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        self.backup = back_up(self._connection, tables, self._path)

    def after(self) -> None:
        """Raises LostUnseen."""
        if self._witness is not None:
            self._witness.testify()
