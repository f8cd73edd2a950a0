"""What the how-to pages say to type is typed, and has to print what they show."""

from __future__ import annotations

import asyncio
import re
import shlex
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import transaction

from outbox.events import Event
from outbox.outcomes import DELIVERED, Outcome, permanent
from outbox.publishers.signing import key_of
from outbox.services.publish import publish
from tests.outbox.conftest import Outbox
from tests.outbox.publishers.rigs import SECRET, require
from tests.outbox.publishers.test_rabbitmq import on_channel
from tests.outbox.test_commands.kit import dlq
from tests.processes import ROOT

PAGES = ROOT / "docs/how-to/outbox"
#: A code block: indented lines, and the empty ones between them.
BLOCK = re.compile(r"(?:^    .*\n(?:\n(?=    ))?)+", flags=re.MULTILINE)


async def _delete_stream(name: str) -> None:
    import nats

    client = await nats.connect("nats://127.0.0.1:4222")
    await client.jetstream().delete_stream(name)
    await client.close()


@pytest.fixture
def unique() -> str:
    return f"test{uuid.uuid4().hex[:12]}"


@pytest.fixture
def clean(request: pytest.FixtureRequest, unique: str) -> Iterator[None]:
    """Remove what the commands of the page have made."""
    if request.param != "webhook":
        require(request.param)
    yield
    if request.param == "nats":
        asyncio.run(_delete_stream(unique.upper()))
    if request.param == "rabbitmq":
        on_channel(lambda channel: channel.queue_delete(unique))
        on_channel(lambda channel: channel.exchange_delete(unique))


@pytest.mark.parametrize(
    ("page", "clean"),
    [(name, name) for name in ("nats", "rabbitmq", "redis", "webhook")],
    indirect=["clean"],
)
@pytest.mark.usefixtures("clean")
def test_a_page_is_as_it_says(
    page: str, unique: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (PAGES / f"{page}.md").read_text()
    # Names of this test's own, at a broker that others use as well.
    text = text.replace("SHOP", unique.upper()).replace("shop", unique)
    blocks = [textwrap.dedent(block) for block in BLOCK.findall(text)]
    (source,) = [block for block in blocks if "HODEI_OUTBOX = {" in block]
    monkeypatch.setenv("BILLING_WEBHOOK_SECRET", SECRET)
    made: dict[str, Any] = {}
    exec(source, made)
    settings.HODEI_OUTBOX = made["HODEI_OUTBOX"]
    typed = [block.removeprefix("$ ") for block in blocks if block.startswith("$ ")]
    assert typed

    for block in typed:
        command, _, expected = block.partition("\n")
        told = output(command)
        if expected.strip():
            assert told.strip() == expected.strip()
        else:
            key_of(told.strip())


def output(command: str) -> str:
    """What a command prints, which ends well."""
    words = shlex.split(command)
    assert words[0] == "python"
    if words[1] != "manage.py":
        done = subprocess.run(
            [sys.executable, *words[1:]], capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout
    out = StringIO()
    call_command(*words[2:], stdout=out, stderr=out, no_color=True)
    return out.getvalue()


#: What is another one each time: ids, times, ages, relays, rates.
OTHERS = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b[0-9a-f]{8}\b"
    r"|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d|\b\d+ (?:s|min|h|days?)\b(?: \d+ min)?"
    r"|\S+-\d+-[0-9a-f]{6}|[\d.]+(?= a second)|(?<=the number )\d+"
)


def refuse(event: Event) -> Outcome:
    """As the destinations of the handbook do, as long as nobody has repaired anything."""
    if event.event_type == "InvoiceIssued":
        order = event.payload["order"]
        return permanent("http_422", f"HTTP 422: order {order} has no customer")
    if event.event_type == "ReportReady":
        size = "1,310,720 bytes; the server takes 1,048,576 at most"
        return permanent("message_too_large", size)
    return DELIVERED


@pytest.fixture
def night(outbox: Outbox) -> Outbox:
    """Three invoices that died, a report, and what waits behind them."""
    dead: list[tuple[str, Any, dict[str, Any]]] = [
        *(
            ("InvoiceIssued", n, {"order": n, "total": 1200, "api_token": "hush"})
            for n in (4712, 4713, 4711)
        ),
        ("ReportReady", "2026-10", {"pages": ["much"], "url": None}),
    ]
    for event_type, key, payload in dead:
        with transaction.atomic():
            publish(event_type, "JOB", key, payload, metadata={"correlation_id": f"checkout-{key}"})
        outbox.drain(refuse)
    outbox.publish(4711, 1, 2)
    outbox.publish(4712, 1)
    outbox.publish(4713, 1)
    outbox.publish("2026-10", 1, 2)
    outbox.drain(refuse)
    outbox.execute(
        "INSERT INTO outbox_relays (destination, owner, wakes_by) "
        "VALUES ('default', 'app-1-2231-9c41aa', 'notify'); "
        "UPDATE outbox_lanes SET owner = 'app-1-2231-9c41aa', leased_until = now() + interval '1 h'"
    )
    return outbox


def test_the_handbook_is_as_it_says(night: Outbox) -> None:
    """From what is stuck to the end of it, every command in its order."""
    text = (PAGES / "dead-letters.md").read_text()
    letters = night.rows("SELECT coalesce(aggregate_key, ''), id::text FROM outbox_dlq")
    ids = {key: letter[:8] for key, letter in letters}
    text = text.replace("2088f22e", ids["4711"]).replace("9d762f9b", ids["2026-10"])
    shown = "\n".join(map(textwrap.dedent, BLOCK.findall(text)))
    typed = re.split(r"^\$ ", shown, flags=re.MULTILINE)[1:]
    assert len(typed) == 9

    for block in typed:
        command, _, expected = block.partition("\n")
        told = output(command)
        if expected.strip():
            assert alike(told) == alike(expected), command

    assert night.value("SELECT count(*) FROM outbox_keys WHERE state = 'PARKED'") == 0


def test_the_reference_of_dead_letters_is_as_it_says(night: Outbox) -> None:
    text = (ROOT / "docs/reference/outbox_dlq.md").read_text()
    ids = dict(night.rows("SELECT aggregate_key, id::text FROM outbox_dlq"))
    text = text.replace("2088f22e-db39-4757-bbac-823c9be9da2c", ids["4711"])
    text = text.replace("2088f22e", ids["4711"][:8])
    shown = "\n".join(map(textwrap.dedent, BLOCK.findall(text)))
    blocks = re.split(r"^\$ ", shown, flags=re.MULTILINE)[1:]
    pages = dict(block.split("\n", 1) for block in blocks)
    command = "python manage.py outbox_dlq"

    assert alike(output(f"{command} list")) == alike(pages.pop(f"{command} list"))

    ticket = "the customers were imported (ticket 8812)"
    output(f"{command} requeue --class http_422 --by anna --reason '{ticket}'")
    large = "the report is too large for the broker"
    output(f"{command} resend {ids['2026-10']} --patch '{{}}' --by root --reason '{large}'")
    every = f"{command} list --state all"
    assert alike(output(every)) == alike(pages.pop(every))

    (late,) = (typed for typed in pages if " resolve " in typed)
    refused = dlq(*shlex.split(late)[3:], code=1)
    assert alike(refused.err) == alike(pages.pop(late))
    # The rest is of two runs, of which one is stopped.
    assert all(" --rate " in typed or " --batch " in typed for typed in pages)


def alike(text: str) -> list[str]:
    """The words of each line, without what is another one each time."""
    return [" ".join(OTHERS.sub("#", line).split()) for line in text.strip().splitlines()]
