from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest
from django.conf import settings

from hodei.log_lines import LineFormatter


@pytest.fixture
def lines() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    logger, written = logging.getLogger("hodei.test"), io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(LineFormatter("%(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.propagate = False
    yield logger, written
    logger.removeHandler(handler)
    logger.propagate = True


Lines = tuple[logging.Logger, io.StringIO]


def test_no_secret_is_written(lines: Lines) -> None:
    logger, written = lines

    logger.warning("cannot connect to %s with %s", "postgres://me:pa55@db/x", {"token": "pa55"})
    try:
        int("password=pa55 {'apiKey': 'pa55'}")
    except ValueError:
        logger.exception("it failed")

    assert "pa55" not in written.getvalue()
    assert "Traceback" in written.getvalue()


def test_what_somebody_named_is_no_line_of_its_own(lines: Lines) -> None:
    logger, written = lines

    logger.warning("unknown queue name=%s", "a\nERROR everything is lost\r\x1b[2J\u2028b")

    (line,) = written.getvalue().split("\n")[:-1]
    assert line.startswith("WARNING unknown queue name=a\\nERROR everything")
    assert "\x1b" not in line


def test_this_project_logs_so() -> None:
    assert settings.LOGGING["formatters"]["line"]["()"] == "hodei.log_lines.LineFormatter"
