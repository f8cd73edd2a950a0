"""Whatever is stored in any column of any table: no page becomes a program, none tells a secret."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from typing import Any

import pytest
from django.db import connection, models, transaction
from django.db.utils import DataError, IntegrityError
from django.test import Client
from django.urls import reverse

from hodei.sample import SampleReport
from tests.admin.pages import admins, list_of, page_of, view
from tests.hostile import SECRET

pytestmark = pytest.mark.django_db

ADMINS = admins()
EVIL = (
    "\"'></pre></script><script>evil()</script><img src=x onerror=evil()><a href=javascript:evil()>"
)
#: Parts of names of columns in which somebody has written what went wrong, or why; the others are
#: names and keys.
FREE = ("error_message", "message", "traceback", "note", "incident")


class Page(HTMLParser):
    """What a browser would make of a page, as far as it could harm."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._script = tag == "script"
        for name, value in attrs:
            text = (value or "").strip().lower()
            if name.startswith("on") or ("evil" in (value or "") and name in {"src", "style"}):
                self.found.append(f"<{tag} {name}={value!r:.80}>")
            if name in {"href", "src", "action", "formaction"} and text.startswith(
                ("javascript:", "data:text", "vbscript:")
            ):
                self.found.append(f"<{tag} {name}={value!r:.80}>")

    def handle_endtag(self, tag: str) -> None:
        self._script = False

    def handle_data(self, data: str) -> None:
        if self._script and "evil" in data:
            self.found.append(f"<script>{data:.80}")


def harmful(text: str) -> list[str]:
    page = Page()
    page.feed(text)
    return page.found


def fields(model: type[models.Model]) -> Iterator[models.Field[Any, Any]]:
    for field in model._meta.concrete_fields:
        is_text = isinstance(field, (models.CharField, models.TextField, models.JSONField))
        if is_text and not field.primary_key and not isinstance(field, models.GeneratedField):
            yield field


def poison(
    model: type[models.Model], text: str = EVIL, json: Any = None, only: Sequence[str] = ("",)
) -> tuple[models.Model | None, list[str]]:
    """Write it into every column of a row that takes it; returns the row, and those columns."""
    if json is None:
        json = {text: [text, {"name": text, "value": text}], "state": text, "name": text}
    row, done = model._default_manager.order_by("pk").first(), []
    if row is None:
        return None, done
    with connection.cursor() as cursor:
        # What refuses changes is a trigger.
        cursor.execute("SET LOCAL session_replication_role = replica")
    for field in fields(model):
        is_json = isinstance(field, models.JSONField)
        if not is_json and not any(part in field.name for part in only):
            continue
        value: Any = text[: getattr(field, "max_length", None) or None]
        if is_json:
            value = json
        try:
            with transaction.atomic():
                model._default_manager.filter(pk=row.pk).update(**{field.attname: value})
        except (IntegrityError, DataError):
            continue
        done.append(field.attname)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = DEFAULT")
    return model._default_manager.get(pk=row.pk), done


def test_the_parser_would_see_it() -> None:
    assert len(harmful(f"<p>{EVIL}</p>")) == 3
    assert harmful(f'<p title="{EVIL}">') != []
    assert harmful("<pre>&lt;script&gt;evil()&lt;/script&gt;</pre>") == []


@pytest.mark.parametrize("model_admin", ADMINS, ids=[str(one.opts.label) for one in ADMINS])
def test_no_stored_text_is_a_script(page: Client, sample: SampleReport, model_admin: Any) -> None:
    model = model_admin.model
    row, columns = poison(model)
    if row is None:
        assert model._meta.db_table not in sample.rows
        return
    addresses = [list_of(model), list_of(model, q=EVIL), page_of(row)]
    for action in getattr(model_admin, "decisions", ()):
        query = {"id": row.pk, **({"part": EVIL} if action.part else {}), "back": EVIL}
        addresses.append(reverse(view(row, "decide"), args=(action.name,), query=query))

    assert columns or not list(fields(model))
    for address in addresses:
        answer = page.get(address, follow=True)
        assert answer.status_code == 200, address
        assert harmful(answer.text) == [], address


def test_pages_that_show_rows_of_others(page: Client, sample: SampleReport) -> None:
    """A job's page has its log, its lease, its attempts; a saga's its steps and its audit."""
    for one in ADMINS:
        poison(one.model)

    for one in ADMINS:
        for row in one.model._default_manager.order_by("pk")[:3]:
            answer = page.get(page_of(row), follow=True)
            assert answer.status_code == 200
            assert harmful(answer.text) == []
    assert harmful(page.get(reverse("admin:index")).text) == []


@pytest.mark.parametrize("model_admin", ADMINS, ids=[str(one.opts.label) for one in ADMINS])
def test_no_stored_secret_is_shown(page: Client, sample: SampleReport, model_admin: Any) -> None:
    json = {
        "password": SECRET,
        "deep": [{"apiKey": SECRET, "url": f"https://me:{SECRET}@host/"}],
        "env": [{"name": "DB_PASSWORD", "value": SECRET}],
        "args": ["mysql", "--password", SECRET, f"--token={SECRET}"],
        "error": f"it failed: {{'secret': '{SECRET}'}}",
    }
    row, _ = poison(model_admin.model, f"password={SECRET}", json, only=FREE)
    if row is None:
        return
    for address in (list_of(model_admin.model), page_of(row)):
        answer = page.get(address, follow=True)
        assert answer.status_code == 200
        assert SECRET not in answer.text, answer.text[answer.text.index(SECRET) - 300 :][:400]
