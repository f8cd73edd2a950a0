"""The root of this app's exceptions; each of them stands beside the code that raises it."""

from __future__ import annotations

from typing import ClassVar


class SchemaError(Exception):
    """Something this app was asked for could not be done. The text is for an operator."""

    #: What a command that ends with this error returns to the shell.
    exit_code: ClassVar[int] = 1
