"""Options that cannot be: what was found, what is allowed, and no secret in the words."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from outbox.conf import Destination, read
from outbox.events import Event
from outbox.publishers import PublisherNotFound, publisher_of
from outbox.publishers.options import LONGEST_TIMEOUT, ExtraMissing, OptionInvalid
from tests.outbox.publishers.rigs import RIGS, SECRET

NEEDED: dict[str, dict[str, Any]] = {
    "console": {},
    "callable": {"FUNCTION": "tests.outbox.publishers.test_options.handle"},
    "webhook": {"URL": "https://hooks.example.test/", "SECRETS": [SECRET]},
    "nats": {"STREAM": "EVENTS"},
    "rabbitmq": {"EXCHANGE": "events"},
    "redis": {"STREAM": "events"},
}
PASSWORD = "hunter2"


def handle(_event: Event) -> None:
    """A function that may be named."""


async def handle_later(_event: Event) -> None:
    """One that may not."""


def handle_nothing() -> None:
    """Nor may this."""


def make(name: str, **options: Any) -> Any:
    path = f"outbox.publishers.{name}.{RIGS[name].__name__.replace('Rig', 'Publisher')}"
    chosen = {**NEEDED[name], **options}
    return publisher_of(Destination(name="d", publisher=path, options=chosen), read({}))


WRONG: list[tuple[str, str, Any, str]] = [
    ("callable", "FUNCTION", "no.such.thing", "names 'no.such.thing', which cannot be imported"),
    ("callable", "FUNCTION", 7, "is 7; it is a function of one event, or the dotted path of one"),
    ("callable", "FUNCTION", f"{__name__}.handle_later", "is async; it is a plain function"),
    ("callable", "FUNCTION", f"{__name__}.handle_nothing", "does not take one event"),
    ("callable", "FUNCTION", "os.path.sep", "it is a function"),
    ("webhook", "URL", "ftp://h/", "is not like https://host/path"),
    ("webhook", "URL", "https:///path", "is not like https://host/path"),
    ("webhook", "URL", "https://h:99999/", "is no URL"),
    ("webhook", "URL", f"https://me:{PASSWORD}@h/", "has a user name in it"),
    ("webhook", "URL", "http://h/", "is http; use https, or name the network in ALLOW_PRIVATE"),
    ("webhook", "URL", None, "is None; it is a text that is not empty"),
    ("webhook", "SECRETS", [], "is empty; at least one has to sign"),
    ("webhook", "SECRETS", SECRET, "is 'str'; it is a list of texts"),
    ("webhook", "SECRETS", [SECRET, PASSWORD], "SECRETS[1] does not begin with whsec_"),
    ("webhook", "SECRETS", [PASSWORD, 7], "holds what is no text"),
    ("webhook", "ALLOW_PRIVATE", "10.0.0.0/8", "is 'str'; it is a list of networks"),
    ("webhook", "ALLOW_PRIVATE", ["10.0.0.1/8"], "10.0.0.1/8 has host bits set"),
    ("webhook", "URL", "https://\u2488.example/", "URL is no URL: Invalid IDNA hostname"),
    ("webhook", "CA_FILE", "/no/such/file", "is '/no/such/file'; it is the path of a file"),
    ("webhook", "CA_FILE", __file__, "it is a file of certificates (PEM)"),
    ("nats", "URL", f"http://me:{PASSWORD}@h", "URL is not a URL like nats://host:4222"),
    ("nats", "URL", [], "is []; it is a URL like nats://host:4222, or a list of them"),
    ("nats", "URL", "nats://h:0x1", "URL is not a URL like nats://host:4222"),
    ("nats", "STREAM", "a.b", "is 'a.b'; it is a name without spaces, dots and wildcards"),
    ("nats", "STREAM", "", "is ''; it is a text that is not empty"),
    ("nats", "SUBJECT", "shop..{event_type}", "it is words between dots, none of them empty"),
    ("nats", "SUBJECT", "shop.*", "has a character that is not allowed"),
    ("nats", "SUBJECT", "shop.{payload}", "{payload} is none of its fields"),
    ("nats", "CREDENTIALS", "/no/such/file", "it is the path of a file, and there is none"),
    ("rabbitmq", "URL", f"https://me:{PASSWORD}@h", "is not like amqp://"),
    ("rabbitmq", "EXCHANGE", "", "is ''; it is a text that is not empty"),
    ("rabbitmq", "EXCHANGE", "x" * 256, "it is a name of at most 255 bytes"),
    ("rabbitmq", "ROUTING_KEY", "{nothing}", "{nothing} is none of its fields"),
    ("redis", "URL", f"http://me:{PASSWORD}@h", "is not like redis://"),
    ("redis", "URL", f"redis://me:{PASSWORD}@h/0?fo=1", "redis-py does not take: "),
    ("redis", "URL", f"redis://me:{PASSWORD}@h/0?protocol=9", "redis-py does not take: "),
    ("redis", "STREAM", "a b", "has a character that is not allowed"),
    ("redis", "MAXLEN", 0, "is 0; it is a whole number from 1 to"),
    *(
        (name, "TIMEOUT", 0, "is 0; it is a number of seconds, more than 0")
        for name in ("webhook", "nats", "rabbitmq", "redis")
    ),
    ("nats", "TIMEOUT", True, "is True; it is a number of seconds"),
    ("nats", "TIMEOUT", LONGEST_TIMEOUT + 1, f"more than 0 and at most {LONGEST_TIMEOUT}"),
    ("nats", "TIMEOUT", float("nan"), "is nan; it is a number of seconds"),
    *(
        (name, "IN_FLIGHT", 0, "is 0; it is a whole number from 1 to 10,000")
        for name in ("webhook", "nats", "rabbitmq", "redis")
    ),
    ("nats", "IN_FLIGHT", 1.5, "is 1.5; it is a whole number"),
]


@pytest.mark.parametrize(
    ("name", "option", "value", "words"), WRONG, ids=[f"{one[0]}-{one[1]}" for one in WRONG]
)
def test_what_cannot_be(name: str, option: str, value: Any, words: str) -> None:
    with pytest.raises(OptionInvalid) as caught:
        make(name, **{option: value})

    message = str(caught.value)
    assert message.startswith("Destination 'd': the option ")
    assert option in message
    assert words in message
    assert message.endswith(".")
    assert PASSWORD not in message


@pytest.mark.parametrize("name", NEEDED)
def test_what_can_be(name: str) -> None:
    make(name).close()


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("callable", "FUNCTION"),
        ("webhook", "URL"),
        ("webhook", "SECRETS"),
        ("nats", "STREAM"),
        ("rabbitmq", "EXCHANGE"),
        ("redis", "STREAM"),
    ],
)
def test_one_that_is_needed(name: str, option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(NEEDED[name], option)

    with pytest.raises(OptionInvalid, match=f"Destination 'd': the option {option} is missing"):
        make(name)


@pytest.mark.parametrize("is_there", [True, False])
def test_credentials_of_nats_need_what_signs_by_them(
    is_there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else no connection can be made, whatever the server is like."""
    monkeypatch.setitem(sys.modules, "nkeys", ModuleType("nkeys") if is_there else None)
    if is_there:
        make("nats", CREDENTIALS=__file__)
        return
    with pytest.raises(ExtraMissing, match=r"CREDENTIALS needs a library .* 'hodei\[nats\]'"):
        make("nats", CREDENTIALS=__file__)


