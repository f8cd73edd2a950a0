"""JSON that a person gives to a command in a file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from hodei.schema.management.reports import MISUSE
from hodei.values import shown


def read_json(file: str) -> Any:
    """What the file holds; ``-`` is stdin. Raises CommandError: misuse."""
    name = shown(file)[1:-1]
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
        return json.loads(text)
    except OSError as error:
        raise CommandError(f"Cannot read {name}: {error.strerror}.", returncode=MISUSE) from error
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{name} is no JSON: {error}.", returncode=MISUSE) from error
