"""haproxy's configuration follows from listeners and target groups."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from bootstrap.errors import PreflightError
from infra.lab.load_balancers import configuration, free_address
from infra.lab.wanted import HealthCheck, Listener, LoadBalancer

SUBNET = IPv4Network("10.79.128.0/20")
READYZ = HealthCheck("HTTPS", "/readyz", None, "200-399", interval=10, timeout=6, healthy=3, unhealthy=2)
LISTENER = Listener(6443, READYZ, ((IPv4Address("10.79.0.20"), 6443), (IPv4Address("10.79.16.20"), 6443)))
API = LoadBalancer("api", "api.elb.test", SUBNET, (LISTENER,))
ADDRESSES = {"api.elb.test": IPv4Address("10.79.143.254")}


def test_an_https_check_asks_the_path_and_its_codes() -> None:
    section = configuration((API,), ADDRESSES).split("listen ")[1]
    assert (
        section
        == """\
api-6443
  bind 10.79.143.254:6443
  balance roundrobin
  timeout check 6s
  default-server inter 10s fastinter 1s downinter 1s rise 3 fall 2
  default-server on-marked-down shutdown-sessions
  default-server check-ssl verify none
  option httpchk GET /readyz
  http-check expect status 200-399
  server 10.79.0.20:6443 10.79.0.20:6443 check
  server 10.79.16.20:6443 10.79.16.20:6443 check
  option allbackups
  server 10.79.0.20:6443-unchecked 10.79.0.20:6443 backup
  server 10.79.16.20:6443-unchecked 10.79.16.20:6443 backup
"""
    )


def test_a_tcp_check_only_connects_also_to_a_port_of_its_own() -> None:
    check = replace(READYZ, protocol="TCP", path=None, port=9000)
    text = configuration((replace(API, listeners=(replace(LISTENER, check=check),)),), ADDRESSES)
    assert "default-server port 9000\n" in text
    assert "httpchk" not in text
    assert "check-ssl" not in text


def test_without_a_listener_there_is_no_haproxy() -> None:
    assert configuration((replace(API, listeners=()),), ADDRESSES) == ""


def test_an_address_is_far_from_those_that_machines_get() -> None:
    used = {SUBNET[-2], SUBNET[-3]}
    assert free_address(SUBNET, used) == IPv4Address("10.79.143.252")
    with pytest.raises(PreflightError, match="no address is left"):
        free_address(SUBNET, {SUBNET[-index] for index in range(2, 8)})
