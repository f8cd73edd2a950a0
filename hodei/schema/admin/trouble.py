"""What kept a page from being told, as text: the page itself is always there."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from django.db import Error

from hodei.schema.admin.asked import AskedWrongly, NotThere
from hodei.schema.connection import words_of
from hodei.schema.errors import SchemaError

logger = logging.getLogger(__name__)

COULD_NOT_VERIFY = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why there is nothing to show.

    ``status`` is of the answer. What a database or the files are to blame for is told with 200:
    some proxies put a page of their own in place of any 5xx, and that one knows no reason.
    """

    heading: str
    text: str
    status: int = 200


def trouble_of(error: Exception, using: str) -> Trouble:
    """Say what the error means; log what nobody has foreseen, a migration's own among them."""
    match error:
        case NotThere():
            return Trouble(heading="Not found", text=str(error), status=404)
        case AskedWrongly():
            return Trouble(heading="Not understood", text=str(error), status=400)
        case SchemaError():
            unverified = error.exit_code == COULD_NOT_VERIFY
            heading = "Could not verify" if unverified else "Cannot work like this"
            return Trouble(heading=heading, text=str(error))
        case Error():
            return Trouble(heading="Could not verify", text=words_of(error, using))
    logger.error("a page of the schema failed database=%s", using, exc_info=error)
    words = " ".join(str(error).split())
    return Trouble(
        heading="Could not verify",
        text=(
            f"The migrations or models of this project raise an error of their own: "
            f"{type(error).__name__}: {words or 'without words'}. The log has the traceback."
        ),
    )
