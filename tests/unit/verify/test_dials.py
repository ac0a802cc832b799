from __future__ import annotations

import json
import socket
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest
from module_utils.checks import network, traffic
from module_utils.checks import probes as probe_pods
from module_utils.checks.cluster import Cluster

from tests.unit.verify.test_judge_nodes import WANTED

ADDRESSES = {"node-0": "10.0.0.10", "node-1": "10.0.0.11"}
SERVER = WANTED.nodes[0]


def probes(count: int) -> list[network.Probe]:
    return [network.Probe(f"node-{i}", f"pod-{i}", f"10.244.{i}.2") for i in range(count)]


@pytest.mark.parametrize("count", [1, 2, 5, 32])
def test_up_to_32_nodes_every_pod_dials_every_other_one(count: int) -> None:
    dials = network.pairs(probes(count), 8080)
    called = {(dial.source.node, dial.host) for dial in dials if dial.source}
    assert len(called) == len(dials) == count * (count - 1)


def test_of_many_nodes_each_dials_and_is_dialled_by_a_few() -> None:
    dials = network.pairs(probes(300), 8080)
    assert set(Counter(dial.host for dial in dials).values()) == {9}
    assert all(dial.source and dial.source.ip != dial.host for dial in dials)


def test_a_machines_own_port_is_dialled_by_a_pod_elsewhere() -> None:
    own, other = network.node_ports(probes(2), ADDRESSES, "node-0", 30000)
    assert own.source == probes(2)[1]
    assert own.answers == {"pod-0"}
    assert other.source is None
    assert other.answers == {"pod-1"}


def test_a_machine_alone_dials_itself() -> None:
    (alone,) = network.node_ports(probes(1), {"node-0": "10.0.0.10"}, "node-0", 30000)
    assert alone.source is None
    assert alone.answers == {"pod-0"}


def test_a_service_is_called_until_a_pod_of_another_machine_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([b"pod-0", b"pod-0", b"pod-1", b"pod-2"])
    monkeypatch.setattr(traffic, "fetch", lambda *_, **__: (200, next(answers)))
    (dial,) = network.node_ports(probes(2), {"node-1": "10.0.0.11"}, "node-0", 30000)
    assert traffic._dial(dial) == ("pod-1", "")
    assert next(answers) == b"pod-2"


@pytest.mark.parametrize(
    ("status", "body", "read"),
    [
        (200, b'{"responses":["pod-1"]}', ("pod-1", "")),
        (200, b'{"responses":["","pod-1"],"errors":["dial tcp: i/o timeout"]}', ("", "dial tcp: i/o timeout")),
        (200, b"{}", ("", "an empty answer")),
        (400, b"lookup x: no such host\n", ("", "lookup x: no such host")),
    ],
)
def test_the_answer_of_a_probe_pod_is_read(status: int, body: bytes, read: tuple[str, str]) -> None:
    assert network.read_dial(status, body) == read


def test_calls_pass_only_when_the_right_pod_answered_each() -> None:
    first, second = network.pairs(probes(2), 8080)
    good = network.Outcome(first, "pod-1", "")
    assert not network.judge_dials([good, network.Outcome(second, "pod-0", "")], "node-0", []).problems
    wrong = network.judge_dials([good, network.Outcome(second, "pod-9", "")], "node-0", [])
    assert wrong.problems == ("Pod on node-1 → Pod on node-0 (10.244.0.2): 'pod-9' answered",)
    failed = network.judge_dials([good, network.Outcome(second, "", "i/o timeout")], "node-0", [])
    assert failed.problems == ("Pod on node-1 → Pod on node-0 (10.244.0.2): i/o timeout",)
    assert not failed.final


def test_calls_that_could_not_be_tried_are_failures_without_another_look() -> None:
    verdict = network.judge_dials([], "node-0", ["node-1"])
    assert verdict.problems == ("node-1: not tried, it has no ready probe Pod",)
    assert verdict.final


def test_a_node_without_a_ready_probe_says_why() -> None:
    verdict = network.judge_probes(["node-0", "node-1", "node-2"], probes(1), [("node-1", "ImagePullBackOff")])
    assert verdict.problems == ("node-1: ImagePullBackOff", "node-2: no Pod was created for it")


def test_a_pods_port_of_the_node_is_answered_by_that_pod_only() -> None:
    own, other = network.host_ports(probes(2), ADDRESSES, "node-0", 31000)
    assert (own.source, *own.answers) == (probes(2)[1], "pod-0")
    assert (other.source, *other.answers) == (None, "pod-1")


