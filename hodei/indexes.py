"""Kinds of indexes that Django has only in ``django.contrib.postgres``, which a project would have
to install for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from django.db.models import Index

if TYPE_CHECKING:
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor
    from django.db.backends.ddl_references import Statement
    from django.db.models import Model


class SeparateIndex(Index):
    """A B-tree that does not put equal entries together (``deduplicate_items = off``): for keys of
    which each has few rows, where PostgreSQL would look for equal ones on every full page."""

    def create_sql(
        self,
        model: type[Model],
        schema_editor: BaseDatabaseSchemaEditor,
        using: str = "",
        **kwargs: Any,
    ) -> Statement:
        statement = super().create_sql(model, schema_editor, using=using, **kwargs)
        parts = cast("dict[str, Any]", statement.parts)
        parts["extra"] = f" WITH (deduplicate_items = off){parts['extra']}"
        return statement
