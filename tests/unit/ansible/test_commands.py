"""Programs on a node; kubectl asks an API again that is away for a moment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from module_utils.outcome import fail
from module_utils.system.commands import BrokenProgramError, CommandError, kubectl, run

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

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


@pytest.mark.parametrize(
    ("content", "mode", "told"),
    [
        (None, 0o755, "kubeadm is not installed on this host"),
        (b"#!/bin/sh\n", 0o644, "kubeadm cannot be run on this host: Permission denied"),
        (b"\x7fELF", 0o755, "kubeadm cannot be run on this host: Exec format error"),
        (b"#!/bin/sh\nkill -SEGV $$\n", 0o755, "kubeadm cannot be run on this host: it ends by SIGSEGV"),
        (b"#!/bin/sh\nkill -BUS $$\n", 0o755, "kubeadm cannot be run on this host: it ends by SIGBUS"),
    ],
)
def test_a_program_that_cannot_be_run_is_named(
    content: bytes | None, mode: int, told: str, fake_program: FakeProgram
) -> None:
    if content is not None:
        (fake_program.folder / "kubeadm").write_bytes(content)
        (fake_program.folder / "kubeadm").chmod(mode)
    with pytest.raises(BrokenProgramError, match=told):
        run(["kubeadm", "version"])


@pytest.mark.parametrize("end", ["exit 1", "kill -KILL $$", "kill -TERM $$"])
def test_a_program_that_fails_is_not_broken(end: str, fake_program: FakeProgram) -> None:
    fake_program("kubeadm", end)
    with pytest.raises(CommandError, match="kubeadm version exited with") as failure:
        run(["kubeadm", "version"])
    assert not isinstance(failure.value, BrokenProgramError)


def test_a_program_gets_further_variables(fake_program: FakeProgram) -> None:
    fake_program("kubeadm", "echo $FOLDER $LC_ALL")
    assert run(["kubeadm"], variables={"FOLDER": "here"}) == "here C.UTF-8\n"


@pytest.mark.parametrize(
    ("error", "check", "outcome"),
    [
        (BrokenProgramError("kubectl is not installed"), True, ("exit", True)),
        (BrokenProgramError("kubectl is not installed"), False, ("fail", None)),
        (CommandError("the API is away"), True, ("fail", None)),
    ],
)
def test_a_plan_goes_on_where_a_program_is_to_be_installed_anew(
    error: CommandError, check: bool, outcome: tuple[str, bool | None]
) -> None:
    ended: list[tuple[str, bool | None, str]] = []

    class Module:
        check_mode = check

        def exit_json(self, *, changed: bool, diff: dict[str, str]) -> None:
            ended.append(("exit", changed, diff["after"]))
            raise SystemExit

        def fail_json(self, *, msg: str) -> None:
            ended.append(("fail", None, msg))
            raise SystemExit

    with pytest.raises(SystemExit):
        fail(cast("AnsibleModule", Module()), error)
    assert ended[0][:2] == outcome
    assert str(error) in ended[0][2]
