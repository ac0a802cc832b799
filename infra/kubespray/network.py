"""The network of an inventory's machines, the ranges of Pods and Services, and the place of the API."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network

from bootstrap.addresses import API_PORT, NODE_PODS_PREFIX
from bootstrap.config.model import Network
from bootstrap.platforms.hosts.block import Endpoint
from infra.kubespray.machines import Machine, fits
from infra.kubespray.shared import Shared
from infra.kubespray.values import flag

_SIZES = (24, 16, 8)
# By key: the variable, and what Kubespray takes where an inventory says nothing.
_RANGES = {
    "pods": ("kube_pods_subnet", "10.233.64.0/18"),
    "services": ("kube_service_addresses", "10.233.0.0/18"),
}
_NO_SECOND = "IPv4 only"
_LOCAL = "lb-apiserver.kubernetes.local"  # Kubespray's own name, which stands in the machines' /etc/hosts only


def around(addresses: Sequence[IPv4Address], apart: Sequence[IPv4Network]) -> IPv4Network | None:
    """Return the smallest usual network that holds all addresses, and none of the ranges; None: there is none to /8.

    Where a usual size reaches into a range, the network is the narrowest that holds the addresses.
    """
    if not addresses:
        return None
    exact = 32 - (int(min(addresses)) ^ int(max(addresses))).bit_length()
    sizes = [size for size in _SIZES if size <= exact]
    networks = [IPv4Network((min(addresses), size), strict=False) for size in (*sizes, min(exact, 30))]
    for network in networks:
        ends = {network.network_address, network.broadcast_address} & set(addresses)
        if network.prefixlen >= _SIZES[-1] and not ends and not any(network.overlaps(other) for other in apart):
            return network
    return networks[0] if sizes else None


class Ranges:
    """What becomes of the ranges: the section `network`."""

    def __init__(self, shared: Shared, machines: Sequence[Machine], virtual: str | None) -> None:
        self._shared = shared
        self.section: dict[str, object] = {}
        ranges = dict(self._ranges())
        addresses = [IPv4Address(machine.address) for machine in machines if machine.address]
        addresses += [IPv4Address(virtual)] if virtual else []
        cidr = around(addresses, [IPv4Network(text) for text in ranges.values()])
        usual = {key: Network.model_fields[key].default for key in ("cidr", *ranges)}
        if cidr:
            self.section["cidr"] = str(cidr)
        self.section |= ranges
        self.section = {key: text for key, text in self.section.items() if text != str(usual[key])}
        if cidr:
            self.section |= {"allow_ssh_from": [str(cidr)], "allow_api_from": [str(cidr)]}
        prefix = shared.take("kube_network_node_prefix")
        if prefix is not None and str(prefix) != str(NODE_PODS_PREFIX):
            shared.tell("kube_network_node_prefix", f"each node takes a /{NODE_PODS_PREFIX} of network.pods")
        for name in ("kube_pods_subnet_ipv6", "kube_service_addresses_ipv6", "kube_network_node_prefix_ipv6"):
            shared.quietly([name])
        for name in ("enable_dual_stack_networks", "ipv6_stack"):
            shared.tell(name, _NO_SECOND)
        shared.quietly(["ipv4_stack"])

    def _ranges(self) -> Iterator[tuple[str, str]]:
        for key, (variable, usual) in _RANGES.items():
            given = self._shared.take(variable)
            text = str(given) if given else usual
            if fits(Network, **{key: text}):
                yield key, text
            else:
                self._shared.tell(variable, f"no IPv4 range: write network.{key}")


class Place:
    """What becomes of the API's place: `hosts.endpoint`, with the reason for one that the inventory does not have."""

    def __init__(self, shared: Shared, control_planes: Sequence[Machine], virtual: str | None) -> None:
        self._shared = shared
        self.comment = ""
        self.missing = False
        self.virtual = virtual or self._virtual()
        self.section = self._section(control_planes)
        domain = str(shared.take("apiserver_loadbalancer_domain_name") or _LOCAL)
        if domain != _LOCAL:
            why = "certificates are for the endpoint: write the name as hosts.endpoint.load_balancer if DNS knows it"
            shared.tell("apiserver_loadbalancer_domain_name", why)
        shared.quietly(
            [
                "loadbalancer_apiserver_localhost",
                "loadbalancer_apiserver_type",
                "loadbalancer_apiserver_port",
                "loadbalancer_apiserver_healthcheck_port",
            ]
        )
        shared.quietly(name for name in shared.names() if self.virtual and name.startswith("kube_vip_"))
        for name in shared.names():
            if name.startswith("kube_vip_"):
                shared.tell(name, "kube-vip is not here: hosts.endpoint.virtual_address has keepalived and haproxy")

    def _section(self, control_planes: Sequence[Machine]) -> dict[str, object]:
        balancer = self._balancer()
        if self.virtual:
            self.comment = "port 8443 of it leads to the API, because 6443 is each API server's own"
            return {"virtual_address": self.virtual}
        if balancer:
            return balancer
        if len(control_planes) == 1 and (address := control_planes[0].address):
            self.comment = "the one control plane's own API server; it stays the API's address when others join"
            return {"load_balancer": address}
        self.missing = True
        self.comment = "a free address of the machines' network as virtual_address, or load_balancer"
        return {}

    def _balancer(self) -> dict[str, object]:
        if self.virtual:
            self._shared.quietly(["loadbalancer_apiserver"])
            return {}
        given = self._shared.take("loadbalancer_apiserver")
        host, port = (given.get("address"), given.get("port")) if isinstance(given, dict) else (None, None)
        port = int(str(port)) if str(port).isdecimal() else port
        found = {"load_balancer": str(host)} | ({"port": port} if port not in (None, API_PORT) else {})
        if host and fits(Endpoint, **found):
            return found
        self._shared.tell(
            "loadbalancer_apiserver", "no address with a port: write hosts.endpoint.load_balancer and port"
        )
        return {}

    def _virtual(self) -> str | None:
        """Return the address that kube-vip gives the API."""
        shared = self._shared
        address = shared.take("kube_vip_address")
        on = shared.switched("kube_vip_enabled") and flag(shared.take("kube_vip_controlplane_enabled")) is not False
        if not on or not address:
            return None
        if fits(Endpoint, virtual_address=str(address)):
            return str(address)
        shared.tell("kube_vip_address", "no IPv4 address: write hosts.endpoint.virtual_address")
        return None
