"""Which addresses a webhook may be sent to (SSRF): the public ones, and those allowed by name.

A URL that somebody else has chosen must not reach what only this machine or its network can. Names
are resolved once; what was checked is what is connected to, so a name that points elsewhere a
moment later (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Where clouds hand out credentials to whoever asks. Never allowed, whatever the setting says.
METADATA = frozenset(
    ipaddress.ip_address(one)
    for one in (
        "169.254.169.254",  # AWS, Google, Azure, OpenStack and others
        "fd00:ec2::254",  # AWS
        "fd20:ce::254",  # Google
        "169.254.170.2",  # AWS, of containers
        "169.254.170.23",  # AWS, of pods
        "fd00:ec2::23",
        "100.100.100.200",  # Alibaba
        "168.63.129.16",  # Azure; a public address
        "192.0.0.192",  # Oracle
    )
)
#: IPv6 addresses of these carry an IPv4 address in their last four bytes.
_CARRIERS = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("::/96"))


def networks(given: Sequence[str]) -> tuple[Network, ...]:
    """Raises ValueError for what is no network, or has bits behind its prefix."""
    return tuple(ipaddress.ip_network(one) for one in given)


def refusal(text: str, allowed: Sequence[Network]) -> str | None:
    """Why an address must not be connected to, or None if it may be."""
    address = _innermost(ipaddress.ip_address(text.partition("%")[0]))
    if address in METADATA:
        return "it is a cloud's metadata service"
    if is_among(address, allowed):
        return None
    kinds = (
        (address.is_unspecified, "unspecified"),
        (address.is_loopback, "loopback"),
        (address.is_link_local, "link-local"),
        (address.is_multicast, "multicast"),
        (address.is_private or getattr(address, "is_site_local", False), "private"),
        (address.is_reserved or not address.is_global, "reserved"),
    )
    return next((f"it is {kind}" for holds, kind in kinds if holds), None)


def is_among(address: Address | str, allowed: Sequence[Network]) -> bool:
    """Whether an address, or the IPv4 address that it stands for, is in one of the networks."""
    if isinstance(address, str):
        address = ipaddress.ip_address(address.partition("%")[0])
    inner = _innermost(address)
    return any(inner in network or address in network for network in allowed)


def _innermost(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one, however it was put there."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped:
        return address.ipv4_mapped
    if address.sixtofour:
        return address.sixtofour
    if address.teredo:
        return address.teredo[1]
    # The lowest numbers are "::" and "::1", which are addresses of their own.
    if int(address) > 1 and any(address in carrier for carrier in _CARRIERS):
        return ipaddress.IPv4Address(address.packed[-4:])
    return address
