from dataclasses import replace

import pytest
from module_utils.checks import comparison, state
from module_utils.checks.runner import Verdict

WANTED = state.Wanted(
    version="1.36.3",
    api_host="api",
    api_port=6443,
    apiserver_port=6443,
    dns_domain="cluster.local",
    dns_address="10.96.0.10",
    addons=(),
    kubelet={},
    nodes=(
        state.WantedNode(
            "controller-0", "10.0.0.10", True, {"zone": "a"}, frozenset({f"{state.CONTROL_PLANE}:NoSchedule"})
        ),
        state.WantedNode("worker-0", "10.0.0.20", False, {"tier": "web"}, frozenset({"gpu=yes:NoSchedule"})),
    ),
    images=("registry.k8s.io/etcd:3.6.8-0", "registry.k8s.io/kube-proxy:v1.36.3"),
    versions={"containerd": "2.3.4"},
)
CONTROLLER = state.Node(
    "controller-0",
    True,
    "",
    {"zone": "a", state.CONTROL_PLANE: ""},
    frozenset({f"{state.CONTROL_PLANE}:NoSchedule"}),
    "v1.36.3",
    "containerd://2.3.4",
)
WORKER = state.Node(
    "worker-0", True, "", {"tier": "web"}, frozenset({"gpu=yes:NoSchedule"}), "v1.36.3", "containerd://v2.3.4"
)


def pod(component: str, node: str, **changes: object) -> state.Pod:
    labels = {"k8s-app" if component == "kube-proxy" else "component": component}
    name = f"{component}-{node}"
    owner = ("DaemonSet", component) if component == "kube-proxy" else ("Node", node)
    found = state.Pod("kube-system", name, node, "10.0.0.1", True, False, "", labels, (), stopping=False, owner=owner)
    return replace(found, **changes)  # type: ignore[arg-type] # the changes are those of one test


PODS = [
    *(pod(name, "controller-0") for name in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")),
    pod("kube-proxy", "controller-0"),
    pod("kube-proxy", "worker-0"),
]
ADDON = state.WantedAddon("one", (), (("Deployment", "kube-system", "one"),), "look there", None, None, ())
WITH_ADDON = replace(WANTED, addons=(ADDON,))
WORKLOADS = [state.Workload("Deployment", "kube-system", name, 2, 2) for name in ("one", "other")]


def test_nodes_as_wanted_pass() -> None:
    assert comparison.judge_nodes(WANTED, [CONTROLLER, WORKER]) == Verdict("2 of 2 nodes Ready")


def test_a_wrong_label_is_not_waited_for_unless_something_else_may_still_change() -> None:
    mislabelled = replace(WORKER, labels={"tier": "db"})
    assert comparison.judge_nodes(WANTED, [CONTROLLER, mislabelled]).final
    assert not comparison.judge_nodes(WANTED, [replace(CONTROLLER, ready=False), mislabelled]).final
    assert not comparison.judge_nodes(WANTED, [CONTROLLER, replace(WORKER, taints=frozenset())]).final


def test_a_cordon_is_told_and_decides_nothing() -> None:
    cordoned = replace(WORKER, taints=WORKER.taints | {state.CORDON}, cordoned=True)
    verdict = comparison.judge_nodes(WANTED, [CONTROLLER, cordoned])
    assert verdict.problems == ()
    assert verdict.seen == "2 of 2 nodes Ready; cordoned, which `kubectl uncordon` ends: worker-0"
    worse = replace(cordoned, ready=False, reason="silent", taints=cordoned.taints | {"other:NoSchedule"})
    assert comparison.judge_nodes(WANTED, [CONTROLLER, worse]).problems == (
        "worker-0: not Ready: silent",
        "worker-0: taint other:NoSchedule is not in the inventory",
    )


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        ([CONTROLLER], "worker-0: is not in the cluster"),
        ([CONTROLLER, WORKER, replace(WORKER, name="stray")], "stray: is in the cluster, but not in the inventory"),
        (
            [CONTROLLER, replace(WORKER, ready=False, reason="KubeletNotReady: no CNI")],
            "worker-0: not Ready: KubeletNotReady: no CNI",
        ),
        ([CONTROLLER, replace(WORKER, labels={"tier": "db"})], "worker-0: label tier is 'db', wanted 'web'"),
        ([replace(CONTROLLER, labels={"zone": "a"}), WORKER], f"controller-0: label {state.CONTROL_PLANE} is missing"),
        (
            [replace(CONTROLLER, taints=frozenset()), WORKER],
            f"controller-0: taint {state.CONTROL_PLANE}:NoSchedule is mi",
        ),
        (
            [CONTROLLER, replace(WORKER, taints=WORKER.taints | {"node.kubernetes.io/unschedulable:NoSchedule"})],
            "worker-0: taint node.kubernetes.io/unschedulable:NoSchedule is not in the inventory",
        ),
    ],
)
def test_each_difference_of_a_node_is_told(found: list[state.Node], problem: str) -> None:
    (told,) = comparison.judge_nodes(WANTED, found).problems
    assert told.startswith(problem)


