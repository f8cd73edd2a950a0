"""Pure: PostgreSQL's table locks, weakest first, and what others may still do meanwhile.

Source: the table of conflicting modes in the manual's chapter "Explicit Locking".
"""

from __future__ import annotations

from enum import StrEnum


class LockMode(StrEnum):
    """A table-level lock, in the words of the manual."""

    ACCESS_SHARE = "ACCESS SHARE"
    ROW_SHARE = "ROW SHARE"
    ROW_EXCLUSIVE = "ROW EXCLUSIVE"
    SHARE_UPDATE_EXCLUSIVE = "SHARE UPDATE EXCLUSIVE"
    SHARE = "SHARE"
    SHARE_ROW_EXCLUSIVE = "SHARE ROW EXCLUSIVE"
    EXCLUSIVE = "EXCLUSIVE"
    ACCESS_EXCLUSIVE = "ACCESS EXCLUSIVE"

    @property
    def strength(self) -> int:
        return _ORDER[self]

    @property
    def blocks_reads(self) -> bool:
        return self is LockMode.ACCESS_EXCLUSIVE

    @property
    def blocks_writes(self) -> bool:
        """Whether INSERT, UPDATE and DELETE of others wait."""
        return self.strength >= LockMode.SHARE.strength

    @property
    def effect(self) -> str:
        """What it keeps others from, in a few words."""
        if self.blocks_reads:
            return "blocks reads and writes"
        if self.blocks_writes:
            return "blocks writes"
        if self is LockMode.SHARE_UPDATE_EXCLUSIVE:
            return "blocks other schema changes and vacuum"
        return "blocks no reads or writes"

    @classmethod
    def of(cls, pg_locks_mode: str) -> LockMode:
        """The mode that ``pg_locks.mode`` names: ``RowExclusiveLock``."""
        return _BY_VIEW[pg_locks_mode]


_ORDER = {mode: number for number, mode in enumerate(LockMode)}
_BY_VIEW = {mode.value.title().replace(" ", "") + "Lock": mode for mode in LockMode}
