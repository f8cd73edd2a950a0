"""A NATS server that lets in only who has credentials of its account, as hosted ones do: an
operator vouches for an account, and the account for a user, each by a signed JWT."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nkeys

from tests.outbox.publishers.servers import private_server

ANY = -1
LIMITS = dict.fromkeys(
    (
        *("subs", "data", "payload", "imports", "exports", "conn", "leaf"),
        *("mem_storage", "disk_storage", "streams", "consumer"),
    ),
    ANY,
)


class Keys:
    """A pair of keys, and what is signed with it."""

    def __init__(self, prefix: int) -> None:
        self.seed: bytes = nkeys.encode_seed(os.urandom(32), prefix)
        self._pair = nkeys.from_seed(bytearray(self.seed))
        self.name: str = self._pair.public_key.decode()

    def vouch(self, whom: Keys, kind: str, **claims: Any) -> str:
        """The JWT in which this one says what the other is."""
        parts = (
            {"typ": "JWT", "alg": "ed25519-nkey"},
            {
                "jti": os.urandom(8).hex(),
                "iat": int(time.time()),
                "iss": self.name,
                "sub": whom.name,
                "name": kind,
                "nats": {**claims, "type": kind, "version": 2},
            },
        )
        text = ".".join(_base64(json.dumps(part).encode()) for part in parts)
        return f"{text}.{_base64(self._pair.sign(text.encode()))}"


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


@contextmanager
def server_with_accounts(folder: Path) -> Iterator[tuple[str, Path, Path]]:
    """Yields its URL, the credentials file of a user, and one of a user of somebody else's."""
    operator = Keys(nkeys.PREFIX_BYTE_OPERATOR)
    account, system = Keys(nkeys.PREFIX_BYTE_ACCOUNT), Keys(nkeys.PREFIX_BYTE_ACCOUNT)
    limits = {**LIMITS, "wildcards": True}
    config = folder / "nats.conf"
    config.write_text(
        f"operator: {operator.vouch(operator, 'operator')}\n"
        "resolver: MEMORY\n"
        f"system_account: {system.name}\n"
        "resolver_preload: {\n"
        f"  {account.name}: {operator.vouch(account, 'account', limits=limits)}\n"
        f"  {system.name}: {operator.vouch(system, 'account')}\n"
        "}\n"
        f"jetstream: {{ store_dir: {json.dumps(str(folder / 'store'))} }}\n"
    )
    files = [
        _credentials(folder / f"{place}.creds", owner)
        for place, owner in enumerate((account, Keys(nkeys.PREFIX_BYTE_ACCOUNT)))
    ]
    arguments = ("-a", "127.0.0.1", "-p", "{port}", "-c", str(config))
    with private_server("nats", "nats-server", *arguments) as port:
        yield f"nats://127.0.0.1:{port}", files[0], files[1]


def _credentials(path: Path, account: Keys) -> Path:
    user = Keys(nkeys.PREFIX_BYTE_USER)
    token = account.vouch(user, "user", pub={}, sub={}, subs=ANY, data=ANY, payload=ANY)
    path.write_text(
        f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode()}\n------END USER NKEY SEED------\n"
    )
    return path
