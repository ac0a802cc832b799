"""The add-ons of an environment, and the versions of its components."""

from __future__ import annotations

from collections.abc import Mapping

from bootstrap import platforms
from bootstrap.addons import catalogue
from bootstrap.config import addons
from bootstrap.config.addons import Chosen
from bootstrap.config.model import Environment

# What every cluster has, whether or not an add-on lists it too: agnhost is the image of verification's probes.
_BARE = {"kubernetes", "etcd", "etcdctl", "pause", "containerd", "runc", "cni-plugins", "agnhost"}


def chosen_addons(environment: Environment) -> tuple[Chosen, ...]:
    """Return the add-ons that the cluster of an environment has, the network between Pods first."""
    return addons.chosen(environment.kubernetes.cni, environment.addons, platforms.of(environment).lacks)


def versions(environment: Environment, release: Mapping[str, str]) -> dict[str, str]:
    """Return the version of each component of an environment, from those of its release in the lock file.

    Left out are only components that belong to add-ons alone, none of which the cluster has.
    """
    wanted: dict[str, str] = {}
    for item in chosen_addons(environment):
        wanted |= item.addon.components
    theirs = {component for addon in catalogue().values() for component in addon.components} - _BARE
    found = {name: version for name, version in release.items() if name not in theirs or name in wanted}
    return found | {name: version for name, version in wanted.items() if version != "release"}
