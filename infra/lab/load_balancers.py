"""Network load balancers: one haproxy that listens on an address of its own for each."""

from __future__ import annotations

import logging
import signal
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from bootstrap.errors import PreflightError
from bootstrap.files import write_atomically
from bootstrap.process import run
from infra.lab import machine_network
from infra.lab.service import Service
from infra.lab.wanted import HealthCheck, Listener, LoadBalancer

_HEAD = """\
global
  maxconn 4000

defaults
  mode tcp
  option redispatch 1
  retries 3
  timeout connect 2s
  timeout client 1h
  timeout server 1h
"""
_LOG = logging.getLogger("lab.load_balancers")


class LoadBalancers:
    """Makes haproxy and the bridge's addresses those that are wanted. `addresses` maps a DNS name to its address."""

    def __init__(self, folder: Path, bridge: str) -> None:
        self._config = folder / "haproxy.cfg"
        self._bridge = bridge
        self.service = Service("haproxy", folder / "haproxy.log")
        self._text = ""
        self.addresses: dict[str, IPv4Address] = {}

    def reconcile(self, wanted: tuple[LoadBalancer, ...]) -> None:
        """Give and take addresses, and (re)load haproxy if its configuration changed or it died."""
        for name in self.addresses.keys() - {balancer.dns_name for balancer in wanted}:
            machine_network.remove_address(self._bridge, self.addresses.pop(name))
        for balancer in wanted:
            if balancer.dns_name not in self.addresses:
                address = free_address(balancer.subnet, set(self.addresses.values()))
                machine_network.add_address(self._bridge, address)
                self.addresses[balancer.dns_name] = address
        text = configuration(wanted, self.addresses)
        if text != self._text:
            self._apply(text)
        if text:
            self.service.keep_alive(["haproxy", "-W", "-f", self._config])

    def _apply(self, text: str) -> None:
        if text:
            write_atomically(self._config, text)
            run(["haproxy", "-q", "-c", "-f", self._config])
            self.service.signal(signal.SIGUSR2)  # the master starts new workers; the old ones end their connections
        else:
            self.service.stop()
        _LOG.info("haproxy: %s", "configured anew" if text else "no listener left, stopped")
        self._text = text


def free_address(subnet: IPv4Network, used: set[IPv4Address]) -> IPv4Address:
    """Return one of the last addresses of the subnet: the API gives machines the first.

    Raises:
        PreflightError: the subnet has more load balancers than that.
    """
    for index in range(2, 8):
        if subnet[-index] not in used:
            return subnet[-index]
    raise PreflightError(f"no address is left for another load balancer in {subnet}", todo="use another subnet")


def configuration(balancers: tuple[LoadBalancer, ...], addresses: dict[str, IPv4Address]) -> str:
    """Return haproxy's configuration; empty while there is no listener."""
    sections = [
        _section(f"{balancer.name}-{listener.port}", addresses[balancer.dns_name], listener)
        for balancer in balancers
        for listener in balancer.listeners
    ]
    return "\n".join([_HEAD, *sections]) if sections else ""


def _section(name: str, address: IPv4Address, listener: Listener) -> str:
    lines = [f"listen {name}", f"bind {address}:{listener.port}", "balance roundrobin", *_check(listener.check)]
    lines += [f"server {target}:{port} {target}:{port} check" for target, port in listener.targets]
    # While no target is healthy, connections go to all of them, as on AWS.
    lines.append("option allbackups")
    lines += [f"server {target}:{port}-unchecked {target}:{port} backup" for target, port in listener.targets]
    return "\n  ".join(lines) + "\n"


def _check(check: HealthCheck) -> list[str]:
    lines = [
        f"timeout check {check.timeout}s",
        # A target that begins to change is checked every second: AWS checks from several places, and sees it as soon.
        f"default-server inter {check.interval}s fastinter 1s downinter 1s rise {check.healthy} fall {check.unhealthy}",
        "default-server on-marked-down shutdown-sessions",
    ]
    if check.port:
        lines.append(f"default-server port {check.port}")
    if check.protocol == "HTTPS":
        lines.append("default-server check-ssl verify none")
    if check.path:
        lines += [f"option httpchk GET {check.path}", f"http-check expect status {check.codes}"]
    return lines
