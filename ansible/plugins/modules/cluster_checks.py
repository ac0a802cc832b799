#!/usr/bin/python
"""Check a whole cluster from one of its control planes."""

from __future__ import annotations

import json
import ssl
from typing import Any

from ansible.module_utils.api import Api, trust, trust_kubeconfig, unready
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.checks import catalog, probes, state
from ansible.module_utils.checks.cluster import Cluster
from ansible.module_utils.system.commands import CommandError, run
from ansible.module_utils.system.paths import HOST

DOCUMENTATION = r"""
module: cluster_checks
short_description: Check a whole Kubernetes cluster from one of its control planes
description:
  - Compares the cluster with the inventory, and tries its network with a Pod on every node.
  - The Pods live in namespaces C(kube-pipeline-verify-*), which are removed at the end, also after a failure.
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
    description: Port of the API there.
    type: int
    required: true
  apiserver_port:
    description: Port of the API server on each control plane.
    type: int
    required: true
  dns_domain:
    description: The cluster's domain in DNS.
    type: str
    required: true
  dns_address:
    description: Address of the cluster's DNS server.
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
    description: By name, each node's C(addresses), C(labels) and C(taints).
    type: dict
    required: true
  control_planes:
    description: Names of the nodes that are control planes.
    type: list
    elements: str
    required: true
  restarts:
    description: By node, when unattended upgrades restart it, as M(machine_checks) told.
    type: dict
    default: {}
  artifacts:
    description: What was installed, the items of C(cluster_artifacts). C(agnhost) is the image of the Pods that try
      the network.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Check the cluster
  cluster_checks:
    node_name: controller-0
    version: 1.36.3
    api_host: api.prod.internal
    api_port: 6443
    apiserver_port: 6443
    dns_domain: cluster.local
    dns_address: 10.96.0.10
    addons: []
    kubelet: {maxPods: 110}
    nodes: {controller-0: {addresses: [10.20.0.10], labels: {}, taints: []}}
    control_planes: [controller-0]
    artifacts:
      - {name: agnhost, version: 2.63.0, kind: image, reference: "registry.k8s.io/e2e-test-images/agnhost:2.63.0"}
"""

RETURN = r"""
results:
  description: One entry for each check, with C(name), C(title), C(passed), C(seconds), C(evidence) and C(hint).
  returned: always
  type: list
  elements: dict
"""

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
    "apiserver_port": {"type": "int", "required": True},
    "dns_domain": {"type": "str", "required": True},
    "dns_address": {"type": "str", "required": True},
    "addons": {"type": "list", "elements": "dict", "required": True, "options": ADDON_SPEC},
    "kubelet": {"type": "dict", "required": True},
    "nodes": {"type": "dict", "required": True},
    "control_planes": {"type": "list", "elements": "str", "required": True},
    "restarts": {"type": "dict", "default": {}},
    "artifacts": {"type": "list", "elements": "dict", "required": True},
}


def wanted(parameters: dict[str, Any]) -> state.Wanted:
    planes, artifacts = parameters["control_planes"], parameters["artifacts"]
    return state.Wanted(
        version=parameters["version"],
        api_host=parameters["api_host"],
        api_port=parameters["api_port"],
        apiserver_port=parameters["apiserver_port"],
        dns_domain=parameters["dns_domain"],
        dns_address=parameters["dns_address"],
        addons=tuple(map(addon, parameters["addons"])),
        kubelet=parameters["kubelet"],
        nodes=tuple(
            state.WantedNode(
                name=name,
                address=node["addresses"][0],
                control_plane=name in planes,
                labels=node["labels"],
                taints=frozenset(map(state.taint, node["taints"])),
            )
            for name, node in parameters["nodes"].items()
        ),
        images=tuple(item["reference"] for item in artifacts if item["kind"] == "image"),
        versions={item["name"]: item["version"] for item in artifacts},
        restarts=parameters["restarts"],
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
    ready = (
        node for node in planes if not unready(f"https://{node.address}:{goal.apiserver_port}/readyz", context=context)
    )
    return next(ready, planes[0])


def connect(module: AnsibleModule) -> Cluster:
    if not HOST.admin.exists():
        module.fail_json(msg=f"{HOST.admin} does not exist: Kubernetes is not installed on this host yet")
    try:
        view = run(["kubectl", "config", "view", "--raw", "--flatten", "--minify", "--output=json"])
    except CommandError as error:
        module.fail_json(msg=str(error))
    context = trust_kubeconfig(json.loads(view))
    goal = wanted(module.params)
    server = answering(goal, module.params["node_name"], context)
    api, pki = Api(f"https://{server.address}:{goal.apiserver_port}", context), HOST.etcd_pki
    return Cluster(
        wanted=goal,
        here=module.params["node_name"],
        server=server,
        api=api,
        etcd=trust(pki / "ca.crt", pki / "healthcheck-client.crt", pki / "healthcheck-client.key"),
        probes=probes.Probes(api, _probe_image(module.params["artifacts"])),
    )


def _probe_image(artifacts: list[dict[str, Any]]) -> str:
    return next(str(item["reference"]) for item in artifacts if item["name"] == "agnhost")


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    cluster = connect(module)
    results = catalog.run(cluster, probing=not module.check_mode)
    module.exit_json(changed=False, results=[result.document() for result in results])


if __name__ == "__main__":
    main()
