import base64
from typing import Any

import pytest
from module_utils.checks import etcd
from module_utils.checks.runner import Verdict

NAMES = ["controller-0", "controller-1", "controller-2"]


def listed(**changes: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - any field of a member
    members = [{"ID": str(number), "name": name} for number, name in enumerate(NAMES, 1)]
    return [*members[:2], {**members[2], **changes}]


def statuses(**changes: Any) -> dict[str, dict[str, Any]]:  # noqa: ANN401 - any field of a status
    healthy = {str(number): {"leader": "1", "version": "3.6.8"} for number in (1, 2, 3)}
    return {**healthy, "3": {**healthy["3"], **changes}}


def test_three_voting_members_with_one_leader_pass() -> None:
    verdict = etcd.judge_etcd(NAMES, etcd.members(listed(), statuses()), {})
    assert verdict == Verdict("3 of 3 members answer, leader controller-0")


@pytest.mark.parametrize(
    ("member", "status", "problem"),
    [
        ({"isLearner": True}, {}, "controller-2: is a learner, without a vote"),
        ({}, {"errors": ["alarm:NOSPACE"]}, "controller-2: alarm:NOSPACE"),
        ({}, {"leader": "3"}, "members follow 2 leaders"),
        ({}, {"leader": "0"}, "controller-2: knows no leader"),
        ({}, {"version": "3.5.0"}, "members have different versions: 3.5.0, 3.6.8"),
    ],
)
def test_each_fault_of_a_member_is_told(member: dict[str, Any], status: dict[str, Any], problem: str) -> None:
    (told,) = etcd.judge_etcd(NAMES, etcd.members(listed(**member), statuses(**status)), {}).problems
    assert told.startswith(problem)


def test_a_stranger_a_missing_and_a_silent_member_are_told() -> None:
    found = etcd.members(listed(name="stranger"), {key: value for key, value in statuses().items() if key != "2"})
    assert etcd.judge_etcd(NAMES, found, {"controller-1": "timed out"}).problems == (
        "controller-1: does not answer: timed out",
        "controller-2: is not a member",
        "stranger: is a member, but not a control plane",
    )


def stored(raw: bytes) -> dict[str, Any]:
    return {"kvs": [{"value": base64.b64encode(raw).decode()}]}


def test_an_encrypted_secret_passes_and_names_its_provider() -> None:
    verdict = etcd.judge_secret(stored(b"k8s:enc:secretbox:v1:key1:\x00\xff:\x01"), "plain")
    assert verdict == Verdict("stored as secretbox:v1:key1")


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (stored(b"k8s\x00plain"), "etcd holds the Secret's plaintext"),
        (stored(b"k8s:enc:identity:" + base64.b64encode(b"plain")), "etcd holds the Secret's plaintext"),
        (stored(b"k8s\x00other"), "the value in etcd begins with"),
        ({"header": {}}, "etcd has no value under the Secret's key"),
    ],
)
def test_a_readable_or_missing_secret_fails(document: dict[str, Any], problem: str) -> None:
    (told,) = etcd.judge_secret(document, "plain").problems
    assert told.startswith(problem)
