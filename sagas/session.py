"""What our statements need of a psycopg connection, on Django's: for steps that are local, whose
records belong into the transaction of what they do."""

from __future__ import annotations

from typing import Any

from django.db import connections, transaction


class DjangoSession:
    def __init__(self, using: str) -> None:
        self.using = using

    def execute(self, sql: str, parameters: Any = None) -> Any:
        cursor = connections[self.using].cursor()
        cursor.execute(sql, parameters)
        return cursor

    def transaction(self) -> Any:
        return transaction.atomic(using=self.using)
