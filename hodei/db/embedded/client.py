"""``manage.py dbshell``: the embedded server is started first, and its own psql is used."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterable
from typing import Any

from django.db.backends.postgresql import client

from hodei.db.embedded import binaries, session
from hodei.db.embedded.environment import for_client


class DatabaseClient(client.DatabaseClient):
    """Runs the bundled psql without the caller's PG* variables."""

    @classmethod
    def settings_to_cmd_args_env(
        cls, settings_dict: dict[str, Any], parameters: Iterable[str]
    ) -> tuple[list[str], dict[str, str] | None]:
        words, environment = super().settings_to_cmd_args_env(settings_dict, list(parameters))
        return [binaries.default().program("psql"), *words[1:]], environment

    def runshell(self, parameters: Iterable[str]) -> None:
        settings = self.connection.settings_dict
        session.ensure(settings["EMBEDDED_DIRECTORY"])
        words, environment = self.settings_to_cmd_args_env(settings, parameters)
        # A Ctrl-C is for psql, which cancels its query.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            subprocess.run(  # noqa: S603
                words, env={**for_client(), **(environment or {})}, check=True
            )
        finally:
            signal.signal(signal.SIGINT, before)
