"""Services on a host that are others' business, too: those that hold the API's address, and those that ran before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..packages import MARK
from ..system.commands import run
from ..system.paths import HOST

# Packages of others have services of the names of ours, and adoption stops the rest. Each starts after those before it.
THEIRS = (
    *("containerd.service", "crio.service", "docker.socket", "docker.service"),
    *("cri-docker.socket", "cri-docker.service", "kubelet.service", *reversed(HOST.endpoint)),
)
ENABLED, ACTIVE = WORDS = ("enabled", "active")
_ACTIVE = {"active", "activating", "reloading"}
_SECONDS = 120


def states(names: Sequence[str] = THEIRS) -> dict[str, str]:
    """Return those of these services that the host has, each with the `WORDS` that are true of it.

    Raises:
        CommandError: systemd does not answer.
    """
    shown = run(["systemctl", "show", "--property=Id,LoadState,ActiveState,UnitFileState", *names])
    found = {}
    for block in shown.split("\n\n"):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if values.get("LoadState") in {"loaded", "masked"}:
            words = [ENABLED] * (values["UnitFileState"] == "enabled") + [ACTIVE] * (values["ActiveState"] in _ACTIVE)
            found[values["Id"]] = " ".join(words)
    return found


def holding() -> list[str]:
    """Return the services that hold the API's address here, with a configuration of this project's."""
    ours = [name for name, path in HOST.endpoint.items() if path.exists() and MARK in path.read_text(errors="replace")]
    now = states(ours) if ours else {}
    return [name for name in ours if ACTIVE in now.get(name, "")]


def let_go() -> None:
    """Stop the services that hold the API's address: another control plane takes it at once.

    Raises:
        CommandError: systemd refuses.
    """
    for name in holding():
        run(["systemctl", "stop", name], timeout=_SECONDS)


def stop(names: Sequence[str]) -> None:
    """Stop these services, now and for each start.

    Raises:
        CommandError: systemd refuses.
    """
    run(["systemctl", "disable", "--now", *names], timeout=_SECONDS)


def other(was: Mapping[str, str]) -> list[str]:
    """Return what systemctl has to do for these services to be as they were, such as `start docker.service`."""
    now = states(list(was)) if was else {}
    verbs = {ENABLED: ("enable", "disable"), ACTIVE: ("start", "stop")}
    return [
        f"{verbs[word][word not in was[name]]} {name}"
        for name in (name for name in was if name in now)
        for word in WORDS
        if (word in was[name].split()) != (word in now[name].split())
    ]


def put_back(was: Mapping[str, str]) -> None:
    """Let these services be as they were.

    Raises:
        CommandError: systemd refuses.
    """
    run(["systemctl", "daemon-reload"], timeout=_SECONDS)
    for words in other(was):
        run(["systemctl", *words.split()], timeout=_SECONDS)
