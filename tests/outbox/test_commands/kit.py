from __future__ import annotations

from outbox.outcomes import permanent
from outbox.services import dead_letters
from outbox.services.dead_letters import LetterFilter
from tests import commands
from tests.outbox.conftest import Outbox

BY = {"by": "anna", "note": "enough"}


SECRET = permanent("http_401", "Authorization: Bearer abcdef0123456789 was refused, password=hush")


class Ran(commands.Ran):
    """A command that has ended, and whose lines a terminal has room for."""

    def __init__(self, *words: str, code: int = 0) -> None:
        super().__init__(*words, code=code)
        for line in self.out.splitlines():
            assert len(line) <= 100 or "error: " in line, line


def dlq(*words: str, code: int = 0) -> Ran:
    return Ran("outbox_dlq", *words, code=code)


def states(outbox: Outbox) -> list[str]:
    found = dead_letters.list_letters(LetterFilter(state=None), limit=100)
    return sorted(letter.state for letter in found.letters)
