"""The names of a machine, and the command that boots it."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest

from bootstrap.errors import ConfigurationError
from infra.lab.layout import Layout
from infra.lab.machines import command
from infra.lab.wanted import Machine, Names, names


def machine(user_data: str) -> Machine:
    return Machine("i-0abc", IPv4Address("10.79.0.20"), running=True, public_key="", user_data=user_data)


def test_user_data_names_a_machine() -> None:
    text = "#cloud-config\nhostname: cp-0\nfqdn: cp-0.example\npreserve_hostname: false\n"
    assert names(machine(text)) == Names("cp-0", "cp-0.example")


def test_without_user_data_the_name_is_that_of_aws() -> None:
    assert names(machine("")) == Names("ip-10-79-0-20", "ip-10-79-0-20")


@pytest.mark.parametrize(
    ("user_data", "message"),
    [
        ("#cloud-config\nhostname: a\npackages: [b]\n", "does not know: packages"),
        ("#!/bin/sh\n", "must be #cloud-config"),
        ("#cloud-config\n- hostname\n", "must be a mapping"),
        ("#cloud-config\nhostname: [\n", "is not YAML"),
        ("#cloud-config\nhostname: ../../etc\n", "no host name"),
    ],
)
def test_user_data_that_would_be_ignored_is_an_error(user_data: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        names(machine(user_data))


def test_a_machine_has_its_own_network_and_real_folders_for_what_cannot_lie_on_an_overlay() -> None:
    words = command("i-0abc", Path("/lab/machines/i-0abc"), "kp-test-1", [Path("/dev/kmsg")])
    assert "--network-bridge=kp-test-1" in words
    assert "--directory=/lab/machines/i-0abc/root" in words
    assert [word for word in words if word.startswith("--bind=")] == [
        "--bind=/lab/machines/i-0abc/data/containerd:/var/lib/containerd",
        "--bind=/lab/machines/i-0abc/data/kubelet:/var/lib/kubelet",
        "--bind=/lab/machines/i-0abc/data/etcd:/var/lib/etcd",
        "--bind=/dev/kmsg",
    ]


@pytest.mark.parametrize("name", ["a", "local", "x" * 32, "ends-at-five"])
def test_a_bridge_has_a_name_that_the_kernel_takes_and_no_other_checkout_uses(name: str) -> None:
    here, there = Layout(Path("/here/build") / name / "lab"), Layout(Path("/there/build") / name / "lab")
    assert len(here.id) <= 15
    assert here.id != there.id
