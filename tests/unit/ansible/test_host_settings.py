from __future__ import annotations

import pytest
from module_utils.host_settings import (
    built_in,
    lasting,
    named,
    settings_in,
    settings_to_change,
    to_keep_off,
    with_name,
    without_swap,
)
from module_utils.system.paths import HOST


def test_swap_is_commented_out_once() -> None:
    fstab = "UUID=1 / ext4 defaults 0 1\nUUID=2 none swap sw 0 0\n# /swapfile none swap sw 0 0\n"
    once = without_swap(fstab)
    assert once.splitlines()[1] == "# UUID=2 none swap sw 0 0"
    assert without_swap(once) == once


@pytest.mark.parametrize(
    "hosts",
    [
        "127.0.0.1 localhost\n",
        "127.0.0.1 localhost\n127.0.1.1 node-0.example node-0\n",
        "10.0.0.9 node-0\n# node-0 was elsewhere\n",
    ],
)
def test_a_name_leads_to_one_address(hosts: str) -> None:
    assert not named(hosts, "10.0.0.5", "node-0")
    text = with_name(hosts, "10.0.0.5", "node-0")
    assert named(text, "10.0.0.5", "node-0")
    assert ("127.0.0.1 localhost" in hosts) == ("127.0.0.1 localhost" in text)
    assert ("node-0.example" in hosts) == ("node-0.example" in text)


def test_modules_that_are_built_in_are_known_by_their_names() -> None:
    listed = "kernel/fs/overlayfs/overlay.ko\nkernel/net/netfilter/nf-tables.ko\n"
    assert built_in(listed) == {"overlay", "nf_tables"}


def test_settings_that_differ_change_but_limits_only_grow() -> None:
    wanted = {
        "net.ipv4.ip_forward": 1,
        "kernel.panic": 10,
        "fs.inotify.max_user_watches": 1000,
        "vm.max_map_count": 500,
        "net.bridge.bridge-nf-call-iptables": 1,
    }
    current = {
        "net.ipv4.ip_forward": 0,
        "kernel.panic": 60,
        "fs.inotify.max_user_watches": 5000,
        "vm.max_map_count": 400,
        "net.bridge.bridge-nf-call-iptables": None,
    }
    assert settings_to_change(wanted, current) == {
        "net.ipv4.ip_forward": (0, 1),
        "kernel.panic": (60, 10),
        "vm.max_map_count": (400, 500),
    }


def test_settings_last_over_a_restart_and_limits_never_shrink() -> None:
    wanted = {"kernel.panic": 10, "vm.max_map_count": 500, "fs.inotify.max_user_watches": 1000, "net.missing": 1}
    current = {"kernel.panic": 60, "vm.max_map_count": 400, "fs.inotify.max_user_watches": 5000, "net.missing": None}
    kept = {"kernel.panic": 10, "vm.max_map_count": 500, "fs.inotify.max_user_watches": 5000}
    assert settings_in(lasting(wanted, current)) == kept


def test_the_settings_file_is_read_after_those_of_the_system_and_of_others() -> None:
    others = ["99-sysctl.conf", "99-cloudimg-ipv6.conf", "99-zz-vendor.conf", "README.sysctl", "protect-links.conf"]
    assert max(*others, HOST.kernel_settings.name) == HOST.kernel_settings.name


def test_swap_is_kept_off_whoever_would_start_it() -> None:
    listed = (
        "dev-zram0.swap                             generated -\n"
        "dev-disk-by\\x2duuid-1.swap                 masked    enabled\n"
        "extra.swap                                 enabled   enabled\n"
        "unused.swap                                disabled  enabled\n"
        "zramswap.service                           enabled   enabled\n"
        "swap.target                                static    -\n"
    )
    assert to_keep_off(listed) == {
        "dev-zram0.swap": "mask",
        "extra.swap": "disable",
        "zramswap.service": "disable",
        "swap.target": "mask",
    }
    assert to_keep_off("swap.target masked -\n") == {}
    assert to_keep_off("") == {}