def test_one_that_there_is_not_names_those_there_are() -> None:
    with pytest.raises(OptionInvalid) as caught:
        make("redis", MAX_LEN=7)

    assert str(caught.value) == (
        "Destination 'd': there is no option MAX_LEN; the options are: IN_FLIGHT, MAXLEN, STREAM, "
        "TIMEOUT, URL."
    )


class TestPublisherOf:
    @pytest.mark.parametrize(
        ("path", "words"),
        [
            ("outbox.publishers.nats.NatsPublischer", "cannot be imported"),
            ("no_such_module.Publisher", "cannot be imported"),
            ("nodots", "cannot be imported"),
            ("outbox.events.Event", "is no publisher: a class with open(), send_batch()"),
            (f"{__name__}.handle", "is no publisher"),
        ],
    )
    def test_what_is_none(self, path: str, words: str) -> None:
        with pytest.raises(PublisherNotFound) as caught:
            publisher_of(Destination(name="d", publisher=path), read({}))

        assert str(caught.value).startswith(f"Destination 'd': {path!r} ")
        assert words in str(caught.value)

    def test_it_gets_the_envelope_of_the_setting(self, capsys: pytest.CaptureFixture[str]) -> None:
        from tests.outbox.publishers.events import make_event

        settings = read({"SOURCE": "/books", "NAMESPACE": "org.books"})
        publisher = publisher_of(settings.destinations["default"], settings)

        publisher.send_batch([make_event()])

        assert (
            '"source":"/books/ORDER","type":"org.books.OrderPlaced.v1"' in capsys.readouterr().out
        )


@pytest.mark.parametrize("key", ["url", "Url", "A B", 7, ""])
def test_names_of_options_are_in_capitals(key: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"A name in .*\['OPTIONS'\] is"):
        read({"DESTINATIONS": {"d": {"PUBLISHER": "x.Y", "OPTIONS": {key: 1}}}})


def test_every_option_is_documented() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs/reference/outbox_publishers.md").read_text()

    for name in NEEDED:
        with pytest.raises(OptionInvalid) as caught:
            make(name, NO_SUCH=1)
        listed = str(caught.value).rpartition(": ")[2].rstrip(".")
        section = page.split(f"\n## {name}\n", 1)[1].split("\n## ", 1)[0]
        for option in listed.split(", "):
            assert option == "none" or f"| `{option}` |" in section, (name, option)
