"""The schema's pages in the admin, by Django's client. ``tests/browser`` has them in a browser."""

from __future__ import annotations

import html
import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.db import DataError, Error, connections, transaction
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext

# Before a test takes the apps away that the project's URLs need when they are imported.
import hodei.urls  # noqa: F401
from hodei.schema.admin import drift
from hodei.schema.errors import SchemaError
from hodei.schema.history import INTERRUPTED, read_runs
from hodei.schema.results import Severity
from hodei.schema.run.lock import RUN, key_of
from tests.databases import alias_of, new_database
from tests.schema.backoffice import office

pytestmark = pytest.mark.django_db

APPS = "tests.schema.apps"
BASE = "/office/hodei_schema/migrationrun/"
PAGES = ("", "status/", "drift/", "1/change/")
SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>"

Install = Callable[..., None]


#: What is installed before these tests install something else.
OURS = list(settings.INSTALLED_APPS)
NOWHERE = {
    "ENGINE": "django.db.backends.postgresql",
    "NAME": "lost",
    "USER": "me",
    "PASSWORD": "x",
    "HOST": "127.0.0.1",
    "PORT": "1",
}


def installed(*names: str) -> list[str]:
    """These test apps, beside what the admin needs."""
    return [
        *(f"django.contrib.{name}" for name in ("admin", "auth", "contenttypes", "sessions")),
        *("django.contrib.messages", "django.contrib.staticfiles", "hodei.schema"),
        *(f"{APPS}.{name}" for name in names),
    ]


@pytest.fixture(autouse=True)
def project(settings: Any) -> None:
    """A project with Django's admin and ``hodei.schema``, and nothing else of Hodei."""
    settings.ROOT_URLCONF = "tests.schema.backoffice"
    settings.INSTALLED_APPS = installed()
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.SECURE_SSL_REDIRECT = False
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = False


@pytest.fixture
def install(settings: Any) -> Install:
    """A function that installs these test apps beside what the admin needs."""

    def only(*names: str) -> None:
        settings.INSTALLED_APPS = installed(*names)

    return only


@pytest.fixture
def page(project: None, admin_client: Client) -> Client:
    return admin_client


@pytest.fixture(scope="module")
def with_a_failure(django_db_setup: None, django_db_blocker: Any) -> Iterator[dict[str, Any]]:
    """A database where the second migration of ``ledger`` has failed, and nothing else was run.

    For all tests of this file: whoever changes it does so in a transaction, or in a copy.
    """
    with django_db_blocker.unblock(), new_database() as database:
        with (
            override_settings(INSTALLED_APPS=installed("ledger")),
            pytest.MonkeyPatch.context() as patch,
            alias_of(database) as alias,
        ):
            patch.setenv("LEDGER_AMOUNT", "nonsense")
            with pytest.raises(DataError, match="nonsense"):
                migrate(alias, "ledger")
        yield database


@pytest.fixture
def failed(
    with_a_failure: dict[str, Any], point_alias: Callable[..., str], install: Install
) -> Iterator[str]:
    """Its alias, in a transaction that is rolled back."""
    install("ledger")
    alias = point_alias(with_a_failure)
    with transaction.atomic(using=alias):
        yield alias
        transaction.set_rollback(True, using=alias)


@pytest.fixture
def failed_copy(
    with_a_failure: dict[str, Any], point_alias: Callable[..., str], install: Install
) -> Iterator[str]:
    """The alias of a copy of it: for what others have to see, or what ends a transaction."""
    install("ledger")
    with new_database(template=with_a_failure["NAME"]) as database:
        yield point_alias(database)
        connections["scratch"].close()


@pytest.fixture
def staff(project: None, client: Client) -> Callable[..., Client]:
    """A function that logs somebody in who has these permissions."""

    def log_in(*permissions: str, is_staff: bool = True) -> Client:
        user = User.objects.create_user("somebody", is_staff=is_staff)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client.force_login(user)
        return client

    return log_in


def migrate(alias: str, *target: str, **options: Any) -> None:
    call_command("migrate", *target, database=alias, verbosity=0, **options)


def execute(alias: str, statement: str, values: Any = None) -> list[tuple[Any, ...]]:
    with connections[alias].cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def get(page: Client, path: str = "", *, code: int = 200, **query: Any) -> str:
    """The markup of a page's content."""
    answer = page.get(BASE + path, query)
    assert answer.status_code == code, answer.text
    return content(answer)


