from __future__ import annotations

from typing import Any

import pytest
from django.db import DataError

from hodei.schema import signals
from tests.schema.test_migrate.kit import Install, migrate, outcomes


class TestSignals:
    def test_tell_of_a_run(
        self, scratch: str, install: Install, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        install("ledger")
        monkeypatch.setenv("LEDGER_AMOUNT", "nonsense")
        heard: list[tuple[str, Any]] = []
        named = {
            "run_started": lambda facts: facts["plan"][0][0],
            "migration_started": lambda facts: facts["name"],
            "migration_finished": lambda facts: facts["result"].name,
            "migration_failed": lambda facts: type(facts["exception"]),
            "run_finished": lambda facts: (facts["success"], len(facts["results"])),
        }
        hearing = [Hearing(name, heard) for name in named]
        for each in hearing:
            getattr(signals, each.name).connect(each)
        with pytest.raises(DataError):
            migrate(scratch, "ledger", "0002")

        assert [(name, named[name](facts)) for name, facts in heard] == [
            ("run_started", "ledger"),
            ("migration_started", "0001_initial"),
            ("migration_finished", "0001_initial"),
            ("migration_started", "0002_post"),
            ("migration_failed", DataError),
            ("run_finished", (False, 2)),
        ]
        assert len({facts["batch"] for _, facts in heard}) == 1

    def test_a_receiver_that_fails_stops_nothing(
        self, scratch: str, install: Install, caplog: pytest.LogCaptureFixture
    ) -> None:
        install("ledger")

        def fail(**_: Any) -> None:
            raise RuntimeError("of the receiver")

        signals.migration_finished.connect(fail)
        migrate(scratch, "ledger", "0001")

        assert outcomes(scratch, "ledger") == [("0001_initial", "forward", "ok")]
        assert "of a migration signal failed" in caplog.text


class Hearing:
    """A receiver that notes what it hears; weakly held by its signal, so kept by its test."""

    def __init__(self, name: str, heard: list[tuple[str, Any]]) -> None:
        self.name = name
        self._heard = heard

    def __call__(self, signal: Any, sender: Any, **facts: Any) -> None:
        self._heard.append((self.name, facts))
