"""What is a webhook's own: signatures, addresses, TLS, and what each status says."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from outbox.outcomes import DELIVERED, HELD, Kind
from outbox.publishers.http_answers import outcome_of, retry_after_of
from outbox.publishers.signing import headers as signed_headers
from outbox.publishers.signing import key_of
from outbox.publishers.webhook import WebhookPublisher
from tests.outbox.publishers.endpoint import Endpoint, Request
from tests.outbox.publishers.events import SOURCE, make_event, make_events
from tests.outbox.publishers.rigs import IMPATIENT, SECRET
from tests.processes import eventually

OLD_SECRET = "whsec_" + base64.b64encode(b"the secret of the year before").decode()
OTHER_SECRET = "whsec_" + base64.b64encode(b"the secret of somebody else").decode()
NOW = datetime(2026, 11, 5, 12, 0, tzinfo=UTC)
NAME = "hooks.example.test"
#: How "bücher.example.test" is written where only ASCII is known.
FOREIGN = "xn--bcher-kva.example.test"

Make = Callable[..., WebhookPublisher]
Resolve = Callable[..., None]


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as running:
        yield running


@pytest.fixture
def make() -> Iterator[Make]:
    with ExitStack() as stack:

        def publisher(url: str, **options: Any) -> WebhookPublisher:
            values: dict[str, Any] = {"secrets": [SECRET], "allow_private": ["127.0.0.0/8"]}
            made = WebhookPublisher(**SOURCE, url=url, **{**values, **options})
            stack.callback(made.close)
            return made

        yield publisher


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Resolve:
    """A function that says what a name resolves to: the first time, the second, and so on."""
    genuine = socket.getaddrinfo

    def answers(*lists: list[str]) -> None:
        left = list(lists)

        def getaddrinfo(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
            if host not in {NAME, FOREIGN}:
                return genuine(host, port, *rest, **more)
            found = left.pop(0) if len(left) > 1 else left[0]
            if not found:
                raise socket.gaierror(-2, "Name or service not known")
            return [one for address in found for one in genuine(address, port, *rest, **more)]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    return answers


def url_of(endpoint: Endpoint, host: str = "127.0.0.1", scheme: str = "http") -> str:
    return f"{scheme}://{host}:{endpoint.port}/hook"


def verify(request: Request, secret: str) -> Any:
    return Webhook(secret).verify(request.body, dict(request.headers))


class TestSignature:
    def test_somebody_elses_code_accepts_it(self, endpoint: Endpoint, make: Make) -> None:
        event = make_event(payload={"text": "ünï¢ødé"})

        assert make(f"{url_of(endpoint)}?a=1#b").send_batch([event]) == [DELIVERED]

        (request,) = endpoint.requests
        assert request.path == "/hook?a=1"
        assert verify(request, SECRET)["data"] == {"text": "ünï¢ødé"}
        assert request.headers["webhook-id"] == str(event.id)
        assert request.headers["content-type"] == "application/cloudevents+json"
        with pytest.raises(WebhookVerificationError):
            verify(request, OTHER_SECRET)
        with pytest.raises(WebhookVerificationError):
            verify(request._replace(body=request.body + b" "), SECRET)

    def test_while_secrets_change_either_is_good(self, endpoint: Endpoint, make: Make) -> None:
        publisher = make(url_of(endpoint), secrets=[SECRET, OLD_SECRET])

        publisher.send_batch([make_event()])

        (request,) = endpoint.requests
        verify(request, SECRET)
        verify(request, OLD_SECRET)
        with pytest.raises(WebhookVerificationError):
            verify(request, OTHER_SECRET)

    def test_the_example_of_the_specification(self) -> None:
        key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")

        found = signed_headers(
            "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', [key]
        )

        assert found["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

    @pytest.mark.parametrize(
        ("secret", "words"),
        [
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "does not begin with whsec_"),
            ("whsec_%%%", "is no base64"),
            ("whsec_c2hvcnQ=", "is of 5 bytes"),
        ],
    )
    def test_what_is_no_secret(self, secret: str, words: str) -> None:
        with pytest.raises(ValueError, match=words) as caught:
            key_of(secret)

        assert secret not in str(caught.value)


class TestStatus:
    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (200, Kind.DELIVERED),
            (202, Kind.DELIVERED),
            (204, Kind.DELIVERED),
            (301, Kind.DOWN),
            (307, Kind.DOWN),
            (400, Kind.PERMANENT),
            (401, Kind.REJECTED),
            (404, Kind.REJECTED),
            (408, Kind.REJECTED),
            (409, Kind.REJECTED),
            (410, Kind.DOWN),
            (413, Kind.PERMANENT),
            (422, Kind.PERMANENT),
            (425, Kind.REJECTED),
            (429, Kind.DOWN),
            (500, Kind.REJECTED),
            (501, Kind.REJECTED),
            (502, Kind.DOWN),
            (503, Kind.DOWN),
            (504, Kind.DOWN),
            (599, Kind.REJECTED),
            (101, Kind.REJECTED),
        ],
    )
    def test_what_it_says(self, status: int, kind: Kind) -> None:
        outcome = outcome_of(status, {}, "no", now=NOW)

        assert outcome.kind is kind
        named = {301: "redirected", 307: "redirected", 410: "gone"}.get(status, f"http_{status}")
        assert outcome.code == ("" if kind is Kind.DELIVERED else named)
        if kind is not Kind.DELIVERED:
            assert f"HTTP {status}" in outcome.message

    def test_an_endpoint_that_is_gone_is_left_alone_for_a_day(
        self, endpoint: Endpoint, make: Make
    ) -> None:
        events = [make_event(payload={"answer": 410}), make_event()]

        outcomes = make(url_of(endpoint), in_flight=1).send_batch(events)

        assert (outcomes[0].kind, outcomes[0].code) == (Kind.DOWN, "gone")
        assert outcomes[0].retry_after == 86_400
        assert outcomes[1] == HELD
        assert len(endpoint.requests) == 1

    @pytest.mark.parametrize("status", [500, 503])
    def test_when_to_come_again(self, status: int, endpoint: Endpoint, make: Make) -> None:
        payload = {"answer": status, "headers": {"Retry-After": "120"}}

        (outcome,) = make(url_of(endpoint)).send_batch([make_event(payload=payload)])

        assert outcome.retry_after == 120

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            (None, None),
            ("0", 0),
            (" 30 ", 30),
            ("86401", 86_400),
            ("9" * 5000, 86_400),
            ("Thu, 05 Nov 2026 12:02:00 GMT", 120),
            ("Thursday, 05-Nov-26 12:02:00 GMT", 120),
            ("Thu Nov  5 12:02:00 2026", 120),
            ("Thu, 05 Nov 2026 11:00:00 GMT", 0),
            ("Fri, 01 Jan 2100 00:00:00 GMT", 86_400),
            ("-5", None),
            ("1.5", None),
            ("soon", None),
            ("٣", None),
            ("Thu, 99 Nov 2026 12:02:00 GMT", None),
            ("", None),
        ],
    )
    def test_the_header(self, value: str | None, seconds: float | None) -> None:
        assert retry_after_of(value, now=NOW) == seconds


class TestAnswer:
    def test_it_is_cut_and_loses_its_secrets(self, endpoint: Endpoint, make: Make) -> None:
        text = "no\r\n\x1b[31m such user, password=hunter2 " + "x" * 5000
        payload = {"answer": 422, "body": text}

        (outcome,) = make(url_of(endpoint)).send_batch([make_event(payload=payload)])

        assert outcome.message.startswith("HTTP 422: no [31m such user, password=[redacted] xxx")
        assert outcome.message.endswith("...")
        assert len(outcome.message) < 250

    def test_one_without_end_is_not_read(self, make: Make) -> None:
        with endless_server(b"x" * 65536) as port:
            publisher = make(f"http://127.0.0.1:{port}/", timeout=10)
            (outcome,) = publisher.send_batch([make_event()])

        assert outcome.code == "http_400"

    def test_one_that_drips_is_not_waited_for(self, make: Make) -> None:
        """Each byte comes in time; all of them together do not."""
        with endless_server(b"x", every=IMPATIENT / 5) as port:
            publisher = make(f"http://127.0.0.1:{port}/", timeout=IMPATIENT)
            (outcome,) = publisher.send_batch([make_event()])

        assert (outcome.kind, outcome.code) == (Kind.DOWN, "timeout")

    def test_what_is_no_http(self, make: Make) -> None:
        with endless_server(b"", head=b"SSH-2.0-OpenSSH_9.2\r\n\r\n") as port:
            (outcome,) = make(f"http://127.0.0.1:{port}/").send_batch([make_event()])

        assert (outcome.kind, outcome.code) == (Kind.DOWN, "connection_lost")


class TestRedirect:
    def test_it_is_not_followed(self, endpoint: Endpoint, make: Make) -> None:
        with Endpoint() as other:
            location = f"http://127.0.0.1:{other.port}/?token=hunter2"
            payload = {"answer": 307, "headers": {"Location": location}}
            (outcome,) = make(url_of(endpoint)).send_batch([make_event(payload=payload)])

        assert other.requests == []
        assert (outcome.kind, outcome.code) == (Kind.DOWN, "redirected")
        assert f"127.0.0.1:{other.port}" in outcome.message
        assert "hunter2" not in outcome.message


class TestDiscretion:
    def test_the_url_is_in_no_log(
        self, endpoint: Endpoint, make: Make, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A token may be in it, and the line would come with every event."""
        with caplog.at_level("INFO"):
            make(url_of(endpoint) + "?key=hunter2").send_batch(make_events(keys=3, each=1))

        assert "hunter2" not in caplog.text
        assert not [one for one in caplog.records if one.name.startswith("http")]

    def test_cookies_are_not_kept(self, endpoint: Endpoint, make: Make) -> None:
        payload = {"headers": {"Set-Cookie": "session=1"}}
        publisher = make(url_of(endpoint))

        publisher.send_batch([make_event(payload=payload)])
        publisher.send_batch([make_event()])

        assert "cookie" not in endpoint.requests[1].headers


