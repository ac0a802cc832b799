"""A program that listens everywhere takes the lab's ports; one that listens elsewhere does not."""

from __future__ import annotations

import os
import socket
from ipaddress import IPv4Network

import pytest

from bootstrap.errors import PreflightError
from infra.lab import ports
from infra.lab.layout import Addresses

ADDRESSES = Addresses(IPv4Network("10.79.0.0/16"))
TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM


@pytest.mark.parametrize(
    ("name", "family", "kind"),
    [
        ("API_PORT", socket.AF_INET, TCP),
        ("API_PORT", socket.AF_INET6, TCP),
        ("DNS_PORT", socket.AF_INET, TCP),
        ("DNS_PORT", socket.AF_INET, UDP),
    ],
)
def test_a_port_taken_everywhere_is_told_with_who_has_it(
    monkeypatch: pytest.MonkeyPatch, name: str, family: socket.AddressFamily, kind: socket.SocketKind
) -> None:
    with socket.socket(family, kind) as other:
        other.bind(("", 0))
        if kind == TCP:
            other.listen()
        port = other.getsockname()[1]
        monkeypatch.setattr(ports, "API_PORT", free_port())
        monkeypatch.setattr(ports, "DNS_PORT", free_port())
        monkeypatch.setattr(ports, name, port)
        with pytest.raises(PreflightError, match=f"cannot listen on port {port}/") as caught:
            ports.refuse_taken(ADDRESSES)
        assert f"(process {os.getpid()})" in str(caught.value.why)


def test_a_port_taken_at_another_address_is_free_for_the_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        monkeypatch.setattr(ports, "API_PORT", other.getsockname()[1])
        monkeypatch.setattr(ports, "DNS_PORT", other.getsockname()[1])
        ports.refuse_taken(ADDRESSES)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
