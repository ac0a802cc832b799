#!/usr/bin/python
"""Check a whole cluster from one of its control planes."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.checks import client, probes, registry, state
from ansible.module_utils.checks.cluster import Cluster

DOCUMENTATION = r"""
module: cluster_checks
short_description: Check a whole Kubernetes cluster from one of its control planes
description:
  - Compares the cluster with the inventory, and tries its network with a Pod on every node.
  - The Pods live in a namespace C(kube-pipeline-verify-*), which is removed at the end, also after a failure.
  - A failed check is no failure of the module; it is one of its results.
  - In check mode nothing is put into the cluster, and the checks that need it are left out.
options:
  node_name:
    description: Name of the node on which the module runs, one of the control planes in O(nodes).
    type: str
    required: true
  version:
    description: Wanted version of Kubernetes, such as V(1.36.3).
    type: str
    required: true
  api_host:
    description: Host of the API's load balancer.
    type: str
    required: true
  api_port:
    description: Port of the API, on the load balancer and on each control plane.
    type: int
    required: true
  dns_domain:
    description: The cluster's domain in DNS.
    type: str
    required: true
  addons:
    description: The cluster's add-ons.
    type: list
    elements: dict
    required: true
    options:
      name: {description: Name of the add-on., type: str, required: true}
      namespaces: {description: Its own namespaces., type: list, elements: str, required: true}
      workloads: {description: "Each with kind, namespace and name.", type: list, elements: dict, required: true}
      hint: {description: Where to look when it is not well., type: str, required: true}
      check: {description: Name of the check that proves that it does its work., type: str}
      node_list: {description: Path in the API of a list that has an entry for each node., type: str}
      pod: {description: "Objects of a Pod that succeeds, and its claims.", type: list, elements: dict, default: []}
  kubelet:
    description: What the environment sets for every kubelet.
    type: dict
    required: true
  nodes:
    description: The machines of the inventory.
    type: list
    elements: dict
    required: true
    options:
      name: {description: Name of the node., type: str, required: true}
      address: {description: Its private address., type: str, required: true}
      control_plane: {description: Whether it is a control plane., type: bool, required: true}
      labels: {description: Its labels., type: dict, required: true}
      taints: {description: "Its taints, each with key, value and effect.", type: list, elements: dict, required: true}
  images:
    description: References of all images that were installed.
    type: list
    elements: str
    required: true
  versions:
    description: Versions of the installed artifacts by their names.
    type: dict
    required: true
  probe_image:
    description: Reference of the image of the Pods that try the network (agnhost).
    type: str
    required: true
  kubeconfig:
    description: Kubeconfig of an administrator, with embedded certificates.
    type: path
    default: /etc/kubernetes/admin.conf
"""

EXAMPLES = r"""
- name: Check the cluster
  cluster_checks:
    node_name: controller-0
    version: 1.36.3
    api_host: api.prod.internal
    api_port: 6443
    dns_domain: cluster.local
    addons: []
    kubelet: {maxPods: 110}
    nodes: [{name: controller-0, address: 10.20.0.10, control_plane: true, labels: {}, taints: []}]
    images: [registry.k8s.io/e2e-test-images/agnhost:2.63.0]
    versions: {containerd: 2.3.4}
    probe_image: registry.k8s.io/e2e-test-images/agnhost:2.63.0
"""

RETURN = r"""
results:
  description: One entry for each check, with C(name), C(title), C(passed), C(seconds), C(evidence) and C(hint).
  returned: always
  type: list
  elements: dict
