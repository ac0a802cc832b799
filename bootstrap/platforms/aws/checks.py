"""AWS's checks of an environment file, beyond the types of its values."""

from __future__ import annotations

import difflib
import importlib.util
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from bootstrap.config.problems import Finding, KeyPath
from bootstrap.platforms import Check

if TYPE_CHECKING:
    from bootstrap.config.model import ControlPlane, Network, Pool
    from bootstrap.platforms.aws import Aws

_TYPE = re.compile(r"[a-z0-9][-a-z0-9]*\.[a-z0-9][-a-z0-9]*")


def name_usable(name: str) -> Iterator[Finding]:
    """The load balancer has the environment's name, and AWS keeps some names for itself."""
    if name.startswith("internal-"):
        what = f"{name} begins with internal-, and AWS refuses a load balancer of this name"
        yield ("name",), what, f"choose another, such as {name.removeprefix('internal-')}-internal"


def region_known(block: Aws) -> Iterator[Finding]:
    """AWS decides which regions there are, and its library has a list of them."""
    if not _known(block):
        known = regions()
        near = difflib.get_close_matches(block.region, known, n=1)
        meant = f"did you mean {near[0]}?" if near else f"write one of {', '.join(known)}."
        todo = f"{meant} Where AWS has it all the same, write skip_region_validation: true beside it"
        yield ("aws", "region"), f"{block.region} is not a region of AWS that is known here", todo


def _known(block: Aws) -> bool:
    return block.skip_region_validation or block.region in regions()


@cache
def regions() -> tuple[str, ...]:
    """Return the regions of all partitions, sorted: from the data of botocore, which takes a second to import."""
    library = importlib.util.find_spec("botocore")
    folder = Path((library and library.origin) or "").parent
    partitions = json.loads((folder / "data/partitions.json").read_text(encoding="utf-8"))["partitions"]
    names = {name for partition in partitions for name in partition["regions"]}
    return tuple(sorted(name for name in names if not name.endswith("-global")))


def zones_of_region(block: Aws) -> Iterator[Finding]:
    """A zone belongs to the region and is named once."""
    pattern = re.compile(rf"{re.escape(block.region)}([a-z]|-[-a-z0-9]*[a-z0-9])")  # a local zone's name goes on
    for index, zone in enumerate(block.zones if _known(block) else ()):
        path = ("aws", "zones", index)
        if not pattern.fullmatch(zone):
            yield path, f"{zone} is not a zone of {block.region}", f"write one such as {block.region}a"
        if zone in block.zones[:index]:
            yield path, f"the list names {zone} twice", "name each zone once"


def real_image(block: Aws) -> Iterator[Finding]:
    """AWS knows images by their ids."""
    if not re.fullmatch(r"ami-[0-9a-f]{8,17}", block.machine_image):
        what = f"{block.machine_image} is not the id of an AMI"
        todo = "write one such as ami-0123456789abcdef0, of Debian 12 or newer in the region"
        yield ("aws", "machine_image"), what, todo


def control_plane_type(control_plane: ControlPlane) -> Iterator[Finding]:
    """The control planes' type has the form of an EC2 type."""
    yield from _type(("control_plane", "machine"), control_plane.machine)


def bastion_type(network: Network) -> Iterator[Finding]:
    """The bastion's type has the form of an EC2 type."""
    if network.bastion:
        yield from _type(("network", "bastion", "machine"), network.bastion.machine)


def pool_types(pools: tuple[Pool, ...]) -> Iterator[Finding]:
    """The type of every pool has the form of an EC2 type."""
    for index, pool in enumerate(pools):
        yield from _type(("pools", index, "machine"), pool.machine)


def _type(path: KeyPath, written: str) -> Iterator[Finding]:
    if written and not _TYPE.fullmatch(written):  # an empty one becomes the platform's default
        yield path, f"{written!r} is not a type of EC2 instances", "write one such as t3.large"


CHECKS: tuple[Check, ...] = (
    (name_usable, ("name",)),
    (region_known, ("block",)),
    (zones_of_region, ("block",)),
    (real_image, ("block",)),
    (control_plane_type, ("control_plane",)),
    (bastion_type, ("network",)),
    (pool_types, ("pools",)),
)
