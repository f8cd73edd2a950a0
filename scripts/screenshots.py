"""Takes the pictures of the documentation: the admin's index, its jobs, a dead letter, a saga; the
schema.

    python scripts/screenshots.py [--base-url URL] [--directory docs/images]

Without --base-url it makes throw-away databases from the project's settings, one with the sample,
one that has had a busy hour, and one whose schema went wrong in the night, serves them on a free
port and drops them at the end. With it, the pictures of the sample are taken there: as the user
SCREENSHOT_USER with the password SCREENSHOT_PASSWORD, who must be staff and may view everything.
Chromium has to be installed, or its headless shell; playwright only drives it.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page, ViewportSize, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
#: Pixels of a picture, if nothing else is said.
SIZE: ViewportSize = {"width": 1280, "height": 900}

#: Jobs and events of each minute, more of them towards its end; some failed, and some wait.
BUSY_HOUR = """
INSERT INTO jobs (id, spec, state, name, created_at)
SELECT gen_random_uuid(), '{}',
       CASE WHEN (m * 7 + n) % 31 = 0 THEN 'FAILED' WHEN m < 4 AND n % 2 = 0 THEN 'PENDING'
            ELSE 'SUCCEEDED' END,
       'thumbnail', now() - m * interval '1 minute' - n * interval '1 second'
  FROM generate_series(0, 59) AS a (m), generate_series(1, 55 - m / 2 - m * 7 % 13) AS b (n);
INSERT INTO outbox_events (aggregate_id, aggregate_type, event_type, payload, status, published_at)
SELECT gen_random_uuid(), 'JOB', 'ThumbnailStored', '{}', 'PUBLISHED',
       now() - m * interval '1 minute' - n * interval '0.5 second'
  FROM generate_series(0, 59) AS a (m), generate_series(1, 90 - m - m * 5 % 17) AS b (n)
"""


@dataclass(frozen=True)
class Site:
    """Where the pictures are taken, and as whom."""

    url: str
    user: str
    password: str


def sample() -> None:
    """Load the sample."""
    from hodei.sample import load_sample  # noqa: PLC0415

    load_sample()


def busy_hour() -> None:
    """Load the sample, and let the last hour be a busy one."""
    from django.db import connection  # noqa: PLC0415

    sample()
    with connection.cursor() as cursor:
        cursor.execute(BUSY_HOUR)


def bad_night() -> None:
    """Let a migration miss an index that somebody has dropped by hand, and more be amiss.

    What fails does so for real: it is the history's own record that the pictures show.
    """
    from django.core.management import call_command  # noqa: PLC0415
    from django.db import ProgrammingError, connection  # noqa: PLC0415

    for place in ("0010_one_live_per_key", "0012_index_step_name"):
        call_command("migrate", "sagas", place, verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute(
            "DROP INDEX saga_steps_order_key;"
            "ALTER TABLE jobs ADD COLUMN note text;"
            "ALTER TABLE auth_user ALTER COLUMN first_name TYPE varchar(90)"
        )
    try:
        call_command("migrate", verbosity=0)
    except ProgrammingError:
        return
    raise SystemExit("screenshots: the migration that was to fail did not.")


@contextmanager
def own_site(prepare: Callable[[], None]) -> Iterator[Site]:
    """Serve the project on a free port, with a database of its own that ``prepare`` makes ready."""
    # The page is served as plain HTTP on this machine, which only DEBUG allows.
    os.environ["DEBUG"] = "1"
    # Playwright keeps a loop in this thread, which Django would take for asynchronous code.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hodei.settings")
    sys.path.insert(0, str(ROOT))
    import django  # noqa: PLC0415  (what follows can only be imported with the settings)

    django.setup()
    from django.contrib.auth import get_user_model  # noqa: PLC0415
    from django.contrib.staticfiles.handlers import StaticFilesHandler  # noqa: PLC0415
    from django.core.handlers.wsgi import WSGIHandler  # noqa: PLC0415
    from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler  # noqa: PLC0415
    from django.db import connection  # noqa: PLC0415

    class Quiet(WSGIRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing: the pictures are the output."""

    name = connection.settings_dict["NAME"]
    test = connection.settings_dict["TEST"]
    test["NAME"] = f"{name}_screenshots_{secrets.token_hex(4)}"
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        prepare()
        site = Site("", "ana@example.org", secrets.token_urlsafe(16))
        get_user_model().objects.create_superuser(site.user, password=site.password)
        server = ThreadedWSGIServer(("127.0.0.1", 0), Quiet)
        server.daemon_threads = False
        server.set_app(StaticFilesHandler(WSGIHandler()))
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield Site(f"http://127.0.0.1:{server.server_port}", site.user, site.password)
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
    finally:
        connection.creation.destroy_test_db(name, verbosity=0)