def post(page: Client, *, code: int = 200, **values: Any) -> str:
    answer = page.post(f"{BASE}drift/", values)
    assert answer.status_code == code, answer.text
    return content(answer)


def content(answer: Any) -> str:
    text = str(answer.text)
    return text[text.index('id="content-start"') : text.index('<footer id="footer">')]


def words(markup: str) -> str:
    """What one reads."""
    text = html.unescape(re.sub(r"<[^>]+>", " ", markup))
    return re.sub(r"\s+", " ", text)


def run_numbers(markup: str) -> list[int]:
    return [int(found) for found in re.findall(r'href="[^"]*/(\d+)/change/[^"]*">\d+:', markup)]


def linked(markup: str, text: str) -> str | None:
    """The address behind a link."""
    found = re.search(rf'<a href="([^"]*)"[^>]*>{text}</a>', markup)
    return html.unescape(found[1]) if found else None


class TestPermissions:
    @pytest.mark.parametrize("path", PAGES)
    def test_a_stranger_is_sent_to_the_login(self, client: Client, path: str) -> None:
        answer = client.get(BASE + path)

        assert answer.status_code == 302
        assert answer["Location"].startswith("/office/login/")

    @pytest.mark.parametrize("path", PAGES)
    def test_staff_without_the_permission(self, staff: Callable[..., Client], path: str) -> None:
        assert staff("view_user").get(BASE + path).status_code == 403

    @pytest.mark.parametrize("path", PAGES)
    def test_the_permission_without_staff(self, staff: Callable[..., Client], path: str) -> None:
        somebody = staff("view_migrationrun", is_staff=False)

        assert somebody.get(BASE + path).status_code == 302

    @pytest.mark.parametrize("path", PAGES)
    def test_the_permission_is_enough(self, staff: Callable[..., Client], path: str) -> None:
        somebody = staff("view_migrationrun")

        assert somebody.get(BASE + path).status_code == 200

    def test_a_comparison_needs_it_too(self, staff: Callable[..., Client], client: Client) -> None:
        assert client.post(f"{BASE}drift/").status_code == 302
        assert staff("view_user").post(f"{BASE}drift/").status_code == 403

    def test_a_comparison_needs_a_token(self, admin_user: User) -> None:
        client = Client(enforce_csrf_checks=True)
        client.force_login(admin_user)
        refused = client.post(f"{BASE}drift/")
        form = client.get(f"{BASE}drift/").text
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form[form.index("ask") :])
        assert token is not None

        allowed = client.post(f"{BASE}drift/", {"csrfmiddlewaretoken": token[1]})

        assert (refused.status_code, allowed.status_code) == (403, 200)
        assert "Compared" in allowed.text

    @pytest.mark.parametrize("path", ["", "status/", "1/change/"])
    def test_the_other_pages_take_no_post(self, page: Client, path: str) -> None:
        for send in (page.post, page.put, page.delete):
            assert send(BASE + path).status_code == 405

    def test_there_is_nothing_that_adds_or_deletes(self, page: Client) -> None:
        for path in ("add/", "1/delete/", "1/history/"):
            assert page.get(BASE + path).status_code == 404


class TestSite:
    def test_index_and_app_lead_to_the_pages(self, page: Client) -> None:
        index = page.get("/office/").text
        app = page.get("/office/hodei_schema/").text

        assert f'href="{BASE}"' in index
        for path in ("", "status/", "drift/"):
            assert f'href="{BASE}{path}"' in app

    @pytest.mark.parametrize("path", PAGES)
    def test_every_link_of_a_page_stays_on_its_site(self, page: Client, path: str) -> None:
        text = page.get(BASE + path).text

        addresses = re.findall(r'(?:href|action)="(/[^"]*)"', text)
        strays = [one for one in addresses if not one.startswith(("/office/", "/static/"))]
        assert [one for one in strays if one != "/"] == []

    @pytest.mark.parametrize("path", PAGES)
    def test_no_page_has_a_script_or_a_style_of_its_own(self, page: Client, path: str) -> None:
        text = page.get(BASE + path).text

        assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=", text) == []

    def test_the_default_site_has_them_as_well(self, settings: Any, admin_client: Client) -> None:
        settings.ROOT_URLCONF, settings.INSTALLED_APPS = "hodei.urls", OURS

        for path in PAGES:
            answer = admin_client.get(f"/admin/hodei_schema/migrationrun/{path}")
            assert answer.status_code == 200

    def test_where_numbers_and_times_are_written_otherwise(
        self, page: Client, failed: str, settings: Any
    ) -> None:
        execute(failed, "UPDATE schema_migration_runs SET id = id + 12344")
        settings.USE_TZ = settings.USE_I18N = False
        settings.USE_THOUSAND_SEPARATOR = True
        settings.TIME_ZONE = "America/Lima"

        markup = get(page, database=failed)

        assert run_numbers(markup) == [12346, 12345]
        (run, *_) = read_runs(failed)
        assert f"{run.started_at:%Y-%m-%d %H:%M:%S}" in markup


