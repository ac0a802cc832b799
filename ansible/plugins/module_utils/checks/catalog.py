"""The list of the cluster's checks. A new check is a function that looks, and an entry here; add-ons have theirs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from .. import updates
from ..system.paths import HOST
from . import addons, security, system, traffic
from .cluster import Cluster
from .runner import Check, Result, run_all

# The machine's own nft may be older than that of the images, and then crashes on what they wrote.
_RULES = (
    "`kubectl -n kube-system exec POD -- nft list ruleset` with the Pod of kube-proxy there shows that node's rules"
)


def _more_than_one_node(cluster: Cluster) -> bool:
    return len(cluster.wanted.nodes) > 1  # what a node calls on itself keeps no address


# Checks that only read. They run at the same time, while the probe Pods start.
READING: tuple[Check[Cluster], ...] = (
    Check(
        "api",
        "The API is ready on each control plane and through the load balancer",
        30,
        f"on that machine look at `journalctl -u kubelet` and {HOST.pod_logs}/kube-system_kube-apiserver-*; "
        "for the load balancer at the health of its targets",
        system.look_at_api,
    ),
    Check(
        "versions",
        "API servers, kubelets, runtimes and system images have the wanted versions",
        30,
        "set kubernetes.version back to what the nodes run (apply upgrades none); apply again where an image differs",
        system.look_at_versions,
    ),
    Check(
        "nodes",
        "Every machine is a Ready node with its labels and taints",
        60,
        "`kubectl describe node NAME` tells its conditions, `journalctl -u kubelet` on it the cause; "
        "apply sets labels and taints",
        system.look_at_nodes,
    ),
    Check(
        "restarts",
        "Unattended upgrades do not restart control planes, or all workers, at the same time",
        1,
        updates.ADVICE,
        system.look_at_restarts,
    ),
    Check(
        "system_pods",
        "All Pods that an apply installs are ready",
        90,
        "`kubectl -n NAMESPACE describe pod NAME` and `kubectl -n NAMESPACE logs NAME` tell more",
        system.look_at_system_pods,
        system.explain_system_pods,
    ),
    Check(
        "etcd",
        "Every control plane is a voting, healthy member of etcd with one leader",
        30,
        f"look at {HOST.pod_logs}/kube-system_etcd-* on that machine and at its disk; ports 2379 and 2380 must be open "
        "between control planes",
        system.look_at_etcd,
    ),
    Check(
        "kubeadm_objects",
        "What kubeadm keeps in the cluster is as apply made it",
        60,
        "`make plan` shows the difference, and apply puts it back",
        system.look_at_kubeadm_objects,
    ),
    Check(
        "service_accounts",
        "No Pod that an apply installs has a token of a deleted ServiceAccount",
        30,
        "apply again makes the ServiceAccounts and these Pods anew",
        system.look_at_service_accounts,
    ),
    Check(
        "kubelets",
        "Every kubelet answers the API server with a certificate of the cluster, and has its settings",
        60,
        "`kubectl get csr` shows requests that wait for approval; `journalctl -u kubelet` tells the kubelet's side; "
        "apply again brings its settings",
        system.look_at_kubelets,
    ),
)

# The check that puts the probe Pods into the cluster.
PROBES: Check[Cluster] = Check(
    "probes",
    "A new Pod starts on every node",
    60,
    "`kubectl describe pod` and `journalctl -u kubelet -u containerd` on that node tell why it does not start",
    traffic.look_at_probes,
    traffic.explain_probes,
)

# Checks that need the probe Pods or their namespace.
PROBING: tuple[Check[Cluster], ...] = (
    Check(
        "pod_network",
        "Pods reach each other on every pair of nodes, in both directions",
        30,
        "look at the CNI's Pods on the two nodes",
        traffic.look_at_pod_network,
    ),
    Check(
        "service",
        "Pods on every node reach a Service",
        30,
        "where Pods do not reach each other, fix that first; "
        f"else look at kube-proxy on that node: `kubectl -n kube-system logs -l k8s-app=kube-proxy`; {_RULES}",
        traffic.look_at_service,
    ),
    Check(
        "dns",
        "Pods on every node find a Service by its name, over UDP and over TCP",
        30,
        "where Pods do not reach Services, fix that first; else look at the cluster's DNS server",
        traffic.look_at_dns,
    ),
    Check(
        "node_port",
        "A Service answers on a port of every node to another machine of the cluster, where there is one",
        30,
        "where Pods do not reach each other, fix that first; "
        "else look at kube-proxy on that node, and whether a firewall lets ports 30000-32767 through between nodes",
        traffic.look_at_node_ports,
    ),
    Check(
        "node_port_local",
        "A Service of policy Local answers on its Pods' nodes only, and sees who calls",
        30,
        f"where the check “node_port” fails, too, fix that first; else look at kube-proxy on that node; {_RULES}",
        traffic.look_at_local_node_ports,
        applies=_more_than_one_node,
    ),
    Check(
        "host_port",
        "A Pod answers on the port of its node that it asks for",
        30,
        f"the plugin portmap of {HOST.network_plugins} leads there, by rules that it makes when a Pod starts; {_RULES}",
        traffic.look_at_host_ports,
    ),
    Check(
        "outward",
        "Pods on every node reach what is outside of the Pod network under their node's address",
        30,
        f"the CNI's Pod on that node sets up that replacement when it starts: delete that Pod; {_RULES}",
        traffic.look_at_outward,
        applies=_more_than_one_node,
    ),
    Check(
        "pod_security",
        "Every API server refuses a privileged Pod where nothing else was configured",
        15,
        "the admission configuration of that API server must enforce Pod Security baseline by default",
        security.look_at_pod_security,
    ),
    Check(
        "secret_encryption",
        "A Secret is unreadable in etcd, whichever API server wrote it",
        15,
        "that API server needs --encryption-provider-config whose first provider for secrets is not identity",
        security.look_at_secret,
    ),
)

REMOVAL: Check[Cluster] = Check(
    "removal",
    "The cluster takes the probe Pods out again",
    15,
    "`kubectl delete namespace -l app.kubernetes.io/name=kube-pipeline-verify` removes them; so does the next run",
    traffic.look_at_removal,
)


def run(cluster: Cluster, *, probing: bool) -> list[Result]:
    """Run all checks; without `probing`, only those that read."""
    looking = (*READING, *addons.checks(cluster.wanted, probing=probing))
    if not probing:
        return run_all(looking, cluster)
    with ThreadPoolExecutor(max_workers=1) as pool:
        reading = pool.submit(run_all, looking, cluster)
        try:
            probed = [*run_all((PROBES,), cluster), *run_all(addons.with_hints(PROBING, cluster.wanted), cluster)]
            seen = reading.result()  # add-ons have their probes beside the probe Pods
        finally:
            removed = run_all((REMOVAL,), cluster)
        return [*seen, *probed, *removed]