"""

_ETCD = "/etc/kubernetes/pki/etcd"

NODE_SPEC = {
    "name": {"type": "str", "required": True},
    "address": {"type": "str", "required": True},
    "control_plane": {"type": "bool", "required": True},
    "labels": {"type": "dict", "required": True},
    "taints": {"type": "list", "elements": "dict", "required": True},
}

ADDON_SPEC = {
    "name": {"type": "str", "required": True},
    "namespaces": {"type": "list", "elements": "str", "required": True},
    "workloads": {"type": "list", "elements": "dict", "required": True},
    "hint": {"type": "str", "required": True},
    "check": {"type": "str"},
    "node_list": {"type": "str"},
    "pod": {"type": "list", "elements": "dict", "default": []},
}

SPEC = {
    "node_name": {"type": "str", "required": True},
    "version": {"type": "str", "required": True},
    "api_host": {"type": "str", "required": True},
    "api_port": {"type": "int", "required": True},
    "dns_domain": {"type": "str", "required": True},
    "addons": {"type": "list", "elements": "dict", "required": True, "options": ADDON_SPEC},
    "kubelet": {"type": "dict", "required": True},
    "nodes": {"type": "list", "elements": "dict", "required": True, "options": NODE_SPEC},
    "images": {"type": "list", "elements": "str", "required": True},
    "versions": {"type": "dict", "required": True},
    "probe_image": {"type": "str", "required": True},
    "kubeconfig": {"type": "path", "default": "/etc/kubernetes/admin.conf"},
}


def wanted(parameters: dict[str, Any]) -> state.Wanted:
    nodes = [{**node, "taints": frozenset(map(state.taint, node["taints"]))} for node in parameters["nodes"]]
    return state.Wanted(
        version=parameters["version"],
        api_host=parameters["api_host"],
        api_port=parameters["api_port"],
        dns_domain=parameters["dns_domain"],
        addons=tuple(map(addon, parameters["addons"])),
        kubelet=parameters["kubelet"],
        nodes=tuple(state.WantedNode(**node) for node in nodes),
        images=tuple(parameters["images"]),
        versions=parameters["versions"],
    )


def addon(given: dict[str, Any]) -> state.WantedAddon:
    workloads = tuple((item["kind"], item["namespace"], item["name"]) for item in given["workloads"])
    lists = {"namespaces": tuple(given["namespaces"]), "workloads": workloads, "pod": tuple(given["pod"])}
    return state.WantedAddon(**{**given, **lists})


def answering(goal: state.Wanted, here: str, context: ssl.SSLContext) -> state.WantedNode:
    """Return the control plane to ask: this machine, or where its API server is down the first whose is not.

    The load balancer is not asked, so that a broken one spoils only its own check.
    """
    planes = sorted(goal.control_planes, key=lambda node: node.name != here)
    for node in planes:
        try:
            status, _ = client.fetch(f"https://{node.address}:{goal.api_port}/readyz", context=context)
        except client.FAILURES:
            continue  # the check of the API servers tells about it
        if status == 200:
            return node
    return planes[0]


def connect(module: AnsibleModule) -> Cluster:
    if not Path(module.params["kubeconfig"]).exists():
        module.fail_json(msg=f"{module.params['kubeconfig']} does not exist: Kubernetes is not installed here yet")
    kubectl = module.get_bin_path("kubectl", required=True, opt_dirs=["/usr/local/bin"])
    view = [kubectl, "--kubeconfig", module.params["kubeconfig"], "config", "view", "--raw", "--flatten", "--minify"]
    _, kubeconfig, _ = module.run_command([*view, "--output=json"], check_rc=True)
    context = client.trust_kubeconfig(module.from_json(kubeconfig))
    goal = wanted(module.params)
    server = answering(goal, module.params["node_name"], context)
    api = client.Api(f"https://{server.address}:{goal.api_port}", context)
    return Cluster(
        wanted=goal,
        here=module.params["node_name"],
        server=server,
        api=api,
        etcd=client.trust(f"{_ETCD}/ca.crt", f"{_ETCD}/healthcheck-client.crt", f"{_ETCD}/healthcheck-client.key"),
        probes=probes.Probes(api, module.params["probe_image"]),
    )


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    cluster = connect(module)
    results = registry.run(cluster, probing=not module.check_mode)
    module.exit_json(changed=False, results=[result.document() for result in results])


if __name__ == "__main__":
    main()