def test_who_calls_a_port_of_policy_local_is_the_machine_or_the_node_of_the_pod() -> None:
    own, other = network.local_ports(probes(2), ADDRESSES, "node-0", 31000)
    assert (own.source, *own.answers) == (probes(2)[1], "10.0.0.11")
    assert (other.source, *other.answers) == (None, "10.0.0.10")
    assert network.local_ports(probes(1), {"node-0": "10.0.0.10"}, "node-0", 31000) == []


def test_the_pod_of_every_node_calls_another_node_under_its_own_nodes_address() -> None:
    addresses = {f"node-{i}": f"10.0.0.{i}" for i in range(3)}
    dials = network.outward(probes(3), addresses, 31000)
    called = [(dial.source.node if dial.source else "", dial.host, *dial.answers) for dial in dials]
    assert called == [
        ("node-0", "10.0.0.1", "10.0.0.0"),
        ("node-1", "10.0.0.2", "10.0.0.1"),
        ("node-2", "10.0.0.0", "10.0.0.2"),
    ]
    assert network.outward(probes(1), addresses, 31000) == []


def test_a_question_for_an_address_is_a_message_of_dns() -> None:
    question = network.dns_question("ab.c.")
    assert question[2:] == b"\1\0" + b"\0\1" + bytes(6) + b"\2ab\1c\0" + b"\0\1\0\1"


@pytest.mark.parametrize(
    ("flags", "count", "answer"),
    [(b"\x85\x00", 1, "an address"), (b"\x81\x83", 0, "no address"), (b"\x85\x80", 2, "an address")],
)
def test_an_answer_of_dns_is_read_through_the_text_that_a_probe_pod_makes_of_it(
    flags: bytes, count: int, answer: str
) -> None:
    (dial,) = network.dns_questions(probes(1), "a.", "10.96.0.10")
    message = network.dns_question("a.")
    sent = message[:2] + flags + message[4:6] + bytes([0, count]) + message[8:] + b"\xc0\x0c"
    assert network.answer_to(dial, sent.decode("utf-8", "replace")) == answer
    assert network.answer_to(dial, "xx" + sent[2:].decode("utf-8", "replace")) == "no address"


@dataclass
class Nodes:
    """A pretend cluster of two nodes, in which one thing at a time is broken."""

    broken: str = ""

    def fetch(self, url: str, **_: float) -> tuple[int, bytes]:
        parts, query = urlsplit(url), {key: values[0] for key, values in parse_qs(urlsplit(url).query).items()}
        if parts.path != "/dial":  # by this machine, node-0
            return 200, self._answer(str(parts.hostname), parts.path[1:], "10.0.0.10", str(parts.port))
        caller = str(parts.hostname).split(".")[2]  # the Pods' ranges go by the nodes' numbers
        if query["protocol"] == "udp":
            if self.broken == "udp":
                return 200, b'{"errors": ["reading from udp connection failed"]}'
            return 200, json.dumps({"responses": ["kp\ufffd\0\0\1\0\1"]}).encode()
        if self.broken == "tcp" and not query["host"][0].isdigit():
            return 400, b"lookup: i/o timeout"
        seen = parts.hostname if self.broken == "masquerading" and caller == "1" else f"10.0.0.1{caller}"
        return 200, json.dumps(
            {"responses": [self._answer(query["host"], query["request"], str(seen), query["port"]).decode()]}
        ).encode()

    def _answer(self, host: str, request: str, caller: str, port: str) -> bytes:
        node = host[-1] if host[0].isdigit() else "1"
        if request == "clientip":
            gateway = f"10.244.{node}.1" if self.broken == "local" else caller
            return f"{gateway}:40000".encode()
        return (f"pod-{1 - int(node)}" if self.broken == "host port" and port == "34" else f"pod-{node}").encode()

    def create_connection(self, address: tuple[str, int], **_: float) -> socket.socket:
        assert address[1] == 33
        if (address[0] == "10.0.0.10") is (self.broken != "single") or self.broken == "refusal":
            return socket.socket()
        raise TimeoutError


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Nodes:
    found = Nodes()
    monkeypatch.setattr(traffic, "fetch", found.fetch)
    monkeypatch.setattr(socket, "create_connection", found.create_connection)
    return found


