"""The lab takes no addresses that this host needs for something else."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

import pytest

from infra.lab.network import conflict

CIDR = IPv4Network("10.79.0.0/16")
BRIDGE = "kp-test-1"


def address(device: str, local: str, length: int) -> dict[str, Any]:
    return {"ifname": device, "addr_info": [{"family": "inet", "local": local, "prefixlen": length}]}


@pytest.mark.parametrize(
    ("links", "routes"),
    [
        pytest.param([address("eth0", "192.0.2.2", 24)], [{"dst": "default", "gateway": "192.0.2.1"}], id="elsewhere"),
        pytest.param([address(BRIDGE, "10.79.0.1", 16)], [{"dst": "10.79.0.0/16", "dev": BRIDGE}], id="its own"),
        pytest.param(
            [address("tun0", "10.8.0.2", 24)],
            [{"dst": dst, "gateway": "10.8.0.1", "dev": "tun0"} for dst in ("0.0.0.0/1", "128.0.0.0/1", "10.0.0.0/8")],
            id="a VPN's wider routes",
        ),
    ],
)
def test_a_range_is_free(links: list[dict[str, Any]], routes: list[dict[str, Any]]) -> None:
    assert conflict(CIDR, BRIDGE, links, routes) is None


@pytest.mark.parametrize(
    ("links", "routes", "found"),
    [
        pytest.param([address("eth0", "10.79.3.4", 24)], [], "10.79.3.0/24 on eth0", id="an address"),
        pytest.param([address("kp-other", "10.64.0.1", 12)], [], "10.64.0.0/12 on kp-other", id="a wider lab"),
        pytest.param([], [{"dst": "10.79.0.0/16", "dev": "tun0"}], "10.79.0.0/16 on tun0", id="a route to it"),
        pytest.param([], [{"dst": "10.79.1.2", "dev": "tun0"}], "10.79.1.2/32 on tun0", id="a route into it"),
        pytest.param([], [{"type": "blackhole", "dst": "10.79.1.0/24"}], "10.79.1.0/24 on a route", id="a black hole"),
        pytest.param(
            [],
            [{"dst": "default", "nexthops": [{"gateway": "10.79.0.1", "dev": "eth0"}]}],
            "10.79.0.1/32 on eth0",
            id="the gateway of this host",
        ),
    ],
)
def test_a_range_is_in_use(links: list[dict[str, Any]], routes: list[dict[str, Any]], found: str) -> None:
    assert conflict(CIDR, BRIDGE, links, routes) == found
