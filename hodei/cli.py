"""The command line of this project: Django's, with operators' errors told in one line.

A database that cannot be reached or a variable that is wrong is nothing a traceback explains. Such
an error ends here: what was found and what to do on stderr, exit 3 where nothing could be verified,
2 where a setting is missing or wrong, 1 for a refusal, 130 for Ctrl-C. Everything else is Django's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from hodei import env


def main(argv: Sequence[str]) -> int:
    """Run one management command and return its exit code."""
    try:
        return _run(argv)
    except KeyboardInterrupt:
        # While Django is loaded, or in a command of Django's own.
        sys.stderr.write("hodei: interrupted\n")
        return 130


def _run(argv: Sequence[str]) -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hodei.settings")
    env.declare(env.process_of(argv))
    from django.core.exceptions import ImproperlyConfigured  # noqa: PLC0415
    from django.core.management import execute_from_command_line  # noqa: PLC0415
    from django.db import Error  # noqa: PLC0415

    from hodei.schema.connection import connection_failed  # noqa: PLC0415
    from hodei.schema.errors import SchemaError  # noqa: PLC0415

    try:
        execute_from_command_line(list(argv))
    except SchemaError as error:
        return _say(error, error.exit_code)
    except ImproperlyConfigured as error:
        code = getattr(error, "exit_code", None)
        if code is None:
            raise
        return _say(error, code)
    except Error as error:
        failure = connection_failed(error)
        if failure is None:
            raise
        return _say(failure, failure.exit_code)
    return 0


def _say(error: Exception, code: int) -> int:
    sys.stderr.write(f"hodei: {error}\n")
    return code