class TestSlowEvent:
    def test_it_is_to_blame_where_others_are_answered(self, endpoint: Endpoint, make: Make) -> None:
        slow, key = make_event(payload={"wait": True}), uuid.uuid4()
        publisher = make(url_of(endpoint), timeout=IMPATIENT, in_flight=2)

        outcomes = publisher.send_batch([slow, make_event(key), make_event(key)])

        assert (outcomes[0].kind, outcomes[0].code) == (Kind.REJECTED, "timeout")
        assert outcomes[1:] == [DELIVERED] * 2

    def test_it_is_not_where_nobody_is(self, endpoint: Endpoint, make: Make) -> None:
        publisher = make(url_of(endpoint), timeout=IMPATIENT, in_flight=2)

        outcomes = publisher.send_batch(
            [make_event(payload={"wait": True}) for _ in range(2)] + [make_event()]
        )

        assert {outcome.code for outcome in outcomes[:2]} == {"timeout"}
        assert {outcome.kind for outcome in outcomes[:2]} == {Kind.DOWN}
        assert outcomes[2] == HELD

    def test_as_many_at_once_as_is_allowed(self, endpoint: Endpoint, make: Make) -> None:
        publisher = make(url_of(endpoint), in_flight=3)
        events = make_events(keys=9, each=1, payload={"wait": True})
        outcomes: list[Any] = []
        sending = threading.Thread(target=lambda: outcomes.extend(publisher.send_batch(events)))
        sending.start()

        assert eventually(lambda: endpoint.at_once == 3)
        endpoint.go_on.set()
        sending.join(20)

        assert outcomes == [DELIVERED] * 9
        assert endpoint.most_at_once == 3


