"""The list page: a count that stops, and an order and a search that an index answers."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db import connections, models
from django.http import HttpRequest
from django.utils.functional import cached_property

if TYPE_CHECKING:  # the stubs' paginator is generic, Django's is not
    _Paginator = Paginator[Any]
else:
    _Paginator = Paginator

#: Rows that are counted, and that can be paged through. Narrow the filter to see others.
COUNT_LIMIT = 10_000
#: Values that a filter offers, and kinds that a search looks through.
VALUES_LIMIT = 100

# Jumps from value to value of the column that leads an index, instead of reading every row as
# SELECT DISTINCT does.
_LEADING_VALUES = """
WITH RECURSIVE found (value) AS (
    (SELECT {column} FROM {table} ORDER BY {column} LIMIT 1)
    UNION ALL
    SELECT (SELECT {column} FROM {table} WHERE {column} > found.value ORDER BY {column} LIMIT 1)
    FROM found WHERE found.value IS NOT NULL
)
SELECT value FROM found WHERE value IS NOT NULL LIMIT {limit}
"""


class CappedCount(int):
    """A number of rows that says so where it stopped counting."""

    def __str__(self) -> str:
        return f"{COUNT_LIMIT:,}+" if self > COUNT_LIMIT else int.__repr__(self)


class CappedPaginator(_Paginator):
    """Counts to COUNT_LIMIT and no further, and has no page beyond it."""

    @cached_property
    def count(self) -> CappedCount:
        """The number of rows, or one more than the limit."""
        rows: Any = self.object_list
        return CappedCount(rows.order_by().values("pk")[: COUNT_LIMIT + 1].count())

    @property
    def num_pages(self) -> int:
        """Pages within the limit, so that no offset is longer than it."""
        return max(1, -(-min(self.count, COUNT_LIMIT) // self.per_page))


class BoundedChangeList(ChangeList):
    """A list that sorts by indexed columns only, whatever the address asks for."""

    def get_ordering_field(self, field_name: Any) -> Any:
        """The column to sort by, or None where no index gives that order."""
        if field_name not in (self.model_admin.sortable_by or ()):
            return None
        return super().get_ordering_field(field_name)

    def get_queryset(
        self, request: HttpRequest, exclude_parameters: Any = None
    ) -> models.QuerySet[Any]:
        """The rows of the page, without the columns that a list does not show."""
        rows = super().get_queryset(request, exclude_parameters)
        return self.model_admin.get_list_queryset(rows)  # type: ignore[attr-defined, no-any-return]


def leading_values(model: type[models.Model], field: str, using: str) -> list[Any]:
    """Distinct values of a column that leads an index, in order, at most VALUES_LIMIT.

    One probe of the index each, however many rows the table has.
    """
    quote = connections[using].ops.quote_name
    found: Any = model._meta.get_field(field)
    column = quote(found.column)
    sql = _LEADING_VALUES.format(
        column=column, table=quote(model._meta.db_table), limit=VALUES_LIMIT
    )
    with connections[using].cursor() as cursor:
        cursor.execute(sql)
        return [value for (value,) in cursor.fetchall()]


def exact_match(rows: models.QuerySet[Any], field: str, term: str) -> models.Q | None:
    """The condition that finds ``term`` in one search field; None where it cannot be there.

    ``field`` is a field's name, or ``kind/field`` where the index leads with another column: then
    each of that column's values is looked at, since PostgreSQL before 18 cannot skip it.
    """
    leading, _, name = field.rpartition("/")
    column = rows.model._meta.get_field(name)
    target = column.target_field if isinstance(column, models.ForeignKey) else column
    value: Any = term
    if isinstance(target, models.UUIDField):
        try:
            value = uuid.UUID(term)
        except ValueError:
            return None
    elif isinstance(target, models.IntegerField):
        if not (term.isascii() and term.isdigit() and len(term) < 19):
            return None
        value = int(term)
    found = models.Q(**{name: value})
    if leading:
        found &= models.Q(**{f"{leading}__in": leading_values(rows.model, leading, rows.db)})
    return found