class TestStatus:
    def test_a_valid_schema(self, page: Client, install: Install, scratch: str) -> None:
        install("ledger")
        migrate(scratch)

        said = words(get(page, "status/", database=scratch))

        assert re.search(r"Schema valid: (\d+)/\1 migrations applied", said)
        assert "To look at" not in said
        assert "ledger 3 of 3 applied" in said
        (run,) = (run for run in read_runs(scratch) if run.name == "0003_amount")
        assert re.search(rf"0003_amount applied [\d: -]{{19}} {run.duration_ms} ms \w+", said)

    def test_what_is_wrong_comes_first(self, page: Client, failed: str) -> None:
        MigrationRecorder(connections[failed]).record_applied("ledger", "0009_newer")

        markup = get(page, "status/", database=failed)
        said = words(markup)

        places = [
            said.index(text)
            for text in (
                *("Schema INVALID: 1/", "To look at failed ledger.0002_post", "SQLSTATE 22P02"),
                *("Migration ledger.0009_newer is recorded as applied", "Migrations, by app"),
                "ledger 1 of 3 applied 1 failed 1 pending 1 unknown",
            )
        ]
        assert places == sorted(places)
        run = read_runs(failed)[0]
        address = linked(markup, f"run {run.id}, with its traceback")
        assert address == f"{BASE}{run.id}/change/?database={failed}"
        assert "Traceback (most recent call last)" in page.get(address).text

    def test_narrows_to_an_app(self, page: Client, failed: str) -> None:
        said = words(get(page, "status/", database=failed, app="ledger"))

        assert "Schema INVALID: 1/3 applied, 1 pending, 1 failed" in said
        assert "Of the app ledger alone." in said
        assert "auth 0 of" not in said

    def test_narrows_to_what_is_pending(self, page: Client, failed: str) -> None:
        said = words(get(page, "status/", database=failed, app="ledger", pending="1"))

        assert "0002_post failed" in said
        assert "0003_amount pending" in said
        assert "0001_initial applied" not in said

    def test_nothing_is_pending(self, page: Client, install: Install, scratch: str) -> None:
        install("ledger")
        migrate(scratch, "ledger")

        said = words(get(page, "status/", database=scratch, app="ledger", pending="1"))

        assert "Nothing is pending in ledger." in said

    def test_an_app_without_migrations(self, page: Client, failed: str) -> None:
        said = words(get(page, "status/", database=failed, app="messages"))

        assert "App messages has no migrations." in said

    @pytest.mark.parametrize("name", ["legder", SCRIPT, "a\0b", "x" * 5_000])
    def test_an_app_that_is_not_there(self, page: Client, failed: str, name: str) -> None:
        markup = get(page, "status/", code=404, database=failed, app=name)

        assert "There is no app" in words(markup)
        assert "<script" not in markup
        assert ("Did you mean ledger?" in words(markup)) is (name == "legder")

    def test_of_an_empty_database(self, page: Client, scratch: str) -> None:
        said = words(get(page, "status/", database=scratch))

        assert re.search(r"Schema INVALID: 0/(\d+) applied, \1 pending, 0 failed", said)
        assert connections[scratch].introspection.table_names() == []

    def test_what_runs_at_the_moment(self, page: Client, failed: str) -> None:
        execute(failed, "UPDATE schema_migration_runs SET success = NULL WHERE name = '0002_post'")
        assert "Running now" not in get(page, "status/", database=failed)
        execute(failed, f"SELECT pg_advisory_lock({RUN}, {key_of('public')})")

        said = words(get(page, "status/", database=failed))

        assert "Running now: ledger.0002_post Since" in said
        assert re.search(r"[\d: -]{19} UTC \( \d+ s ago \), by \w+, \S+ on", said)

    def test_queries_do_not_grow(self, page: Client, failed: str) -> None:
        def queries() -> int:
            with CaptureQueriesContext(connections[failed]) as captured:
                get(page, "status/", database=failed)
            return len(captured)

        few = queries()
        add_runs(failed, 500)

        assert queries() == few


