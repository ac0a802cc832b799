"""What somebody took away from a standing cluster: plan tells it, and one apply brings it back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.own import Own, own

pytestmark = pytest.mark.e2e


def two_workers(document: dict[str, Any]) -> None:
    document["aws"]["zones"] = document["aws"]["zones"][:1]
    document["control_plane"]["count"] = 1
    document["addons"] = {"metrics-server": {"enabled": False}}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    with own("heal", "10.88", tmp_path_factory.mktemp("environment"), two_workers) as environment:
        assert environment.pipeline("apply").returncode == 0
        yield environment


def mended(environment: Own) -> None:
    """One apply ends with a verified cluster, and the next has nothing to do."""
    assert environment.pipeline("apply").returncode == 0
    assert environment.report()["verdict"] == "passed"
    assert environment.pipeline("plan", "--detailed-exitcode").returncode == 0


def told(environment: Own, *signs: str) -> None:
    done = environment.pipeline("plan", "--detailed-exitcode")
    assert done.returncode == 2
    assert "Terraform: no changes" in done.stdout
    for sign in signs:
        assert sign in done.stdout


def web_pods(environment: Own) -> list[str]:
    phases = "--output=jsonpath={.items[*].status.phase}"
    return environment.kubectl("get", "pods", "--selector=app=web", phases).split()


def test_nodes_that_were_deleted(environment: Own) -> None:
    before = environment.kubectl("get", "node", "general-0", "--output=jsonpath={.spec.podCIDR}")
    for name in ("general-0", "controller-0"):
        environment.kubectl("delete", "node", name)
    told(environment, "+ general-0: the cluster has no Node", "+ controller-0: the cluster has no Node")
    mended(environment)
    after = environment.kubectl("get", "node", "general-0", "--output=jsonpath={.spec.podCIDR}")
    assert after != before  # so the Pods there had to be made anew


def test_a_node_that_registered_again_while_its_pods_kept_their_addresses(environment: Own) -> None:
    environment.kubectl("delete", "node", "general-1", "--wait=false")
    environment.ssh("general-1", "sudo systemctl restart kubelet")
    environment.ssh("general-0", "sudo rm /etc/kubernetes/kubelet.conf /run/flannel/subnet.env")
    environment.edit(lambda document: document["kubernetes"].setdefault("kubelet", {}).update(maxPods=100))
    told(
        environment,
        "+ general-1: its Pods have addresses of",
        "current-context: system:node:general-0",
        "has lost the lease",
    )
    mended(environment)


def test_rules_that_a_firewall_flushed(environment: Own) -> None:
    """flannel and kube-proxy are unready at once, and start again by themselves, for which the next apply waits."""
    chosen = ("--field-selector=spec.nodeName=general-0", "--output=name")
    parts = {"app=flannel": "kube-flannel", "k8s-app=kube-proxy": "kube-system"}
    pods = {
        environment.kubectl(
            "get", "pods", f"--namespace={namespace}", f"--selector={label}", *chosen
        ).strip(): namespace
        for label, namespace in parts.items()
    }
    environment.ssh("general-0", "sudo nft flush ruleset")
    for pod, namespace in pods.items():
        environment.kubectl("wait", f"--namespace={namespace}", pod, "--for=condition=Ready=false", "--timeout=40s")
    mended(environment)
    for (pod, namespace), chain in zip(pods.items(), ("flannel-ipv4 postrtg", "kube-proxy services"), strict=True):
        # With the nft of the image: Debian 12's crashes where it meets rules of a newer one.
        environment.kubectl(
            "exec", f"--namespace={namespace}", pod, "--", "nft", "--terse", "list", "chain", "ip", chain
        )


def test_what_kubeadm_made(environment: Own) -> None:
    environment.kubectl("-n", "kube-system", "delete", "daemonset/kube-proxy", "role/kubeadm:kubelet-config")
    environment.kubectl("-n", "kube-public", "delete", "configmap/cluster-info")
    kubectl = "sudo kubectl --kubeconfig=/etc/kubernetes/admin.conf --namespace=kube-system"
    edited = "sed 's/mode: nftables/mode: iptables/'"
    environment.ssh(
        "controller-0", f"{kubectl} get configmap/kube-proxy --output=yaml | {edited} | {kubectl} replace --filename=-"
    )
    told(
        environment,
        "+ DaemonSet kube-system/kube-proxy",
        "+ Role kube-system/kubeadm:kubelet-config",
        "+ ConfigMap kube-public/cluster-info",
        "- mode: iptables",
    )
    mended(environment)


def test_pods_that_a_reboot_ended(environment: Own) -> None:
    (image,) = [part["reference"] for part in environment.artifacts() if part["name"] == "agnhost"]
    create = ("create", "deployment", "web", f"--image={image}", "--replicas=4", "--", "/agnhost", "netexec")
    environment.kubectl(*create)
    environment.kubectl("rollout", "status", "deployment/web", "--timeout=120s")
    environment.ssh("general-1", "sudo systemd-run --quiet --on-active=1 systemctl reboot")
    deadline = time.monotonic() + 120
    while "Succeeded" not in web_pods(environment):
        assert time.monotonic() < deadline, "the reboot ended no Pod"
        time.sleep(1)
    told(environment, "+ Pod default/web-")
    mended(environment)
    assert web_pods(environment) == ["Running"] * 4


def test_an_image_that_is_gone(environment: Own) -> None:
    (image,) = [part["reference"] for part in environment.artifacts() if part["name"] == "agnhost"]
    environment.ssh("general-0", f"sudo ctr --namespace=k8s.io images rm {image}")
    assert environment.pipeline("verify").returncode == 15
    assert "images" in [check["name"] for check in environment.report()["checks"] if not check["passed"]]
    mended(environment)


def test_a_machine_that_was_stopped(environment: Own) -> None:
    environment.stop("general-1")
    plan = environment.pipeline("plan", "--detailed-exitcode")
    assert plan.returncode == 2
    assert "general-1 was not asked: it is stopped at the cloud" in plan.stdout
    assert environment.pipeline("apply", "--yes").returncode == 0
    mended(environment)


def test_nothing_is_left(environment: Own) -> None:
    environment.destroy()