def test_versions_as_wanted_pass() -> None:
    pods = [pod("etcd", "controller-0", images=("registry.k8s.io/etcd:3.6.8-0@sha256:00",))]
    assert not comparison.judge_versions(WANTED, {"controller-0": "v1.36.3"}, [CONTROLLER, WORKER], pods).problems


def test_each_other_version_is_told() -> None:
    old = replace(WORKER, kubelet="v1.35.4", runtime="containerd://1.7.0")
    proxy = pod("kube-proxy", "worker-0", images=("registry.k8s.io/kube-proxy:v1.35.4",))
    leaving = pod("kube-proxy", "worker-0", images=("registry.k8s.io/kube-proxy:v1.34.0",), stopping=True)
    assert comparison.judge_versions(
        WANTED, {"controller-0": "v1.36.2"}, [CONTROLLER, old], [proxy, leaving]
    ).problems == (
        "controller-0: API server is v1.36.2, wanted v1.36.3",
        "worker-0: kubelet is v1.35.4, wanted v1.36.3",
        "worker-0: container runtime is containerd://1.7.0, wanted containerd://2.3.4",
        "worker-0: Pod kube-proxy-worker-0 runs registry.k8s.io/kube-proxy:v1.35.4, wanted v1.36.3",
    )


def test_a_reference_splits_at_the_tag_and_not_at_a_port() -> None:
    assert comparison.split_reference("host:5000/a/b") == ("host:5000/a/b", "")
    assert comparison.split_reference("host:5000/a/b:1@sha256:0") == ("host:5000/a/b", "1")


def test_ready_system_pods_pass() -> None:
    finished = pod("job", "worker-0", ready=False, finished=True)
    assert not comparison.judge_system_pods(WANTED, [*PODS, finished], WORKLOADS).problems


def test_system_pods_that_are_not_ready_or_not_there_are_told() -> None:
    broken = pod("kube-proxy", "worker-0", ready=False, reason="container kube-proxy: CrashLoopBackOff")
    pods = [*PODS[1:-1], broken]
    workloads = [replace(WORKLOADS[0], ready=1)]
    assert comparison.judge_system_pods(WITH_ADDON, pods, workloads).problems == (
        "worker-0: Pod kube-system/kube-proxy-worker-0 is not ready: container kube-proxy: CrashLoopBackOff",
        "Deployment kube-system/one: 1 of 2 Pods ready and up to date",
        "controller-0: has no Pod of etcd",
    )


@pytest.mark.parametrize(
    "theirs",
    [
        pod("app", "worker-0", namespace="kube-monitoring", owner=("Deployment", "app")),
        pod("app", "worker-0", namespace="kube-system", owner=("Deployment", "one-more")),
        pod("app", "worker-0", namespace="kube-system", owner=("", "")),
        pod("app", "worker-0", namespace="kube-monitoring", owner=("Deployment", "one")),
        pod("kube-scheduler", "worker-0", namespace="kube-other", owner=("Node", "worker-0")),
    ],
)
def test_what_a_user_runs_in_a_namespace_of_the_system_is_told_and_decides_nothing(theirs: state.Pod) -> None:
    broken = replace(theirs, ready=False, reason="ImagePullBackOff", images=("registry.k8s.io/kube-proxy:v0.1",))
    workload = state.Workload("Deployment", broken.namespace, "app", 1, 0)
    verdict = comparison.judge_system_pods(WITH_ADDON, [*PODS, broken], [workload])
    assert not verdict.problems
    assert f"{broken.namespace}/{broken.name}: ImagePullBackOff" in verdict.seen
    versions = comparison.judge_versions(WITH_ADDON, {"controller-0": "v1.36.3"}, [CONTROLLER, WORKER], [broken])
    assert not versions.problems


def test_a_pod_of_an_add_on_that_is_not_ready_fails() -> None:
    broken = pod("one", "worker-0", ready=False, reason="CrashLoopBackOff", owner=("Deployment", "one"))
    (problem,) = comparison.judge_system_pods(WITH_ADDON, [*PODS, broken], WORKLOADS).problems
    assert problem.startswith("worker-0: Pod kube-system/one-worker-0 is not ready")