class TestAddress:
    @pytest.mark.parametrize(
        "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "0.0.0.0"]
    )
    def test_what_is_not_public_gets_nothing(
        self, host: str, endpoint: Endpoint, make: Make
    ) -> None:
        publisher = make(url_of(endpoint, host, "https"), allow_private=[])

        outcomes = publisher.send_batch(make_events(keys=2, each=1))

        assert (outcomes[0].kind, outcomes[0].code) == (Kind.DOWN, "forbidden_address")
        assert "Nothing was sent" in outcomes[0].message
        assert endpoint.requests == []

    @pytest.mark.parametrize("host", ["[::1]", "[::ffff:127.0.0.1]", "[fe80::1]"])
    def test_nor_over_ipv6(self, host: str, endpoint: Endpoint, make: Make) -> None:
        publisher = make(url_of(endpoint, host, "https"), allow_private=["10.0.0.0/8"])

        (outcome,) = publisher.send_batch([make_event()])

        assert outcome.code in {"forbidden_address", "unresolved"}
        assert endpoint.requests == []

    def test_one_forbidden_address_among_others_is_enough(
        self, endpoint: Endpoint, make: Make, resolve: Resolve
    ) -> None:
        resolve(["127.0.0.1", "10.0.0.1"])

        (outcome,) = make(url_of(endpoint, NAME)).send_batch([make_event()])

        assert outcome.code == "forbidden_address"
        assert "10.0.0.1" in outcome.message
        assert endpoint.requests == []

    def test_without_tls_only_to_networks_that_are_allowed(
        self, make: Make, resolve: Resolve
    ) -> None:
        resolve(["93.184.215.14"])

        (outcome,) = make(f"http://{NAME}/").send_batch([make_event()])

        assert outcome.code == "forbidden_address"
        assert "http without TLS" in outcome.message

    def test_a_name_that_is_not_known(self, make: Make, resolve: Resolve) -> None:
        resolve([])

        (outcome,) = make(f"https://{NAME}/").send_batch([make_event()])

        assert (outcome.kind, outcome.code) == (Kind.DOWN, "unresolved")

    def test_what_was_checked_is_what_is_connected_to(self, make: Make, resolve: Resolve) -> None:
        """DNS rebinding: the name points to a good address once, and inside from then on."""
        with Endpoint("127.0.0.2") as good, Endpoint(port=good.port) as victim:
            resolve(["127.0.0.2"], ["127.0.0.1"])
            publisher = make(url_of(good, NAME), allow_private=["127.0.0.2/32"])

            outcomes = [publisher.send_batch([make_event()])[0] for _ in range(3)]

            assert outcomes == [DELIVERED] * 3
            assert len(good.requests) == 3
            assert good.requests[0].headers["host"] == f"{NAME}:{good.port}"
            # Told to look again, it looks at what it finds.
            publisher.close()
            (outcome,) = publisher.send_batch([make_event()])
            assert outcome.code == "forbidden_address"
            assert victim.requests == []

    def test_a_name_with_other_letters(self, make: Make, resolve: Resolve) -> None:
        with Endpoint("127.0.0.2") as there:
            resolve(["127.0.0.2"])

            outcomes = make(url_of(there, "bücher.example.test")).send_batch([make_event()])

            assert outcomes == [DELIVERED]
            assert there.requests[0].headers["host"] == f"{FOREIGN}:{there.port}"

    def test_the_next_address_where_the_first_refuses(self, make: Make, resolve: Resolve) -> None:
        with Endpoint("127.0.0.2") as there:
            resolve(["127.0.0.3", "127.0.0.2"])

            assert make(url_of(there, NAME)).send_batch([make_event()]) == [DELIVERED]

    def test_a_proxy_of_the_environment_is_not_used(
        self, endpoint: Endpoint, make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with Endpoint() as proxy:
            for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
                monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")

            assert make(url_of(endpoint)).send_batch([make_event()]) == [DELIVERED]

        assert proxy.requests == []
        assert len(endpoint.requests) == 1


class TestTls:
    @pytest.fixture
    def authority(self) -> trustme.CA:
        return trustme.CA()

    @pytest.fixture
    def ca_file(self, authority: trustme.CA, tmp_path: Path) -> str:
        path = tmp_path / "ca.pem"
        authority.cert_pem.write_to_path(str(path))
        return str(path)

    def serve(self, authority: trustme.CA, name: str, asked: list[str | None]) -> Endpoint:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(context)
        context.sni_callback = lambda _socket, name, _context: asked.append(name)
        return Endpoint(tls=context)

    def test_the_name_is_verified_though_the_address_is_connected_to(
        self, authority: trustme.CA, ca_file: str, make: Make, resolve: Resolve
    ) -> None:
        resolve(["127.0.0.1"])
        asked: list[str | None] = []
        with self.serve(authority, NAME, asked) as endpoint:
            publisher = make(url_of(endpoint, NAME, "https"), ca_file=ca_file)

            assert publisher.send_batch([make_event()]) == [DELIVERED]

        assert asked == [NAME]
        assert endpoint.requests[0].headers["host"] == f"{NAME}:{endpoint.port}"

    def test_a_certificate_of_another_name(
        self, authority: trustme.CA, ca_file: str, make: Make, resolve: Resolve
    ) -> None:
        resolve(["127.0.0.1"])
        with self.serve(authority, "127.0.0.1", []) as endpoint:
            publisher = make(url_of(endpoint, NAME, "https"), ca_file=ca_file)
            (outcome,) = publisher.send_batch([make_event()])

        assert (outcome.kind, outcome.code) == (Kind.DOWN, "connection_lost")
        assert "certificate verify failed" in outcome.message
        assert endpoint.requests == []

    def test_a_certificate_that_nobody_knows(
        self, authority: trustme.CA, make: Make, resolve: Resolve
    ) -> None:
        resolve(["127.0.0.1"])
        with self.serve(authority, NAME, []) as endpoint:
            (outcome,) = make(url_of(endpoint, NAME, "https")).send_batch([make_event()])

        assert "certificate verify failed" in outcome.message
        assert endpoint.requests == []


class endless_server:  # noqa: N801
    """Answers every connection with an answer that does not end."""

    def __init__(self, part: bytes, *, every: float = 0, head: bytes | None = None) -> None:
        self._part, self._stop = part, threading.Event()
        self._every = every
        self._head = b"HTTP/1.1 400 Bad\r\nContent-Type: text/plain\r\n" if head is None else head
        self._body = head is None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> int:
        self._thread.start()
        return int(self._listener.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _serve(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        with client:
            try:
                client.recv(65536)
                client.sendall(self._head + (b"\r\n" if self._body and not self._every else b""))
                while self._part and not self._stop.wait(self._every):
                    client.sendall(self._part)
            except OSError:
                pass  # the other side has had enough