def _cluster() -> Cluster:
    wanted = replace(
        WANTED,
        nodes=tuple(replace(node, name=f"node-{i}", address=f"10.0.0.1{i}") for i, node in enumerate(WANTED.nodes)),
    )
    pods = probe_pods.Probes(cast("Any", None), "image")
    pods.ready, pods.ports, pods.namespace = tuple(probes(2)), probe_pods.Ports(31, 32, 33, 34), "verify"
    return Cluster(wanted, "node-0", wanted.nodes[0], cast("Any", None), cast("Any", None), pods)


NETWORK = {
    "dns": traffic.look_at_dns,
    "node_port_local": traffic.look_at_local_node_ports,
    "host_port": traffic.look_at_host_ports,
    "outward": traffic.look_at_outward,
}


@pytest.mark.parametrize("name", NETWORK)
def test_a_network_that_is_whole_passes(name: str, nodes: Nodes) -> None:
    assert not NETWORK[name](_cluster(), float("inf")).problems


@pytest.mark.parametrize(
    ("broken", "name", "where"),
    [
        ("udp", "dns", "Pod on node-1 → kube-pipeline-verify.verify.svc.cluster.local. over UDP"),
        ("tcp", "dns", "Pod on node-1 → kube-pipeline-verify.verify.svc.cluster.local. over TCP"),
        ("local", "node_port_local", "node-0 → port 32 of node-1 (10.0.0.11)"),
        ("refusal", "node_port_local", "port 33 of node-1"),
        ("single", "node_port_local", "port 33 of node-0"),
        ("host port", "host_port", "node-0 → port 34 of node-1 (10.0.0.11)"),
        ("masquerading", "outward", "Pod on node-1 → port 32 of node-0 (10.0.0.10)"),
    ],
)
def test_each_part_of_the_network_that_breaks_is_told_by_its_check(
    broken: str, name: str, where: str, nodes: Nodes
) -> None:
    nodes.broken = broken
    problems = NETWORK[name](_cluster(), float("inf")).problems
    assert [problem for problem in problems if problem.startswith(f"{where}:")]


def test_the_source_of_a_call_that_was_not_replaced_is_named(nodes: Nodes) -> None:
    nodes.broken = "masquerading"
    (problem,) = traffic.look_at_outward(_cluster(), float("inf")).problems
    assert problem.endswith("the call came from 10.244.1.2, expected was 10.0.0.11")


@dataclass
class Api:
    """Keeps what is created; a Service gets the next port."""

    made: dict[str, dict[str, Any]]

    def get(self, _path: str) -> dict[str, Any]:
        return {"items": []}

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.made[f"{path.rpartition('/')[2]}/{body['metadata']['name']}"] = body
        if not path.endswith("/services"):
            return body
        ports = [{**port, "nodePort": 30000 + len(self.made)} for port in body["spec"]["ports"]]
        return {**body, "spec": {**body["spec"], "clusterIP": "10.96.0.9", "ports": ports}}


def test_the_port_that_each_pod_has_on_its_node_is_kept_free_of_services() -> None:
    api = Api({})
    pods = probe_pods.Probes(cast("Any", api), "image")
    pods.create(SERVER, 6443)
    (daemon_set,) = [body for name, body in api.made.items() if name.startswith("daemonsets/")]
    (container,) = daemon_set["spec"]["template"]["spec"]["containers"]
    assert container["ports"][0]["hostPort"] == pods.ports.host
    kept = api.made["services/kube-pipeline-verify-host-port"]["metadata"]["labels"]
    assert "service.kubernetes.io/service-proxy-name" in kept
    assert len(set(vars(pods.ports).values())) == 4


def test_one_service_of_policy_local_is_served_on_one_node() -> None:
    api = Api({})
    probe_pods.Probes(cast("Any", api), "image").create(SERVER, 6443)
    (served,) = api.made["endpointslices/kube-pipeline-verify-single"]["endpoints"]
    assert (served["nodeName"], served["addresses"]) == (SERVER.name, [SERVER.address])
    assert "selector" not in api.made["services/kube-pipeline-verify-single"]["spec"]


def test_pod_security_is_tried_in_a_namespace_without_a_level() -> None:
    api = Api({})
    pods = probe_pods.Probes(cast("Any", api), "image")
    pods.create(SERVER, 6443)
    levels = {
        name: [label for label in body["metadata"]["labels"] if label.startswith("pod-security")]
        for name, body in api.made.items()
        if name.startswith("namespaces/")
    }
    assert levels[pods.plain.replace("/api/v1/", "")] == []
    assert levels[pods.path.replace("/api/v1/", "")] != []
