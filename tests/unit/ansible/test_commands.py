"""kubectl, which asks an API again that is away for a moment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from module_utils.system.commands import CommandError, kubectl

if TYPE_CHECKING:
    from tests.unit.ansible.conftest import FakeProgram


@pytest.mark.parametrize(
    "error",
    [
        "Unable to connect to the server: EOF",
        "E1126 discovery\nThe connection to the server a was refused - did you specify the right host or port?",
        "error: failed to download openapi: request canceled (Client.Timeout exceeded while awaiting headers)",
        "error: error when deleting: net/http: TLS handshake timeout",
        "Error from server (Timeout): the server was unable to return a response in the time allotted",
        "Error from server (InternalError): rpc error: context deadline exceeded",
        'Error from server (Forbidden): nodes is forbidden: User "kubernetes-admin" cannot list resource "nodes"',
    ],
)
def test_an_api_that_is_away_or_slow_for_a_moment_is_asked_again(
    tmp_path: Path, fake_program: FakeProgram, waits: list[float], error: str
) -> None:
    fake_program("kubectl", f"[ -e {tmp_path}/asked ] && exit 0; touch {tmp_path}/asked; echo '{error}' >&2; exit 1")
    kubectl("get", "nodes")
    assert len(fake_program.calls()) == 2
    assert len(waits) == 1


def test_programs_get_the_administrators_credentials_of_this_host(fake_program: FakeProgram, host: Path) -> None:
    fake_program("kubectl", "echo $KUBECONFIG")
    assert kubectl("get", "nodes") == f"{host}/etc/kubernetes/admin.conf\n"


@pytest.mark.parametrize(
    "error",
    [
        'Error from server (Forbidden): pods "a" is forbidden: violates PodSecurity "baseline:latest"',
        'Error from server (Forbidden): nodes is forbidden: User "somebody" cannot list resource "nodes"',
        "W1126 reflector.go:561] Client.Timeout exceeded\nerror: timed out waiting for the condition",
    ],
)
def test_an_api_that_refuses_is_not(fake_program: FakeProgram, waits: list[float], error: str) -> None:
    fake_program("kubectl", f"echo '{error}' >&2; exit 1")
    with pytest.raises(CommandError, match="exited with 1"):
        kubectl("get", "nodes")
    assert len(fake_program.calls()) == 1
    assert waits == []


def test_an_api_that_stays_away_is_told_in_time(fake_program: FakeProgram, waits: list[float]) -> None:
    fake_program("kubectl", "echo 'Unable to connect to the server: EOF' >&2; exit 1")
    with pytest.raises(CommandError, match="EOF"):
        kubectl("get", "nodes", timeout=30)
    assert len(fake_program.calls()) == len(waits) + 1
    assert 20 < sum(waits) <= 30


def test_attempts_share_the_time_and_can_say_why_they_failed(
    monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    given = []

    def hung(argv: Sequence[str], *, stdin: str | None, timeout: float) -> str:
        assert stdin is None
        request = int(argv[1].removeprefix("--request-timeout=").removesuffix("s"))
        given.append((request, timeout))
        waits.append(request)
        raise CommandError("kubectl exited with 1: Client.Timeout exceeded")

    monkeypatch.setattr("module_utils.system.commands.run", hung)
    with pytest.raises(CommandError, match="Client"):
        kubectl("get", "nodes", timeout=60)
    assert given == [(20, 60), (20, 39), (16, 18)]
