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

from outbox.publishers.signing import key_of
from tests.outbox.publishers.rigs import SECRET, require
from tests.outbox.publishers.test_rabbitmq import on_channel
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
