"""The API: moto's server in this process, on this host's loopback, for one user, and closer to EC2 in some points."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from inspect import signature
from ipaddress import IPv4Address

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import ec2_backends
from moto.ec2.models.availability_zones_and_regions import RegionsAndZonesBackend, Zone
from moto.ec2.models.elastic_ip_addresses import ElasticAddress, ElasticAddressBackend
from moto.ec2.models.instances import Instance, InstanceState
from moto.ec2.models.security_groups import SecurityGroup
from moto.ec2.models.subnets import Subnet, SubnetBackend
from moto.moto_server import werkzeug_app as moto
from werkzeug.serving import make_server

from infra.lab.api_access import OnlyUser
from infra.lab.layout import Addresses


def start(addresses: Addresses) -> str:
    """Serve the API from now on, in threads of their own; return its URL."""
    tell_groups_of_interfaces()
    keep_elastic_addresses_within(addresses)
    free_addresses_of_terminated_instances()
    have_every_zone()
    api = OnlyUser(os.geteuid(), moto.DomainDispatcherApplication(moto.create_backend_app))
    server = make_server("127.0.0.1", 0, api, threaded=True, request_handler=moto.MotoRequestHandler)
    threading.Thread(target=server.serve_forever, name="api", daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def tell_groups_of_interfaces() -> None:
    """Let an instance have the security groups of its first network interface too, as on EC2.

    moto keeps two lists, and Terraform's provider sets the one and reads the other: every plan would show a change.
    """

    def read(instance: Instance) -> list[SecurityGroup]:
        interface = getattr(instance, "nics", {}).get(0)
        groups = [*vars(instance)["own_groups"], *(interface._group_set if interface else ())]
        return list({group.id: group for group in groups}.values())

    def write(instance: Instance, groups: list[SecurityGroup]) -> None:
        vars(instance)["own_groups"] = groups

    Instance.security_groups = property(read, write)  # type: ignore[assignment] # a plain list in moto


def keep_elastic_addresses_within(addresses: Addresses) -> None:
    """Give Elastic IPs out of the embedded cloud's own range, whatever address is asked for.

    moto's are random, and the pipeline logs in there: a random one may be this host's, or a stranger's.
    """
    allocate = ElasticAddressBackend.allocate_address
    one_at_a_time = threading.Lock()

    def allocate_own(
        backend: ElasticAddressBackend,
        domain: str,
        address: str | None = None,  # noqa: ARG001 - free addresses are chosen below
        tags: dict[str, str] | None = None,
    ) -> ElasticAddress:
        with one_at_a_time:
            regions = [region for account in list(ec2_backends.values()) for region in list(account.values())]
            used = {IPv4Address(elastic.public_ip) for region in regions for elastic in list(region.addresses)}
            free = addresses.elastic(used)
            if free is None:
                raise EC2ClientError("AddressLimitExceeded", f"the embedded cloud has no more than {len(used)}")
            return allocate(backend, domain, str(free), tags)

    ElasticAddressBackend.allocate_address = allocate_own  # type: ignore[assignment] # as moto calls it


def free_addresses_of_terminated_instances() -> None:
    """Let an instance that is terminated give its private addresses back to their subnet, as on EC2.

    moto keeps them for ever, and no other instance could be run at one: none is ever replaced, no pool grows again.
    """
    terminate = Instance.terminate

    def terminate_and_free(instance: Instance) -> InstanceState:
        before = terminate(instance)
        for interface in list(instance.nics.values()):
            for address in [entry["PrivateIpAddress"] for entry in interface.private_ip_addresses]:
                if (
                    interface.subnet._subnet_ips.get(address) is instance
                ):  # another instance may have the address already
                    interface.subnet.del_subnet_ip(address)
        return before

    Instance.terminate = terminate_and_free  # type: ignore[assignment] # as moto calls it


def have_every_zone() -> None:
    """Let a subnet lie in whatever zone is asked for: moto's list lacks young and local ones, and guesses most."""
    create: Callable[..., Subnet] = SubnetBackend.create_subnet

    def create_anywhere(backend: SubnetBackend, *words: object, **options: object) -> Subnet:
        wanted: str | None = signature(create).bind(backend, *words, **options).arguments.get("availability_zone")
        region: str = vars(backend)["region_name"]
        zones = RegionsAndZonesBackend.zones.setdefault(region, [])
        if wanted and all(zone.name != wanted for zone in zones):
            zones.append(Zone(wanted, region, f"{wanted}-id"))
        return create(backend, *words, **options)

    SubnetBackend.create_subnet = create_anywhere  # type: ignore[assignment] # as moto calls it
