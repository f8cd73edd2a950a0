"""The backup that is written before anything is dropped."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from django.core.management.base import CommandError
from django.db import connections
from django.db.models.signals import pre_migrate

from hodei.schema import MigrationService
from hodei.schema.backup import BackupFailed
from tests.schema.test_reset.kit import (
    check_valid,
    content,
    execute,
    name_of,
    outcomes,
    reset,
    restore,
    rows,
    unchanged,
    without_records,
)


class TestBackup:
    def test_by_default_into_the_current_folder(self, depot: str, tmp_path: Path) -> None:
        shown = reset(depot, no_backup=False)

        (path,) = tmp_path.glob(f"{name_of(depot)}-*Z.dump")
        assert f"Backup: {path}, " in shown
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_every_row_is_back_by_the_command_that_was_printed(self, depot: str) -> None:
        before = content(depot)
        shown = reset(depot, backup=Path("b.dump"))
        assert content(depot) != before

        restore(depot, shown)

        assert without_records(content(depot)) == without_records(before)
        check_valid(depot)
        execute(depot, "INSERT INTO depot_shelf (label) VALUES ('next')")
        assert rows(depot, "SELECT max(id) FROM depot_shelf") == [(3,)]

    def test_no_limit_of_the_server_ends_the_session_that_waits_for_it(self, depot: str) -> None:
        execute(depot, f"ALTER DATABASE {name_of(depot)} SET idle_in_transaction_session_timeout "
                       "= '1h'")  # fmt: skip
        connections[depot].close()
        seen = []

        def look(**_facts: Any) -> None:
            seen.extend(rows(depot, "SHOW idle_in_transaction_session_timeout"))

        pre_migrate.connect(look)
        try:
            reset(depot)
        finally:
            pre_migrate.disconnect(look)
        assert set(seen) == {("0",)}

    @pytest.mark.parametrize("kind", ["folder that is not there", "no program", "exists"])
    def test_without_a_backup_nothing_is_dropped(
        self, depot: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / ("missing/b.dump" if kind.startswith("folder") else "b.dump")
        if kind == "exists":
            path.write_text("mine")
        plan = MigrationService(depot).plan_reset()
        if kind == "no program":
            # A pg_dump that dies in the middle, where the real one would be found.
            fake = tmp_path / "bin"
            fake.mkdir()
            for name in ("pg_dump", "pg_restore", "psql"):
                (fake / name).write_text(
                    '#!/bin/sh\ncase "$1" in --version) echo "pg_dump (PostgreSQL) 99";; '
                    "*) echo half; echo 'disk full' >&2; exit 1;; esac\n"
                )
                (fake / name).chmod(0o755)
            client = type(
                "Client",
                (connections[depot].client_class,),
                {"settings_to_cmd_args_env": classmethod(lambda *_: ([str(fake / "psql")], {}))},
            )
            monkeypatch.setattr(connections[depot], "client_class", client)

        with unchanged(depot), pytest.raises(BackupFailed) as caught:
            MigrationService(depot).reset(plan, confirm=plan.database, backup=path)

        assert caught.value.exit_code == 3
        if kind == "no program":
            assert "disk full" in str(caught.value)
        assert (path.read_text() == "mine") if kind == "exists" else not path.exists()
        assert len(outcomes(depot, "depot")) == 3, "nothing was attempted"

    def test_a_file_that_exists_is_refused_before_the_question(self, depot: str) -> None:
        Path("b.dump").write_text("mine")
        with pytest.raises(CommandError, match=r"b\.dump exists") as caught:
            reset(depot, backup=Path("b.dump"), confirm=None)
        assert caught.value.returncode == 2
