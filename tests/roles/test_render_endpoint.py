"""What holds the API's virtual address, rendered by Ansible itself for clusters of several sizes."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.roles.rendering import control_plane, inventory_of, play

_ADDRESS = "10.20.0.200"
_SIZES = (1, 3, 5)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[Path]]:
    """The folders of all control planes by the size of the cluster."""
    folders = {}
    for size in _SIZES:
        folder = tmp_path_factory.mktemp(f"endpoint-{size}")
        hosts = inventory_of(*map(control_plane, range(size)))
        play("render_endpoint.yml", hosts, folder, cluster_virtual_address=_ADDRESS, cluster_api_port=8443)
        folders[size] = [folder / f"control-plane-{number}" for number in range(size)]
    return folders


def _keepalived(folder: Path) -> dict[str, str]:
    """Return the words after each key of keepalived's configuration; of a block, its lines."""
    text = re.sub(r"#.*", "", (folder / "keepalived.conf").read_text())
    blocks = re.findall(r"(\w+)(?: \w+)? \{([^{}]*)\}", text)
    pairs = re.findall(r"^ *(\w+) ([^{\n]+)$", text, re.MULTILINE)
    return {**dict(pairs), **{name: " ".join(lines.split()) for name, lines in blocks}}


@pytest.mark.parametrize("size", _SIZES)
def test_each_control_plane_tells_all_others_and_not_itself(size: int, rendered: dict[int, list[Path]]) -> None:
    addresses = {f"10.20.0.{10 + number}" for number in range(size)}
    for number, folder in enumerate(rendered[size]):
        found = _keepalived(folder)
        own = f"10.20.0.{10 + number}"
        # keepalived takes a list without a peer for a mistake
        assert found.get("unicast_src_ip") == (own if size > 1 else None)
        assert ("unicast_peer" in found) == (size > 1)
        assert set(found.get("unicast_peer", "").split()) == addresses - {own}
        assert found["virtual_ipaddress"] == f"{_ADDRESS}/32"
        assert found["interface"] == "ens3"


@pytest.mark.parametrize("size", _SIZES)
def test_priorities_differ_and_all_else_is_the_same(size: int, rendered: dict[int, list[Path]]) -> None:
    found = [_keepalived(folder) for folder in rendered[size]]
    priorities = [int(item["priority"]) for item in found]
    assert len({*priorities}) == size
    assert all(0 < priority < 255 for priority in priorities)
    for key in ("virtual_router_id", "state", "advert_int", "vrrp_version", "track_script"):
        assert len({item[key] for item in found}) == 1
    assert 1 <= int(found[0]["virtual_router_id"]) <= 255
    assert found[0]["state"] == "BACKUP"  # with nopreempt, a host that comes back does not take the address
    assert all("\n  nopreempt\n" in (folder / "keepalived.conf").read_text() for folder in rendered[size])


def test_the_router_id_follows_from_the_address(rendered: dict[int, list[Path]], tmp_path: Path) -> None:
    hosts = inventory_of(control_plane(0))
    play("render_endpoint.yml", hosts, tmp_path, cluster_virtual_address="10.20.0.201", cluster_api_port=8443)
    other = _keepalived(tmp_path / "control-plane-0")["virtual_router_id"]
    assert {_keepalived(folders[0])["virtual_router_id"] for folders in rendered.values()}.isdisjoint({other})


def test_scripts_are_not_run_by_root_and_are_the_ones_that_are_installed(rendered: dict[int, list[Path]]) -> None:
    text = (rendered[3][0] / "keepalived.conf").read_text()
    assert "\n  script_user nobody\n" in text
    assert "\n  enable_script_security\n" in text
    scripts = re.findall(r'script "(.*)"', text)
    assert scripts == [f"/usr/libexec/keepalived/api-server-ready 8444 {which}" for which in ("any", "own 6443")]
    assert text.count("  init_fail\n") == len(scripts)  # until the first answer, nobody takes the address


@pytest.mark.parametrize("size", _SIZES)
def test_haproxy_has_all_api_servers_and_asks_each_whether_it_is_ready(
    size: int, rendered: dict[int, list[Path]]
) -> None:
    for number, folder in enumerate(rendered[size]):
        text = (folder / "haproxy.cfg").read_text()
        servers = re.findall(r"^  server (\S+) (\S+)$", text, re.MULTILINE)
        assert servers == [(f"control-plane-{i}", f"10.20.0.{10 + i}:6443") for i in range(size)]
        assert "\n  bind :8443\n" in text
        assert "\n  bind 127.0.0.1:8444\n" in text
        assert "\n  option httpchk GET /readyz\n" in text
        assert "\n  default-server on-marked-down shutdown-sessions\n" in text
        assert f"srv_is_up(api_servers/control-plane-{number})" in text


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed")
@pytest.mark.parametrize("size", _SIZES)
def test_haproxy_takes_its_configuration_without_a_warning(size: int, rendered: dict[int, list[Path]]) -> None:
    for folder in rendered[size]:
        argv = ["haproxy", "-c", "-q", "-f", str(folder / "haproxy.cfg")]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=20)
        assert (done.returncode, done.stderr) == (0, "")