def log_in(page: Page, site: Site) -> None:
    """Log in by the form."""
    page.goto(f"{site.url}/admin/login/?next=/admin/")
    page.fill("#id_username", site.user)
    page.fill("#id_password", site.password)
    page.click("input[type=submit]")
    page.wait_for_selector("#user-tools")


def open_first(page: Page, address: str) -> None:
    """Open the page of the first row of a list."""
    page.goto(address)
    with page.expect_navigation():
        page.click("#result_list tbody tr:first-child th a")


Picture = Callable[[str], None]


def of_sample(page: Page, site: Site, picture: Picture) -> None:
    """The index, jobs, a dead letter, a saga, and what is asked before a decision."""
    picture("admin-index")
    page.goto(f"{site.url}/admin/jobs/job/")
    # As far down as the first that have failed.
    page.set_viewport_size({**SIZE, "height": 1240})
    picture("jobs")
    page.set_viewport_size(SIZE)
    letters = f"{site.url}/admin/outbox/deadletter/"
    open_first(page, f"{letters}?state=open&event_type=SettlementFailed")
    picture("dead-letter")
    open_first(page, f"{site.url}/admin/sagas/saga/?outcome=COMPENSATED")
    picture("saga")
    page.goto(f"{site.url}/admin/jobs/job/")
    for name in ("sync-catalogue", "settlement 2290", "settlement 2289"):
        page.check(f"#result_list tr:has-text('{name}') input")
    page.select_option("select[name=action]", "retry")
    with page.expect_navigation():
        page.click(".actions button")
    page.fill("[name=reason]", "The ledger is open again.")
    page.focus(".hodei-answer button")
    picture("decision")


def of_overview(page: Page, site: Site, picture: Picture) -> None:
    """What waits, who works, and the last hour."""
    page.goto(f"{site.url}/admin/overview/")
    picture("overview")


def of_schema(page: Page, site: Site, picture: Picture) -> None:
    """The schema's status, and its drift."""
    schema = f"{site.url}/admin/hodei_schema/migrationrun"
    page.goto(f"{schema}/status/")
    picture("schema-status")
    page.goto(f"{schema}/drift/")
    with page.expect_navigation():
        page.click("text=Compare now")
    picture("schema-drift")


def take(site: Site, directory: Path, show: Callable[[Page, Site, Picture], None]) -> list[Path]:
    """Take the pictures into the folder."""
    chromium = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if chromium is None:
        raise SystemExit("screenshots: there is no chromium on PATH; install Chromium.")
    directory.mkdir(parents=True, exist_ok=True)
    taken = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        page = browser.new_page(viewport=SIZE)

        def picture(name: str) -> None:
            path = directory / f"{name}.png"
            page.screenshot(path=path)
            taken.append(path)

        log_in(page, site)
        show(page, site, picture)
        browser.close()
    return taken


def main() -> None:
    """Read the command line and take the pictures."""
    parser = argparse.ArgumentParser(description="Take the pictures of the documentation.")
    parser.add_argument("--base-url", help="a running site with the sample; default: an own one")
    parser.add_argument("--directory", type=Path, default=ROOT / "docs" / "images")
    options = parser.parse_args()
    if options.base_url:
        user = os.environ.get("SCREENSHOT_USER", "admin")
        password = os.environ.get("SCREENSHOT_PASSWORD", "")
        taken = take(
            Site(options.base_url.rstrip("/"), user, password), options.directory, of_sample
        )
    else:
        with own_site(sample) as site:
            taken = take(site, options.directory, of_sample)
        with own_site(busy_hour) as site:
            taken += take(site, options.directory, of_overview)
        with own_site(bad_night) as site:
            taken += take(site, options.directory, of_schema)
    for path in taken:
        print(f"{path} {path.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
