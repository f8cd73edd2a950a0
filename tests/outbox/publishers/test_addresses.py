"""Which addresses may be connected to."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbox.publishers.addresses import METADATA, is_among, networks, refusal


class TestRefusal:
    @pytest.mark.parametrize(
        ("address", "word"),
        [
            ("127.0.0.1", "loopback"),
            ("127.255.255.254", "loopback"),
            ("::1", "loopback"),
            ("0.0.0.0", "unspecified"),
            ("::", "unspecified"),
            ("10.0.0.1", "private"),
            ("172.16.0.1", "private"),
            ("172.31.255.255", "private"),
            ("192.168.1.1", "private"),
            ("fc00::1", "private"),
            ("fd12:3456::1", "private"),
            ("fec0::1", "private"),
            ("feff::1", "private"),
            # Reserved to some versions of Python, private to others.
            ("64:ff9b:1::7f00:1", "it is "),
            ("::ffff:0:127.0.0.1", "reserved"),
            ("169.254.1.1", "link-local"),
            ("fe80::1", "link-local"),
            ("fe80::1%eth0", "link-local"),
            ("224.0.0.1", "multicast"),
            ("239.255.255.250", "multicast"),
            ("ff02::1", "multicast"),
            ("100.64.0.1", "reserved"),
            ("240.0.0.1", "private"),
            ("255.255.255.255", "private"),
            ("198.18.0.1", "private"),
            ("192.0.2.1", "private"),
            ("2001:db8::1", "private"),
            # An IPv4 address in IPv6's clothes.
            ("::ffff:127.0.0.1", "loopback"),
            ("::ffff:10.0.0.1", "private"),
            ("::ffff:169.254.169.254", "metadata"),
            ("::127.0.0.1", "loopback"),
            ("64:ff9b::7f00:1", "loopback"),
            ("64:ff9b::10.0.0.1", "private"),
            ("2002:7f00:1::", "loopback"),
            ("2002:a00:1::1", "private"),
            ("2001:0:1::f5ff:fffe", "private"),
            # Where clouds hand out credentials.
            ("169.254.169.254", "metadata"),
            ("fd00:ec2::254", "metadata"),
            ("100.100.100.200", "metadata"),
            ("168.63.129.16", "metadata"),
        ],
    )
    def test_what_is_not_public(self, address: str, word: str) -> None:
        reason = refusal(address, ())

        assert reason is not None
        assert word in reason

    @pytest.mark.parametrize(
        "address",
        [
            "8.8.8.8",
            "1.1.1.1",
            "172.32.0.1",
            "2606:4700:4700::1111",
            "64:ff9b::8.8.8.8",
            "::ffff:8.8.8.8",
        ],
    )
    def test_what_is_public(self, address: str) -> None:
        assert refusal(address, ()) is None

    @given(st.ip_addresses(v=4))
    def test_it_does_not_matter_how_an_address_is_written(
        self, address: ipaddress.IPv4Address
    ) -> None:
        written = (f"::ffff:{address}", f"64:ff9b::{address}")

        assert {refusal(one, ()) for one in written} == {refusal(str(address), ())}


class TestAllowed:
    def test_a_network(self) -> None:
        allowed = networks(["10.1.0.0/16", "fd00::/8"])

        assert refusal("10.1.2.3", allowed) is None
        assert refusal("::ffff:10.1.2.3", allowed) is None
        assert refusal("fd12::1", allowed) is None
        assert refusal("10.2.0.1", allowed) is not None

    def test_no_setting_opens_the_metadata_service(self) -> None:
        allowed = networks(["0.0.0.0/0", "::/0"])

        assert refusal("127.0.0.1", allowed) is None
        for address in METADATA:
            assert refusal(str(address), allowed) is not None

    def test_among(self) -> None:
        allowed = networks(["127.0.0.0/8"])

        assert is_among("127.0.0.1", allowed)
        assert is_among("::ffff:127.0.0.1", allowed)
        assert not is_among("8.8.8.8", allowed)

    @pytest.mark.parametrize("text", ["10.0.0.1/8", "10.0.0.0/33", "intranet", ""])
    def test_what_is_no_network(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"."):
            networks([text])
