"""Migration operations that Django lacks: NOT NULL without a long lock, comments, and a guarded way
back from a schema that allows more than the one before it.

They know no model of ours; any migration on PostgreSQL can use them. All run in the transaction of
their migration, and do nothing in a database into which the routers let no table of the model.

Modules: ``not_null``, ``comments``, ``way_back``; ``moving`` is how rows get out of its way, and
``fields`` what they share.
"""

from __future__ import annotations

from hodei.schema.operations.comments import AlterComments
from hodei.schema.operations.moving import archive_of, move_rows
from hodei.schema.operations.not_null import RequireNotNull, SetNotNull, ValidateNotNull
from hodei.schema.operations.way_back import MoveRows, RefuseRows, RowsAtStake, Rule, data_loss

__all__ = [
    "AlterComments",
    "MoveRows",
    "RefuseRows",
    "RequireNotNull",
    "RowsAtStake",
    "Rule",
    "SetNotNull",
    "ValidateNotNull",
    "archive_of",
    "data_loss",
    "move_rows",
]
