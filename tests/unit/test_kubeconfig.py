"""The kubeconfig comes over SSH, whatever else a machine's shell prints, and is checked before it is kept."""

from __future__ import annotations

import os
import shlex
import subprocess
from base64 import b64encode
from pathlib import Path

import pytest
import yaml

from bootstrap.errors import AnsibleError
from infra import kubeconfig, ssh
from infra.contract import Contract
from infra.workspace import Workspace


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A kubeconfig as kubeadm writes it."""
    folder = tmp_path_factory.mktemp("certificate")
    key, certificate = folder / "key", folder / "certificate"
    new = ("-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=admin", "-keyout", key, "-out", certificate)
    subprocess.run(["openssl", "req", *new], check=True, capture_output=True)
    pem, secret = (b64encode(path.read_bytes()).decode() for path in (certificate, key))
    document = {
        "clusters": [
            {"name": "prod", "cluster": {"server": "https://api:6443", "certificate-authority-data": pem}},
        ],
        "contexts": [{"name": "admin@prod", "context": {"cluster": "prod", "user": "admin"}}],
        "current-context": "admin@prod",
        "users": [{"name": "admin", "user": {"client-certificate-data": pem, "client-key-data": secret}}],
    }
    return yaml.safe_dump(document, sort_keys=False)


@pytest.fixture
def planes(contract: Contract) -> Contract:
    """A contract with two control planes."""
    second = contract.nodes[0].model_copy(update={"name": "controller-1"})
    return contract.model_copy(update={"nodes": (*contract.nodes, second)})


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose file `NAME` is what `sudo cat` gives on that machine, and `shell` what its shell does first."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    scripts = {
        "ssh": f'export HOST=$3\n. {tmp_path}/shell\neval "$4"',  # -F CONFIG HOST COMMAND
        "sudo": f'cat "{tmp_path}/$HOST" 2>/dev/null || {{ echo "no such file" >&2; exit 1; }}',
        "shell": "",
    }
    for name, script in scripts.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o700)
    return tmp_path


@pytest.mark.parametrize(
    "shell",
    [
        "echo welcome",
        "echo 'last login: today' >&2",
        "printf 'no end of line'",
        "trap 'echo goodbye' EXIT",
        "cat <<END\napiVersion: v1\nclusters: []\nEND",
    ],
)
def test_what_a_shell_prints_of_its_own_is_no_part_of_the_file(
    shell: str, machine: Path, whole: str, planes: Contract
) -> None:
    (machine / "shell").write_text(shell + "\n")
    (machine / "controller-0").write_text(whole)
    path = kubeconfig.fetch(Workspace(machine), planes)
    assert path.read_text() == kubeconfig.named(whole, planes.cluster)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_sudo_that_asks_gets_the_password(machine: Path, whole: str, planes: Contract) -> None:
    asking = """[ "$1" = -S ] || { echo "sudo: a password is required" >&2; exit 1; }
read -r given; [ "$given" = "a Pass-word" ] && cat """
    (machine / "sudo").write_text(f'#!/bin/sh\n{asking} "{machine}/$HOST"\n')
    (machine / "controller-0").write_text(whole)
    with pytest.raises(AnsibleError, match="no control plane"):
        kubeconfig.fetch(Workspace(machine), planes)
    path = kubeconfig.fetch(Workspace(machine), planes, {"controller-0": "a Pass-word"})
    assert path.read_text() == kubeconfig.named(whole, planes.cluster)


def test_any_control_plane_that_has_a_whole_one_gives_it(machine: Path, whole: str, planes: Contract) -> None:
    (machine / "controller-0").write_text(whole[: len(whole) // 2])
    (machine / "controller-1").write_text(whole)
    assert kubeconfig.fetch(Workspace(machine), planes).read_text() == kubeconfig.named(whole, planes.cluster)


@pytest.mark.parametrize("content", ["", "welcome\n", "clusters: []\n", "current-context: x\n"])
def test_what_is_no_kubeconfig_is_told_with_its_place_and_what_was_here_stays(
    content: str, machine: Path, planes: Contract
) -> None:
    workspace = Workspace(machine)
    workspace.kubeconfig.write_text("the one of before")
    (machine / "controller-0").write_text(content)
    with pytest.raises(AnsibleError) as raised:
        kubeconfig.fetch(workspace, planes)
    first, second = str(raised.value.why).splitlines()
    assert first.startswith("controller-0: /etc/kubernetes/admin.conf is damaged there: ")
    assert second == "controller-1: no such file"
    assert workspace.kubeconfig.read_text() == "the one of before"


@pytest.mark.parametrize("damage", ["client-key-data", "certificate-authority-data", "server"])
def test_a_part_that_is_cut_short_is_seen(damage: str, whole: str) -> None:
    document = yaml.safe_load(whole)
    entry = document["users"][0]["user"] if damage.startswith("client") else document["clusters"][0]["cluster"]
    entry[damage] = None if damage == "server" else entry[damage][:40]
    assert kubeconfig.access(whole)[0] == "https://api:6443"
    with pytest.raises(kubeconfig.DamagedError):
        kubeconfig.access(yaml.safe_dump(document))


def test_an_answer_that_ends_too_early_is_refused(machine: Path) -> None:
    cut = f'#!/bin/sh\nsh -c {shlex.quote((machine / "ssh").read_text())} ssh "$@" | head -n 1\n'
    (machine / "ssh").write_text(cut)
    with pytest.raises(AnsibleError) as raised:
        ssh.output(machine / "config", "controller-0", "printf 'one\\ntwo\\n'")
    assert raised.value.where == "controller-0"
    assert "not whole" in str(raised.value.why)


def test_the_kubeconfigs_of_two_environments_are_merged(whole: str) -> None:
    admins = {name: whole.replace("https://api", f"https://{name}") for name in ("prod", "test")}
    files = {name: yaml.safe_load(kubeconfig.named(admin, name)) for name, admin in admins.items()}
    merged = {
        kind: [item for file in files.values() for item in file[f"{kind}s"]] for kind in ("cluster", "user", "context")
    }
    named = {kind: {item["name"]: item[kind] for item in items} for kind, items in merged.items()}
    assert all(len(items) == 2 for items in named.values()), "a name is there twice, and the first has it"
    for name, file in files.items():
        context = named["context"][file["current-context"]]
        assert file["current-context"] == name  # `kubectl config use-context prod`
        assert named["cluster"][context["cluster"]]["server"] == f"https://{name}:6443"
        assert named["user"][context["user"]] == yaml.safe_load(whole)["users"][0]["user"]


def test_a_kubeconfig_of_several_clusters_is_not_taken(whole: str) -> None:
    document = yaml.safe_load(whole)
    document["clusters"] *= 2
    with pytest.raises(kubeconfig.DamagedError):
        kubeconfig.named(yaml.safe_dump(document), "prod")
