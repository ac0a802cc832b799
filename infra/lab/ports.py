"""Ports of the embedded cloud. A program that listens on one of them at every address of this host is in the way."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from ipaddress import IPv4Address

import psutil

from bootstrap.addresses import API_PORT
from bootstrap.errors import PreflightError
from infra.lab.layout import DNS_PORT, Addresses

_FREEBIND = 15  # IP_FREEBIND: bind an address that no interface has yet
_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - what others listen on
_KINDS = {socket.SOCK_STREAM: "tcp", socket.SOCK_DGRAM: "udp"}


def refuse_taken(addresses: Addresses) -> None:
    """Check that the resolver and the load balancers will be able to listen.

    Raises:
        PreflightError: a program listens on one of their ports at every address.
    """
    wanted = (
        (addresses.name_server, DNS_PORT, socket.SOCK_STREAM, "the machines' DNS server"),
        (addresses.name_server, DNS_PORT, socket.SOCK_DGRAM, "the machines' DNS server"),
        (addresses.gateway, API_PORT, socket.SOCK_STREAM, "the load balancer of the Kubernetes API"),
    )
    for address, port, kind, purpose in wanted:
        if not _free(address, port, kind):
            raise PreflightError(
                f"{purpose} cannot listen on port {port}/{_KINDS[kind]}",
                why=f"{_listeners(port, kind)} listens on it at every address of this machine",
                todo="stop that program, or let it listen at the addresses that it needs only",
            )


def _free(address: IPv4Address, port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as haproxy and dnsmasq do
        probe.setsockopt(socket.IPPROTO_IP, _FREEBIND, 1)
        try:
            probe.bind((str(address), port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
    return True


def _listeners(port: int, kind: socket.SocketKind) -> str:
    """Return the programs that listen on a port everywhere, as far as the kernel tells."""
    found = {
        _program(entry.pid)
        for entry in psutil.net_connections(_KINDS[kind])
        if entry.laddr and entry.laddr.port == port and entry.laddr.ip in _EVERYWHERE and not entry.raddr
    }
    return ", ".join(sorted(found)) or "a program"


def _program(pid: int | None) -> str:
    with suppress(psutil.Error):
        if pid:
            return f"{psutil.Process(pid).name()} (process {pid})"
    return "a program of another user or container"
