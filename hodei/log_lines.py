"""The lines of a log: without secrets, and what a record says on one line, whoever wrote it.

LOGGING = {
    "formatters": {"line": {"()": "hodei.log_lines.LineFormatter", "format": "%(message)s"}},
    ...
}
"""

from __future__ import annotations

import logging

from hodei.redaction import redact_text
from hodei.values import printable


class LineFormatter(logging.Formatter):
    """As the formatter of the standard library. Exceptions have lines of their own."""

    def format(self, record: logging.LogRecord) -> str:
        """The whole record, its traceback among it. What another formatter has kept of that is
        left alone."""
        kept, record.exc_text = record.exc_text, None
        try:
            return redact_text(super().format(record))
        finally:
            record.exc_text = kept

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (the library's)
        """A name with a line break in it must not look like a record of its own."""
        return printable(super().formatMessage(record).replace("\n", "\\n"))
