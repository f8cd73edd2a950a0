"""To an HTTP endpoint, through httpx: one POST an event, signed as Standard Webhooks.

The body is the whole event as CloudEvents JSON. What answers decide, docs/reference has as a table:
a status about the event (400, 413, 422) ends it, one about the destination (429, 503) ends the
batch and spends no attempt. Redirects are not followed, and proxies of the environment are not
used: either would lead elsewhere than to the address that was checked.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import SplitResult, urlsplit

from outbox.envelope import CONTENT_TYPE, structured
from outbox.events import Event
from outbox.outcomes import Outcome, down, rejected
from outbox.publishers import addresses, options, signing
from outbox.publishers.concurrent import ConcurrentPublisher
from outbox.publishers.http_answers import outcome_of

try:
    import httpx
except ImportError as error:
    raise options.extra_missing("WebhookPublisher", "webhook", error) from error

#: Bytes of an answer that are read.
MOST_READ = 4096


class WebhookPublisher(ConcurrentPublisher):
    """Options: URL, SECRETS, ALLOW_PRIVATE, CA_FILE, TIMEOUT, IN_FLIGHT."""

    def __init__(
        self,
        *,
        source: str,
        namespace: str,
        url: str,
        secrets: Sequence[str],
        allow_private: Sequence[str] = (),
        ca_file: str | None = None,
        timeout: float = 10,
        in_flight: int = 8,
    ) -> None:
        timeout = options.seconds("timeout", timeout)
        # Each request has its own limit; this one is behind it, in case that fails.
        super().__init__(in_flight=options.in_flight(in_flight), timeout=timeout + 5)
        self._limit = timeout
        self._envelope = {"source": source, "namespace": namespace}
        self._allowed = _networks(allow_private)
        self._url = _url(url, plain_allowed=bool(self._allowed))
        self._keys = _keys(secrets)
        path = options.file("ca_file", ca_file)
        try:
            self._tls = ssl.create_default_context(cafile=path)
        except ssl.SSLError as error:
            raise options.invalid("ca_file", path, "a file of certificates (PEM)") from error

    async def connect(self) -> WebhookConnection:
        return WebhookConnection(
            url=self._url,
            allowed=self._allowed,
            # Not a client: that would keep cookies, and log the URL of each request.
            transport=httpx.AsyncHTTPTransport(
                verify=self._tls,
                trust_env=False,
                limits=httpx.Limits(max_connections=self._in_flight),
            ),
            limit=self._limit,
            sign=self._signed,
        )

    def _signed(self, event: Event) -> tuple[bytes, dict[str, str]]:
        body = structured(event, **self._envelope).encode()
        return body, signing.headers(str(event.id), int(time.time()), body, self._keys)


class WebhookConnection:
    """Connections to an endpoint, and its addresses: resolved and checked before they are used."""

    def __init__(
        self,
        *,
        url: SplitResult,
        allowed: Sequence[addresses.Network],
        transport: httpx.AsyncBaseTransport,
        limit: float,
        sign: Any,
    ) -> None:
        self.lost: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._url = url
        self._allowed = allowed
        self._transport = transport
        self._limit = limit
        self._sign = sign
        self._clock = asyncio.get_running_loop().time
        self._answered_at = 0.0
        self._resolving = asyncio.Lock()
        self._resolved: tuple[float, list[str] | Outcome] = (0.0, [])

    async def send(self, event: Event) -> Outcome:
        body, signature = self._sign(event)
        begun = self._clock()
        try:
            async with asyncio.timeout(self._limit):
                found = await self._addresses()
                if isinstance(found, Outcome):
                    return found
                outcome = await self._post_to_one(found, body, signature)
        except (TimeoutError, httpx.TimeoutException):
            return self._too_slow(begun)
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as error:
            words = str(error) or type(error).__name__
            return down("connection_lost", f"{self._url.netloc}: {words}.")
        self._answered_at = self._clock()
        return outcome

    async def close(self) -> None:
        await self._transport.aclose()

    async def _addresses(self) -> list[str] | Outcome:
        """Where to connect to, or why not. A minute old at most."""
        async with self._resolving:
            at, found = self._resolved
            if not found or self._clock() - at > 60:
                found = await self._resolve()
                self._resolved = self._clock(), found
        return found

    async def _resolve(self) -> list[str] | Outcome:
        host = self._url.hostname or ""
        try:
            answers = await asyncio.get_running_loop().getaddrinfo(
                host, port_of(self._url), type=socket.SOCK_STREAM
            )
        except (OSError, UnicodeError) as error:
            return down("unresolved", f"The name {host!r} could not be resolved: {error}.")
        found = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
        for address in found:
            # One that is forbidden beside one that is not is a trick, or a mistake.
            reason = addresses.refusal(address, self._allowed)
            if reason is None and self._url.scheme == "http":
                plain = addresses.is_among(address, self._allowed)
                reason = None if plain else "http without TLS goes to networks of ALLOW_PRIVATE"
            if reason is not None:
                message = f"{host!r} has the address {address}, and {reason}. Nothing was sent."
                return down("forbidden_address", message)
        return found

    async def _post_to_one(
        self, found: Sequence[str], body: bytes, signature: dict[str, str]
    ) -> Outcome:
        """To the first address that lets itself be connected to."""
        for address in found[:-1]:
            try:
                return await self._post(address, body, signature)
            except httpx.ConnectError:
                continue
        return await self._post(found[-1], body, signature)

    async def _post(self, address: str, body: bytes, signature: dict[str, str]) -> Outcome:
        # The address stands in the URL, the name in Host, in SNI and in what TLS verifies.
        url = httpx.URL(self._url.geturl()).copy_with(host=address)
        headers = {
            "host": self._url.netloc,
            "content-type": CONTENT_TYPE,
            "user-agent": "hodei-outbox",
            "accept-encoding": "identity",
            **signature,
        }
        extensions = {
            "sni_hostname": self._url.hostname,
            "timeout": httpx.Timeout(self._limit).as_dict(),
        }
        request = httpx.Request("POST", url, headers=headers, content=body, extensions=extensions)
        response = await self._transport.handle_async_request(request)
        try:
            text = await _beginning(response)
        finally:
            await response.aclose()
        return outcome_of(response.status_code, response.headers, text, now=datetime.now(UTC))

    def _too_slow(self, begun: float) -> Outcome:
        """It may have arrived. Where others were answered meanwhile, this event is what is slow;
        otherwise it is the endpoint."""
        message = f"{self._url.netloc} did not answer within {self._limit:g} s."
        if self._answered_at > begun:
            return rejected("timeout", message)
        return down("timeout", message)


def port_of(url: SplitResult) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


async def _beginning(response: httpx.Response) -> str:
    """The first bytes of an answer as text; the rest is not read."""
    read = b""
    async for part in response.aiter_raw(MOST_READ):
        read += part
        if len(read) >= MOST_READ:
            break
    return read[:MOST_READ].decode("utf-8", "replace")


def _url(value: Any, *, plain_allowed: bool) -> SplitResult:
    # It may hold a password or a token, so it is not repeated.
    try:
        parts = urlsplit(options.text("url", value))
        _ = parts.port
        if not parts.netloc.isascii():
            # As the resolver, TLS and the header Host want it.
            parts = parts._replace(netloc=httpx.URL(value).netloc.decode())
    except (ValueError, httpx.InvalidURL) as error:
        raise options.OptionInvalid(f"the option URL is no URL: {error}.") from error
    if parts.scheme not in {"https", "http"} or not parts.hostname:
        raise options.OptionInvalid("the option URL is not like https://host/path.")
    if parts.username is not None or parts.password is not None:
        raise options.OptionInvalid(
            "the option URL has a user name in it; requests are signed, and it would be logged."
        )
    if parts.scheme == "http" and not plain_allowed:
        raise options.OptionInvalid(
            "the option URL is http; use https, or name the network in ALLOW_PRIVATE."
        )
    return parts._replace(fragment="")


def _networks(value: Any) -> tuple[addresses.Network, ...]:
    allowed = 'a list of networks like "10.1.0.0/16"'
    given = options.texts("allow_private", value, allowed)
    try:
        return addresses.networks(given)
    except ValueError as error:
        message = f"the option ALLOW_PRIVATE: {error}; it is {allowed}."
        raise options.OptionInvalid(message) from error


def _keys(value: Any) -> list[bytes]:
    given = options.texts("secrets", value, 'a list of texts, each "whsec_" and base64')
    if not given:
        raise options.OptionInvalid("the option SECRETS is empty; at least one has to sign.")
    keys = []
    for place, secret in enumerate(given):
        try:
            keys.append(signing.key_of(secret))
        except ValueError as error:
            raise options.OptionInvalid(f"the option SECRETS[{place}] {error}.") from error
    return keys
