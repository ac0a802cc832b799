from collections import Counter

import pytest
from module_utils.checks import network, traffic


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
    addresses = [("node-0", "10.0.0.10"), ("node-1", "10.0.0.11")]
    own, other = network.node_ports(probes(2), addresses, "node-0", 30000)
    assert own.source == probes(2)[1]
    assert own.answers == {"pod-0"}
    assert other.source is None
    assert other.answers == {"pod-1"}


def test_a_machine_alone_dials_itself() -> None:
    (alone,) = network.node_ports(probes(1), [("node-0", "10.0.0.10")], "node-0", 30000)
    assert alone.source is None
    assert alone.answers == {"pod-0"}


def test_a_service_is_called_until_a_pod_of_another_machine_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([b"pod-0", b"pod-0", b"pod-1", b"pod-2"])
    monkeypatch.setattr(traffic, "fetch", lambda *_, **__: (200, next(answers)))
    (dial,) = network.node_ports(probes(2), [("node-1", "10.0.0.11")], "node-0", 30000)
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
