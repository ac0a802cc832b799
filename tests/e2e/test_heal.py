"""What somebody took away from a standing cluster: plan tells it, and one apply brings it back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.own import Own, own

pytestmark = pytest.mark.e2e


# The image collector wants more than there is, as on a full disk, and each setting wins over that of the host.
KUBELET: dict[str, Any] = {"imageGCHighThresholdPercent": 2, "imageGCLowThresholdPercent": 1}
KUBELET |= {"maxOpenFiles": 15000, "oomScoreAdj": 100, "resolvConf": "/etc/resolv.conf"}
ZONES = {"internal.example.com": ["api A 10.96.0.1"]}
# It needs 20 s to stop, and ends well only if it gets them.
SLOW = """\
apiVersion: v1
kind: Pod
metadata: {name: slow}
spec:
  nodeName: general-1
  restartPolicy: Never
  terminationGracePeriodSeconds: 30
  containers: [{name: slow, image: IMAGE, command: [/agnhost, netexec, --delay-shutdown=20]}]
"""


def two_workers(document: dict[str, Any]) -> None:
    document["aws"]["zones"] = document["aws"]["zones"][:1]
    document["control_plane"]["count"] = 1
    document["addons"] = {"metrics-server": {"enabled": False}, "coredns": {"values": {"zones": ZONES}}}
    document["kubernetes"] = {"kubelet": dict(KUBELET)}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    with own("heal", 88, tmp_path_factory.mktemp("environment"), two_workers) as environment:
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


def agnhost(environment: Own) -> str:
    (image,) = [part["reference"] for part in environment.artifacts() if part["name"] == "agnhost"]
    return str(image)


def web_pods(environment: Own) -> list[str]:
    phases = "--output=jsonpath={.items[*].status.phase}"
    return environment.kubectl("get", "pods", "--selector=app=web", phases).split()


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"featureGates": {"NoSuchGate": True}}, "unrecognized feature gate: NoSuchGate"),
        ({"userNamespaces": {"idsPerPod": 65537}}, "userNamespaces.idsPerPod must be a multiple of 65536"),
    ],
)
def test_settings_that_only_a_kubelet_can_refuse(environment: Own, written: dict[str, Any], said: str) -> None:
    right = environment.file.read_text()
    environment.edit(lambda document: document["kubernetes"]["kubelet"].update(written))
    for command in ("plan", "apply"):
        done = environment.pipeline(command)
        assert done.returncode == 14
        assert "the kubelet does not start with kubernetes.kubelet of the environment file" in done.stderr
        assert said in done.stderr
    environment.file.write_text(right)
    assert environment.pipeline("plan", "--detailed-exitcode").returncode == 0, "nothing was changed"


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
    environment.edit(lambda document: document["kubernetes"]["kubelet"].update(maxPods=100))
    told(
        environment,
        "+ general-1: its Pods have addresses of",
        "+ /etc/kubernetes/kubelet.conf",
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


def test_files_that_kubeadm_gave_a_node(environment: Own) -> None:
    """What a kubelet made for a Pod in the place of a lost file goes, and a CA of its own is kept."""
    ours = "admin.conf kubeadm.yaml manifests/kube-scheduler.yaml pki/front-proxy-client.crt pki/etcd/server.key"
    made = "pki/ca.crt /etc/kubernetes/pki/ca.key /etc/kubernetes/pki/sa.key"
    before = environment.ssh("controller-0", f"sudo sha256sum /etc/kubernetes/{made}")
    lost = "scheduler.conf controller-manager.conf"
    environment.ssh("controller-0", f"cd /etc/kubernetes && sudo rm {lost} && sudo touch scheduler.conf")
    environment.ssh("controller-0", f"sudo sh -c 'cd /etc/kubernetes && rm {ours}'")
    kubelets = "config.yaml kubeadm-flags.env instance-config.yaml pki/kubelet-client-current.pem"
    environment.ssh("general-0", f"sudo sh -c 'cd /var/lib/kubelet && rm {kubelets} /etc/kubernetes/pki/ca.crt'")
    environment.ssh("general-0", "sudo systemctl restart kubelet")
    told(
        environment,
        *(f"+ /etc/kubernetes/{name} is gone" for name in ours.split()),
        *(f"+ /var/lib/kubelet/{name} is gone" for name in kubelets.split()),
        "+ /etc/kubernetes/scheduler.conf is empty",
        "+ /etc/kubernetes/pki/ca.crt is gone",
        "becomes a link to kubelet-client-",
    )
    mended(environment)
    assert environment.ssh("controller-0", f"sudo sha256sum /etc/kubernetes/{made}") == before
    running = environment.ssh("general-0", "pgrep --list-full kubelet")
    assert "--node-ip=" in running
    assert "--node-labels=" in running


def test_pods_that_a_reboot_ended(environment: Own) -> None:
    image = agnhost(environment)
    create = ("create", "deployment", "web", f"--image={image}", "--replicas=4", "--", "/agnhost", "netexec")
    environment.kubectl(*create)
    environment.kubectl("rollout", "status", "deployment/web", "--timeout=120s")
    environment.kubectl("exec", "deployment/web", "--", "/agnhost", "connect", "api.internal.example.com:443")
    environment.create(SLOW.replace("IMAGE", image))
    environment.kubectl("wait", "pod/slow", "--for=condition=Ready", "--timeout=60s")
    environment.ssh("general-1", "sudo systemd-run --quiet --on-active=1 systemctl reboot")
    deadline = time.monotonic() + 120
    while "Succeeded" not in web_pods(environment):
        assert time.monotonic() < deadline, "the reboot ended no Pod"
        time.sleep(1)
    environment.kubectl("wait", "pod/slow", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=90s")
    environment.kubectl("delete", "pod/slow")
    told(environment, "+ Pod default/web-")
    mended(environment)
    assert web_pods(environment) == ["Running"] * 4


def test_what_pods_had_when_they_started(environment: Own) -> None:
    """Their ServiceAccount, in whose stead an apply makes another, and the bridge of their node.

    One of the nodes is cordoned, which is its operator's and stays.
    """
    environment.kubectl("-n", "kube-system", "delete", "serviceaccount/kube-proxy")
    environment.kubectl("-n", "kube-flannel", "delete", "serviceaccount/flannel")
    environment.ssh("general-0", "sudo ip link delete cni0")
    environment.kubectl("cordon", "general-1")
    told(
        environment,
        "+ ServiceAccount kube-system/kube-proxy",
        "+ ServiceAccount kube-flannel/flannel",
        "+ Pod kube-system/kube-proxy-",
        "+ Pod kube-flannel/kube-flannel-ds-",
        "+ general-0: its Pods have lost the bridge cni0",
        "general-1 is cordoned",
    )
    mended(environment)
    (nodes,) = [check for check in environment.report()["checks"] if check["name"] == "nodes"]
    assert "cordoned, which `kubectl uncordon` ends: general-1" in nodes["evidence"]
    environment.kubectl("uncordon", "general-1")


def test_images_on_a_full_disk(environment: Own) -> None:
    """The collector may take none that the pipeline brought; what a person took is told, and brought again."""
    found = environment.kubectl("get", "events", "--field-selector=reason=FreeDiskSpaceFailed", "--output=name")
    assert found, "the collector has looked for images"
    assert environment.pipeline("verify").returncode == 0
    environment.ssh("general-0", f"sudo ctr --namespace=k8s.io images rm {agnhost(environment)}")
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


def test_an_apply_after_all_of_it_changes_nothing(environment: Own) -> None:
    done = environment.pipeline("apply")
    assert done.returncode == 0
    assert "changed=0" in done.stderr


def test_nothing_is_left(environment: Own) -> None:
    environment.destroy()
