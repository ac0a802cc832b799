"""What containerd and the kubelet have of the machines' proxy, and of the folders that may be a disk's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.roles.rendering import control_plane, inventory_of, play

PROXY = {"HTTPS_PROXY": "http://kube:geheim@proxy:3128", "NO_PROXY": "localhost,.svc"}
UNITS = ("containerd", "kubelet")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """The folder of the second control plane, with a proxy and without one."""
    hosts = inventory_of(*map(control_plane, range(2)))
    folders = {}
    for proxied in (True, False):
        folder = tmp_path_factory.mktemp("proxy")
        play("render_proxy.yml", hosts, folder, **({"cluster_proxy": PROXY} if proxied else {}))
        folders[proxied] = folder / "control-plane-1"
    return folders


def test_each_node_reaches_itself_without_the_proxy(rendered: dict[bool, Path]) -> None:
    assert (rendered[True] / "environment").read_text().splitlines()[1:] == [
        'HTTPS_PROXY="http://kube:geheim@proxy:3128"',
        'NO_PROXY="localhost,.svc,control-plane-1"',
    ]


@pytest.mark.parametrize("name", UNITS)
def test_services_read_it_and_no_unit_has_a_password(name: str, rendered: dict[bool, Path]) -> None:
    units = {proxied: (folder / f"{name}.service").read_text() for proxied, folder in rendered.items()}
    line = "EnvironmentFile=/etc/kubernetes/proxy/environment"
    assert line in units[True].partition("[Service]")[2].splitlines()
    assert "geheim" not in units[True]
    assert units[False].splitlines() == [found for found in units[True].splitlines() if found != line]


@pytest.mark.parametrize(
    ("name", "folders"), [("containerd", {"containerd"}), ("kubelet", {"containerd", "etcd", "kubelet"})]
)
def test_services_start_when_their_folders_are_mounted(
    name: str, folders: set[str], rendered: dict[bool, Path]
) -> None:
    unit = (rendered[False] / f"{name}.service").read_text().partition("[Service]")[0]
    (line,) = [line for line in unit.splitlines() if line.startswith("RequiresMountsFor=")]
    assert set(line.partition("=")[2].split()) == {f"/var/lib/{folder}" for folder in folders}
