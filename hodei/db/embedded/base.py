"""Django's PostgreSQL backend, which starts the embedded server before it connects."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.backends.postgresql import base

from hodei.db.embedded import session
from hodei.db.embedded.client import DatabaseClient
from hodei.db.embedded.environment import neutral_parameters
from hodei.db.embedded.location import PORT, SUPERUSER, Location, locate


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection to the server of ``settings_dict["EMBEDDED_DIRECTORY"]``."""

    client_class = DatabaseClient

    def __init__(self, settings_dict: dict[str, Any], alias: str = "default") -> None:
        super().__init__(settings_dict, alias)
        directory = settings_dict.get("EMBEDDED_DIRECTORY")
        if not directory:
            raise ImproperlyConfigured(
                f"DATABASES[{alias!r}] uses hodei.db.embedded and has no EMBEDDED_DIRECTORY: name "
                "the folder that holds the data."
            )
        self.location = locate(directory)
        # pg_dump and raw connections are made from these, whoever wrote the settings.
        settings_dict.update(HOST=str(self.location.sockets), PORT=str(PORT), USER=SUPERUSER)

    def ensure_server(self) -> Location:
        """Start the server if it does not run. For those who connect without this wrapper."""
        return session.ensure(self.settings_dict["EMBEDDED_DIRECTORY"])

    def get_connection_params(self) -> dict[str, Any]:
        return {**neutral_parameters(), **super().get_connection_params()}

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        self.ensure_server()
        return super().get_new_connection(conn_params)
