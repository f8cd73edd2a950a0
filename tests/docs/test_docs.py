"""What the documentation says is held against what it speaks of."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")]
)
LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)(?:#[\w-]+)?\)")
READ = re.compile(r'(?:values\.get\(|flag\(|env\.list\(|environ\.get\()"([A-Z_]+)"|"(DB_[A-Z_]+)"')


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
class TestPage:
    def test_its_links_lead_somewhere(self, page: Path) -> None:
        for target in LINK.findall(page.read_text()):
            assert (page.parent / target).exists(), target

    def test_its_commands_exist(self, page: Path) -> None:
        makefile = (ROOT / "Makefile").read_text()
        for target in re.findall(r"^\s+make ([a-z-]+)", page.read_text(), flags=re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
        for command in re.findall(r"manage\.py ([a-z_]+)", page.read_text()):
            assert command in known_commands(), command


def test_every_page_is_on_the_map() -> None:
    folder = ROOT / "docs"
    listed = {
        (folder / target).resolve() for target in LINK.findall((folder / "README.md").read_text())
    }

    pages = {path for path in folder.rglob("*.md") if path.parent != folder / "decisions"}
    assert pages - listed == {folder / "README.md"}


def test_every_test_that_a_page_names_exists() -> None:
    named = [
        (page, found)
        for page in PAGES
        for found in re.findall(r"`(tests/[\w/]+\.py(?:::\w+)+)`", page.read_text())
    ]

    assert len(named) >= 25
    for page, found in named:
        path, *names = found.split("::")
        assert (ROOT / path).exists(), (page.name, found)
        tree: ast.AST = ast.parse((ROOT / path).read_text())
        for name in names:
            inside = [one for one in getattr(tree, "body", []) if getattr(one, "name", "") == name]
            assert inside, f"{page.name} names {found}, and there is no {name}"
            tree = inside[0]


def known_commands() -> set[str]:
    from django.core.management import get_commands

    return set(get_commands())


def test_the_table_of_variables_is_complete() -> None:
    table = (ROOT / "docs/reference/settings.md").read_text()
    documented = set(re.findall(r"^\| `([A-Z_]+)`", table, flags=re.MULTILINE))
    read = {
        first or second
        for file in ("settings.py", "env.py", "run.py")
        for first, second in READ.findall((ROOT / "hodei" / file).read_text())
    }

    assert {"DATABASE_URL", "SECRET_KEY", "DB_POOL_MIN", "SAMPLE", "ALLOWED_HOSTS"} <= read
    assert documented == read


def test_the_state_machines_are_those_of_the_code() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/state_machines.py", "--check"], cwd=ROOT, check=False
    )

    assert done.returncode == 0, "run scripts/state_machines.py"


def test_every_decision_is_listed() -> None:
    listed = (ROOT / "docs/decisions/README.md").read_text()

    for page in (ROOT / "docs/decisions").glob("0*.md"):
        assert f"({page.name})" in listed


def test_every_repair_names_a_migration_that_exists() -> None:
    text = (ROOT / "docs/reference/repairs.md").read_text()

    for app, name in re.findall(r"`(jobs|outbox|sagas)\.(\d{4}_\w+)`", text):
        assert (ROOT / app / "migrations" / f"{name}.py").exists()


def test_every_benchmark_is_listed_and_can_be_read() -> None:
    folder = ROOT / "benchmarks"
    names = sorted(path.stem for path in folder.glob("bench_*.py"))
    readme = (folder / "README.md").read_text()
    code = f"import run, {', '.join(names)}; print(*sorted(run.BENCHMARKS))"

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )

    assert [f"bench_{name}" for name in done.stdout.split()] == names, done.stderr
    assert [name for name in names if f"`{name}.py`" not in readme] == []


def test_every_script_of_a_peer_exists() -> None:
    folder = ROOT / "benchmarks"
    code = "from peers.queues import ALL; print(*(peer.script for peer in ALL.values()))"

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )

    scripts = done.stdout.split()
    assert len(scripts) == 9
    assert [name for name in scripts if not (folder / "peers" / name).exists()] == []
