"""Between the pipeline and machines that stand: a greeting, another key, a new machine, one that is stopped."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra import kubeconfig
from tests.e2e.own import Own, own

pytestmark = pytest.mark.e2e

NAMES = ("bastion", "controller-0", "general-0")
GREETING = "sed -i '1i echo welcome; printf no-end' .bashrc"


def small(document: dict[str, Any]) -> None:
    document["aws"]["zones"] = document["aws"]["zones"][:1]
    document["control_plane"]["count"] = document["pools"][0]["count"] = 1
    document["addons"] = {"metrics-server": {"enabled": False}}
    document["network"]["bastion"] = {"machine": "t3.micro"}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    with own("access", 84, tmp_path_factory.mktemp("environment"), small) as environment:
        yield environment


def pins(environment: Own) -> dict[str, str]:
    """The pinned host keys, by what they are pinned under."""
    lines = (environment.build / "known_hosts").read_text().splitlines()
    return {line.split()[0]: line.split(" ", 1)[1] for line in lines}


def test_host_keys_are_pinned_under_the_machines_ids(environment: Own) -> None:
    assert environment.pipeline("apply").returncode == 0
    bastion = environment.contract().bastion
    assert bastion
    assert set(pins(environment)) == {
        bastion.provider_id,
        environment.provider_id("controller-0"),
        environment.provider_id("general-0"),
    }


def test_a_shell_that_greets_spoils_nothing(environment: Own) -> None:
    for name in NAMES:
        environment.ssh(name, GREETING)
    assert "welcome" in environment.ssh("controller-0", "true")
    done = environment.pipeline("kubeconfig")
    assert done.returncode == 0
    assert kubeconfig.access(Path(done.stdout.strip()).read_text())[0].startswith("https://")
    plan = environment.pipeline("plan", "--json", "--detailed-exitcode")
    assert plan.returncode == 0, "the modules' answers are read, and nothing would change"
    environment.ssh("controller-0", "sudo mv /etc/kubernetes/admin.conf /etc/kubernetes/kept")
    environment.ssh("controller-0", "sudo sh -c 'head -c 900 /etc/kubernetes/kept > /etc/kubernetes/admin.conf'")
    done = environment.pipeline("kubeconfig")
    assert done.returncode == 14
    assert "/etc/kubernetes/admin.conf is damaged there" in done.stderr
    environment.ssh("controller-0", "sudo rm /etc/kubernetes/admin.conf")
    advised = "sudo kubeadm init phase kubeconfig admin --config=/etc/kubernetes/kubeadm.yaml"
    assert advised in done.stderr
    environment.ssh("controller-0", advised)
    assert environment.pipeline("kubeconfig").returncode == 0
    assert environment.pipeline("verify").returncode == 0


def test_another_key_reaches_every_machine_before_the_cloud_forgets_the_old_one(
    environment: Own, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "another", "-f", key], check=True)
    environment.edit(lambda document: document.update(ssh={"key": str(key)}))
    plan = json.loads(environment.pipeline("plan", "--json").stdout)
    assert plan["terraform"]["replace"] == ["aws_key_pair.ssh"]
    assert plan["ansible"] == {"asked": True, "changes": [], "installs": [], "not_asked": {}, "told": []}
    assert environment.pipeline("apply", "--yes").returncode == 0
    for name in NAMES:
        assert environment.ssh(name, "cat .ssh/authorized_keys").splitlines()[-1].endswith(" another")
        assert environment.ssh(name, "grep -c ssh- .ssh/authorized_keys").endswith("no-end1\n")

    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    environment.edit(lambda document: document.update(ssh={"key": str(other)}))
    key.rename(tmp_path / "away")
    plan = json.loads(environment.pipeline("plan", "--json").stdout)
    assert plan["terraform"]["replace"] == ["aws_key_pair.ssh"]
    assert set(plan["ansible"]["not_asked"]) == {"controller-0", "general-0"}
    assert "ssh.key" in plan["refused"]
    assert environment.pipeline("apply", "--yes").returncode == 16
    (tmp_path / "away").rename(key)
    environment.edit(lambda document: document.update(ssh={"key": str(key)}))
    assert environment.pipeline("verify").returncode == 0, "no machine was touched"


def test_a_stopped_machine_is_named_and_the_others_are_served(environment: Own) -> None:
    environment.stop("general-0")
    plan = environment.pipeline("plan", "--json", "--detailed-exitcode")
    assert plan.returncode == 2
    found = json.loads(plan.stdout)
    assert found["ansible"]["not_asked"] == {"general-0": "it is stopped at the cloud"}
    assert found["ansible"]["asked"]

    def relabel(document: dict[str, Any]) -> None:
        document["pools"][0]["labels"] = {"tier": "web"}
        document["pools"].append({"name": "batch", "count": 1})

    environment.edit(relabel)
    done = environment.pipeline("apply")
    assert done.returncode == 15, "a node is away"
    assert "going on without general-0" in done.stderr
    assert "batch-0" in environment.kubectl("get", "nodes", "--output=name")
    done = environment.pipeline("apply", "--yes")
    assert done.returncode == 0
    assert environment.report()["verdict"] == "passed"


def test_a_machine_that_was_made_anew_is_met_as_a_new_one(environment: Own) -> None:
    before = pins(environment)
    environment.terminate("batch-0")
    old = environment.provider_id("batch-0")
    assert environment.pipeline("apply", "--yes").returncode == 0
    after = pins(environment)
    assert old in before
    assert old not in after
    assert after[environment.provider_id("batch-0")] != before[old]


def test_an_older_checkout_s_pins_raise_no_alarm(environment: Own) -> None:
    known = environment.build / "known_hosts"
    known.write_text("".join(f"{name} ssh-ed25519 AAAA\n" for name in (*NAMES, "batch-0")))
    assert environment.pipeline("plan").returncode == 0
    assert not set(pins(environment)) & {*NAMES, "batch-0"}
    environment.destroy()
