"""Management commands, run in the process of the test."""

from __future__ import annotations

import io
import json
from typing import Any

from django.core.management import call_command
from django.core.management.base import CommandError


class Ran:
    """A command that has ended, with this exit code."""

    def __init__(self, *words: str, code: int = 0) -> None:
        out, err = io.StringIO(), io.StringIO()
        self.code = 0
        try:
            call_command(*words, stdout=out, stderr=err)
        except CommandError as error:
            self.code = error.returncode
            err.write(str(error))
        except SystemExit as ended:
            self.code = int(ended.code or 0)
        self.out, self.err = out.getvalue(), err.getvalue()
        assert self.code == code, self.out + self.err

    @property
    def json(self) -> Any:
        return json.loads(self.out)