class TestTrouble:
    """The pages are there where there is nothing to show, and say why."""

    @pytest.mark.parametrize("path", PAGES)
    def test_a_database_that_cannot_be_reached(
        self, page: Client, point_alias: Callable[..., str], path: str
    ) -> None:
        alias = point_alias(NOWHERE)

        markup = get(page, path, database=alias)
        said = words(post(page, database=alias) if path == "drift/" else markup)

        assert "Could not verify" in said
        assert "Cannot use database" in said
        assert "127.0.0.1:1" in said

    @pytest.mark.parametrize("path", PAGES)
    def test_that_begins_a_transaction_with_each_request(
        self, page: Client, point_alias: Callable[..., str], path: str, settings: Any
    ) -> None:
        alias = point_alias(NOWHERE, ATOMIC_REQUESTS=True)
        # A site asks for the databases of the project when it makes its addresses.
        project = ModuleType("project")
        project.urlpatterns = office()  # type: ignore[attr-defined]
        settings.ROOT_URLCONF = project

        assert alias in words(get(page, path, database=alias))

    def test_a_database_that_was_never_migrated(self, page: Client, scratch: str) -> None:
        history = words(get(page, database=scratch))
        run = words(get(page, "1/change/", code=404, database=scratch))
        compared = words(post(page, database=scratch))

        assert "Nothing is recorded in this database." in history
        assert "There is no run 1 in the history of database 'scratch'." in run
        assert "Nothing was compared" in compared
        assert connections[scratch].introspection.table_names() == []

    def test_an_alias_that_is_not_there(self, page: Client) -> None:
        for path in PAGES:
            said = words(get(page, path, code=404, database="defualt"))
            assert "There is no database 'defualt'. Did you mean default?" in said
        assert "There is no database" in words(post(page, code=404, database=SCRIPT))

    def test_another_engine(
        self, page: Client, point_alias: Callable[..., str], tmp_path: Path
    ) -> None:
        alias = point_alias({"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "db"})

        pages = [get(page, path, database=alias) for path in ("", "status/", "1/change/")]

        for markup in (*pages, post(page, database=alias)):
            assert "hodei.schema works on PostgreSQL alone" in words(markup)

    def test_files_that_make_no_graph(self, page: Client, failed: str, install: Install) -> None:
        install("ledger", "orphaned")

        for said in (
            words(get(page, "status/", database=failed)),
            words(post(page, database=failed)),
        ):
            assert "Cannot work like this" in said
            assert "The migrations on disk make no graph" in said
        assert run_numbers(get(page, database=failed)) == [2, 1]

    def test_a_migration_that_cannot_be_imported(
        self,
        page: Client,
        failed: str,
        settings: Any,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        package = tmp_path / "torn"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "0001_initial.py").write_text(f"raise RuntimeError({SCRIPT!r})\n")
        monkeypatch.syspath_prepend(tmp_path)
        settings.MIGRATION_MODULES = {"ledger": "torn"}

        with caplog.at_level(logging.ERROR, "hodei.schema.admin"):
            markups = [get(page, "status/", database=failed), post(page, database=failed)]

        for markup in markups:
            assert f"an error of their own: RuntimeError: {SCRIPT}" in words_of_text(markup)
            assert "<script" not in markup
        assert len([record for record in caplog.records if record.exc_info]) == 2

    def test_a_role_that_may_not_read_the_history(self, page: Client, failed_copy: str) -> None:
        role = "hodei_test_reader"
        execute(failed_copy, f"DROP ROLE IF EXISTS {role}")
        execute(failed_copy, f"CREATE ROLE {role}; GRANT SELECT ON django_migrations TO {role}")
        try:
            execute(failed_copy, f"SET ROLE {role}")
            said = [words(get(page, path, database=failed_copy)) for path in ("", "status/")]
            execute(failed_copy, "RESET ROLE")
        finally:
            connections[failed_copy].close()
            execute(failed_copy, f"DROP OWNED BY {role}; DROP ROLE {role}")

        for one in said:
            assert "permission denied for table schema_migration_runs" in one
            assert "Could not read from database" in one


class TestDrift:
    def test_a_look_at_the_page_compares_nothing(
        self, page: Client, scratch: str, install: Install, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        install("errand")
        migrate(scratch, "errand")
        monkeypatch.setenv("ERRAND_SQL", "SELECT 1/0")

        looked = get(page, "drift/", database=scratch, validate="1")
        asked = words(post(page, database=scratch))

        assert "Compare now" in looked
        assert "hodei-verdict" not in looked
        assert "Could not verify" in asked
        assert "division by zero" in asked

    def test_nothing_is_found(self, page: Client, scratch: str, install: Install) -> None:
        install("ledger")
        migrate(scratch)

        said = words(post(page, database=scratch))

        assert "Schema valid" in said
        assert re.search(r"Compared \d+ tables and views: all are as the migrations make", said)
        assert re.search(r"Begun at [\d: -]{19} UTC, took [\d.]+ m?s", said)

    def test_findings_are_grouped_with_what_would_repair_them(
        self, page: Client, failed_copy: str
    ) -> None:
        execute(
            failed_copy,
            "ALTER TABLE ledger_entry SET UNLOGGED; CREATE TABLE stray (id int); "
            "COMMENT ON TABLE ledger_entry IS 'mine'",
        )

        markup = post(page, database=failed_copy)
        said = words(markup)

        assert "1 failed, 1 drifted, 1 unexpected, 1 cosmetic" in said
        assert "What is not applied is not in this comparison" in said
        places = [
            said.index(text)
            for text in (
                *("Errors (1)", "error unlogged: ledger_entry", "Table ledger_entry Expected"),
                *('ALTER TABLE "ledger_entry" SET LOGGED;', "Warnings (1)", "Table stray"),
                *('DROP TABLE "stray";', "Information (1)", "comment: ledger_entry"),
            )
        ]
        assert places == sorted(places)
        # Suggested, and never run.
        assert execute(failed_copy, "SELECT count(*) FROM stray") == [(0,)]
        assert "which nothing has run" in said

    def test_text_of_the_database_stays_text(self, page: Client, failed_copy: str) -> None:
        name = f'"{SCRIPT}"'
        execute(
            failed_copy,
            f"CREATE TABLE {name} (id int); "
            f"COMMENT ON TABLE ledger_entry IS '{SCRIPT}{{{{ 7 }}}}%s';"
            f"ALTER TABLE ledger_entry ADD COLUMN {name} text DEFAULT '{SCRIPT}'",
        )

        markup = post(page, database=failed_copy)

        assert "<script" not in markup
        assert "<img" not in markup
        assert SCRIPT in words_of_text(markup)
        assert "{{ 7 }}%s" in markup

    def test_a_thousand_findings(self, page: Client, failed_copy: str) -> None:
        columns = ", ".join(f"ADD COLUMN stray_{number} int" for number in range(1_000))
        execute(failed_copy, f"ALTER TABLE ledger_entry {columns}")

        markup = post(page, database=failed_copy)
        said = words(markup)

        assert markup.count("<article") == drift.SHOWN
        assert len(markup) < 400_000
        assert "Warnings (1000)" in said
        assert "unexpected column: 1000" in said
        assert "<details open" not in markup
        assert f"{1_000 - drift.SHOWN} more are not shown." in said
        assert f"schema_validate --database {failed_copy} lists all" in said

    def test_a_huge_text_is_cut(self, page: Client, failed_copy: str) -> None:
        execute(failed_copy, "SELECT 1")
        execute(
            failed_copy,
            f"CREATE FUNCTION long() RETURNS text LANGUAGE sql AS $$ SELECT '{'x' * 300_000}' $$",
        )
        execute(failed_copy, f"COMMENT ON TABLE ledger_entry IS '{'y' * 300_000}'")

        markup = post(page, database=failed_copy)

        assert len(markup) < 400_000
        assert "more characters]" in markup

    def test_an_error_of_the_replay_is_text(
        self, page: Client, scratch: str, install: Install, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        install("ledger", "errand")
        migrate(scratch)
        monkeypatch.setenv("ERRAND_SQL", "SELECT id FROM public.ledger_entry FOR UPDATE")

        said = words(post(page, database=scratch))

        assert "Could not verify" in said
        assert "reached out of the scratch schema" in said


@contextmanager
def holding(alias: str) -> Iterator[psycopg.Connection[Any]]:
    """Another process's comparison, as far as its lock goes."""
    connection = connections[alias]
    parameters = connection.get_connection_params()
    kept = {
        name: parameters[name]
        for name in ("host", "port", "dbname", "user", "password")
        if parameters.get(name)
    }
    with psycopg.connect(**kept) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s, 0)", [drift.LOOK])
        yield other


class TestOneComparisonAtATime:
    def test_another_one_is_waited_for(self, failed: str) -> None:
        done: list[bool] = []

        def second() -> None:
            try:
                done.append(drift.compare(failed, patience=60).compared == 1)
            finally:
                connections[failed].close()

        with holding(failed) as other:
            thread = threading.Thread(target=second)
            thread.start()
            thread.join(0.5)
            assert thread.is_alive()
            other.rollback()
            thread.join(60)

        assert done == [True]

    def test_and_given_up_after_a_while(
        self, page: Client, failed: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(drift, "PATIENCE", 0.2)

        with holding(failed):
            said = words(post(page, database=failed))

        assert "Could not verify" in said
        assert "Somebody else compares this database at the moment" in said

    def test_a_double_click_replays_one_after_the_other(
        self, scratch: str, install: Install, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        install("errand")
        migrate(scratch, "errand")
        # A replay that meets another one fails.
        alone = (
            "DO $$ BEGIN IF NOT pg_try_advisory_xact_lock(77) THEN RAISE 'not alone'; END IF; "
            "PERFORM pg_sleep(0.3); END $$"
        )
        monkeypatch.setenv("ERRAND_SQL", alone)
        at_once = threading.Barrier(2)
        found: list[Any] = []

        def click() -> None:
            try:
                at_once.wait(30)
                found.append(drift.compare(scratch, patience=60).compared)
            except (SchemaError, Error) as error:
                found.append(error)
            finally:
                connections[scratch].close()

        threads = [threading.Thread(target=click) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

        assert len(found) == 2
        assert all(isinstance(one, int) for one in found), found


def add_runs(alias: str, number: int, **values: str) -> None:
    """So many rows more, as SQL expressions of ``n``."""
    columns = {
        **dict.fromkeys(("database_user", "os_user", "host", "command", "release"), "'x'"),
        "batch": "gen_random_uuid()",
        "app": "'app_' || n % 7",
        "name": "'000' || n % 40",
        "direction": "'forward'",
        "started_at": f"now() - ({number} - n) * interval '1 minute'",
        "finished_at": "now()",
        "duration_ms": "n % 1000",
        "success": "true",
        "hodei_version": "'0'",
        "django_version": "'5'",
        **values,
    }
    execute(
        alias,
        f"INSERT INTO schema_migration_runs ({', '.join(columns)}) "
        f"SELECT {', '.join(columns.values())} FROM generate_series(1, {number}) n",
    )


#: One migration run of every outcome, as columns.
OUTCOMES = {
    "ok": {},
    "faked": {"event": "'fake'", "duration_ms": "NULL"},
    "accepted": {"event": "'accept'", "reason": "'it is meant'"},
    "failed": {"success": "false", "error": "'E: broken'", "traceback": "'Traceback: here'"},
    "interrupted": {"success": "false", "error": f"'{INTERRUPTED}'", "finished_at": "NULL"},
}


class TestHistory:
    def test_lists_the_newest_first(self, page: Client, failed: str) -> None:
        markup = get(page, database=failed)
        said = words(markup)

        assert run_numbers(markup) == [2, 1]
        assert re.search(
            r"2: ledger.0002_post failed [\d: -]{19} \d+ ms \w+ DataError: invalid input", said
        )
        assert re.search(r"1: ledger.0001_initial ok [\d: -]{19} \d+ ms", said)
        assert "Older" not in said
        assert "Newest" not in said

    def test_every_run_is_on_one_page_both_ways(self, page: Client, failed: str) -> None:
        add_runs(failed, 121)
        expected = [run.id for run in read_runs(failed)]
        address: str | None = f"{BASE}?database={failed}&app=&since=900d"
        pages, last = [], ""

        while address:
            last = address
            markup = content(page.get(address))
            pages.append(run_numbers(markup))
            address = (found := linked(markup, "Older")) and BASE + found
        back = [pages[-1]]
        address = BASE + str(linked(content(page.get(last)), "Newer"))
        while address:
            markup = content(page.get(address))
            back.append(run_numbers(markup))
            address = (found := linked(markup, "Newer")) and BASE + found

        assert [number for numbers in pages for number in numbers] == expected
        assert [len(numbers) for numbers in pages] == [50, 50, 23]
        assert back[::-1] == pages
        assert linked(markup, "Newest") is None or run_numbers(markup) == pages[0]

    def test_links_keep_the_filter(self, page: Client, failed: str) -> None:
        add_runs(failed, 400, app="'app_' || n % 2")

        markup = get(page, database=failed, app="app_1", outcome="ok", since="30d")
        older = linked(markup, "Older")
        assert older is not None
        following = content(page.get(BASE + older))

        for name, value in (("app", "app_1"), ("outcome", "ok"), ("since", "30d")):
            assert f"{name}={value}" in older
        assert words(following).count(": app_1.") == 50
        assert f'<option value="{failed}" selected>' in following

    def test_filters(self, page: Client, failed: str) -> None:
        for values in OUTCOMES.values():
            add_runs(failed, 1, app="'shop'", started_at="now() - interval '3 days'", **values)
        add_runs(failed, 1, app="'shop'", name="'0002'", started_at="now() - interval '90 days'")

        for outcome in OUTCOMES:
            said = words(get(page, database=failed, app="shop", outcome=outcome, since="7d"))
            assert len(re.findall(rf"\d+: shop\.\d+ {outcome} ", said)) == 1
            assert len(re.findall(r"\d+: \w+\.\d+ ", said)) == 1
        assert len(run_numbers(get(page, database=failed, app="shop"))) == 6
        assert len(run_numbers(get(page, database=failed, app="shop", since="1d"))) == 0
        assert "Nothing is recorded that fits." in get(page, database=failed, since="2099-01-01")

    @pytest.mark.parametrize(
        ("query", "code", "text"),
        [
            ({"app": "legder"}, 404, "There is no app 'legder'. Did you mean ledger?"),
            ({"outcome": "fialed"}, 404, "There is no outcome 'fialed'. Did you mean failed or"),
            ({"since": "yesterday"}, 400, "'yesterday' is no time: write a date (2026-03-31)"),
            ({"since": "9999999999d"}, 400, "is no time"),
            ({"before": "-1"}, 400, "before=-1 is not the number of a run."),
            ({"after": "9" * 30}, 400, "is not the number of a run."),
            ({"before": SCRIPT}, 400, "is not the number of a run."),
            ({"app": "a\0b"}, 404, "There is no app"),
        ],
        ids=lambda value: str(value)[:20],
    )
    def test_what_cannot_be_asked(
        self, page: Client, failed: str, query: dict[str, str], code: int, text: str
    ) -> None:
        markup = get(page, code=code, database=failed, **query)

        assert text in words_of_text(markup)
        assert "<script" not in markup
        assert "Show" in markup

    def test_reads_no_traceback_and_shows_the_start_of_an_error(
        self, page: Client, failed: str
    ) -> None:
        add_runs(
            failed, 50, success="false", error="repeat('e', 9000)", traceback="repeat('t', 50000)"
        )

        with CaptureQueriesContext(connections[failed]) as captured:
            markup = get(page, database=failed)

        assert len(markup) < 80_000
        assert not any(re.search(r"(?<!AS )\btraceback\b", q["sql"]) for q in captured)

    def test_queries_do_not_grow(self, page: Client, failed: str) -> None:
        def queries() -> int:
            with CaptureQueriesContext(connections[failed]) as captured:
                get(page, database=failed, app="ledger", outcome="failed", since="7d")
            return len(captured)

        few = queries()
        add_runs(failed, 500)

        assert queries() == few
        assert few <= 6


class TestRun:
    def test_tells_all_of_it(self, page: Client, failed: str) -> None:
        run = read_runs(failed)[0]

        said = words_of_text(get(page, f"{run.id}/change/", database=failed))

        for text in (
            *("Failed", "DataError: invalid input syntax", "While: Raw Python operation."),
            *("SQLSTATE 22P02", "Traceback (most recent call last)", "0002_post.py"),
            *(str(run.checksum), run.database_user, f"{run.os_user} on {run.host}"),
            *(run.command, str(run.batch), f"Hodei {run.hodei_version}"),
            f"Django {run.django_version}",
        ):
            assert text in said

    def test_and_what_belongs_to_it(self, page: Client, failed_copy: str) -> None:
        add_runs(failed_copy, 300)  # another deployment's, in between
        migrate(failed_copy, "ledger")
        runs = {(run.name, run.outcome): run.id for run in read_runs(failed_copy, app="ledger")}
        later = runs["0002_post", "ok"]

        markup = get(page, f"{later}/change/", database=failed_copy)
        attempts, command = markup.split("Other attempts at")[1].split("The same command")

        assert run_numbers(attempts) == [runs["0002_post", "failed"]]
        assert run_numbers(command) == [runs["0003_amount", "ok"]]

    @pytest.mark.parametrize("outcome", OUTCOMES)
    def test_of_every_outcome(self, page: Client, failed: str, outcome: str) -> None:
        add_runs(failed, 1, **OUTCOMES[outcome])
        run = read_runs(failed)[0]

        said = words(get(page, f"{run.id}/change/", database=failed))

        assert f"Run {run.id}: {run.app}.{run.name}" in said
        assert outcome.capitalize() in said
        assert ("Reason: it is meant" in said) is (outcome == "accepted")

    @pytest.mark.parametrize("number", ["99", "0", "9" * 19, "9" * 60, "x", "-1", "1.5", SCRIPT])
    def test_that_is_not_there(self, page: Client, failed: str, number: str) -> None:
        answer = page.get(f"{BASE}{number}/change/", {"database": failed})

        assert answer.status_code == 404
        assert "There is no run" in answer.text
        assert "<script>" not in content(answer)


class TestHostile:
    @pytest.mark.parametrize("text", [SCRIPT, "'\"&amp;{{ 7 }}{% now %}", "{} {0} %s %(x)s \u202e"])
    def test_what_is_recorded_stays_text(self, page: Client, failed: str, text: str) -> None:
        names = (
            *("app", "name", "error", "traceback", "sqlstate", "operation", "checksum"),
            *("database_user", "os_user", "host", "command", "release", "reason"),
            *("hodei_version", "django_version"),
        )
        execute(
            failed,
            f"UPDATE schema_migration_runs SET {', '.join(f'{name} = %s' for name in names)}",
            [text] * len(names),
        )
        MigrationRecorder(connections[failed]).record_applied(text, text)

        for markup in (
            get(page, database=failed),
            get(page, database=failed, app=text),
            get(page, "2/change/", database=failed),
            get(page, "status/", database=failed),
        ):
            assert text in words_of_text(markup)
            assert "<script" not in markup
            assert "<img src=x" not in markup
            assert "{% now" not in markup or "{%" in text

    def test_secrets_of_errors_and_commands_are_not_shown(self, page: Client, failed: str) -> None:
        secret = "cannot fetch https://me:hunter2@host.example/: token=hunter2, password='hunter2'"
        execute(
            failed,
            "UPDATE schema_migration_runs SET error = %s, traceback = %s, command = %s "
            "WHERE success IS FALSE",
            [secret] * 3,
        )

        for path in ("", "2/change/", "status/"):
            markup = get(page, path, database=failed)
            assert "hunter2" not in markup
            assert "[redacted]" in markup

    def test_very_long_texts(self, page: Client, failed: str) -> None:
        execute(
            failed,
            "UPDATE schema_migration_runs SET error = repeat('e', 1000000), "
            "traceback = repeat('t', 1000000), host = repeat('h', 5000) WHERE success IS FALSE",
        )

        for path, limit in (("", 20_000), ("2/change/", 200_000), ("status/", 200_000)):
            assert len(get(page, path, database=failed)) < limit


def words_of_text(markup: str) -> str:
    """What one reads, with the white space as it is."""
    return html.unescape(re.sub(r"<[^>]+>", "", markup))


def test_groups_are_by_severity_and_cut() -> None:
    from hodei.schema.results import Finding, FindingKind

    findings = [
        Finding(kind=kind, severity=severity, subject=str(number), message="")
        for number in range(3)
        for kind, severity in (
            (FindingKind.COMMENT, Severity.INFO),
            (FindingKind.MISSING_TABLE, Severity.ERROR),
        )
    ]

    worst, least = drift.groups(findings, shown=2)

    assert (worst.severity, least.severity) == (Severity.ERROR, Severity.INFO)
    assert [finding.subject for finding in worst.findings] == ["0", "1"]
    assert (worst.total, worst.more, worst.kinds) == (3, 1, (("missing table", 3),))
