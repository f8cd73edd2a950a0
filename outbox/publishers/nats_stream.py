"""The stream of NATS JetStream that events go to: looked at, and made by a command.

``context`` is nats-py's of JetStream, ``wanted`` the pattern of the subjects of all events.
"""

from __future__ import annotations

from typing import Any

from nats.js import api
from nats.js.errors import APIError, NotFoundError

from outbox.publishers.streams import StreamReport

#: Seconds. A relay that takes over from a dead one sends again what may have arrived already.
DUPLICATE_WINDOW = 600


async def check(context: Any, name: str, wanted: str) -> StreamReport:
    """Look; there is no line where there is no stream."""
    try:
        info = await context.stream_info(name)
    except NotFoundError:
        return StreamReport([], [f"There is no stream {name!r}."])
    found = info.config
    subjects = ", ".join(found.subjects or [])
    line = (
        f"Stream {name!r}: subjects {subjects}, {info.state.messages:,} messages, "
        f"duplicate window {found.duplicate_window or 0:g} s, {found.storage or '?'} storage, "
        f"{found.num_replicas} replica(s)."
    )
    return StreamReport([line], _problems(found, wanted))


def _problems(found: api.StreamConfig, wanted: str) -> list[str]:
    problems = []
    if not any(covers(one, wanted) for one in found.subjects or []):
        problems.append(f"It does not take the subjects {wanted}.")
    if (found.duplicate_window or 0) < DUPLICATE_WINDOW:
        problems.append(
            f"Its duplicate window is shorter than {DUPLICATE_WINDOW} s: what a relay sends "
            "again after a crash may be stored twice."
        )
    if found.storage != "file":
        problems.append("It is kept in memory: it is lost when its servers stop.")
    if found.sealed:
        problems.append("It is sealed: it takes nothing more.")
    return problems


async def create(context: Any, name: str, wanted: str) -> StreamReport:
    """Make it if it is not there."""
    found = await check(context, name, wanted)
    if found.lines:
        line = f"Stream {name!r} is there already, and was left as it is."
        return StreamReport([line, *found.lines], found.problems)
    if wanted.startswith("*"):
        problem = f"{wanted} would take the messages of others; begin SUBJECT with a word."
        return StreamReport([], [f"No stream was made: its subjects {problem}"])
    try:
        await context.add_stream(
            api.StreamConfig(
                name=name,
                subjects=[wanted],
                storage=api.StorageType.FILE,
                duplicate_window=DUPLICATE_WINDOW,
            )
        )
    except APIError as error:
        return StreamReport([], [f"No stream was made: {error.description}."])
    made = await check(context, name, wanted)
    return StreamReport([f"Made the stream {name!r}.", *made.lines], made.problems)


def covers(pattern: str, wanted: str) -> bool:
    """Whether every subject of one pattern is one of the other's, too."""
    have, want = pattern.split("."), wanted.split(".")
    for place, one in enumerate(have):
        if one == ">":
            return len(want) > place
        if place >= len(want) or (one != "*" and one != want[place]):
            return False
    return len(have) == len(want)
