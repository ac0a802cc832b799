"""Starting, stopping and looking at an environment's embedded cloud."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bootstrap.config.model import Environment
from bootstrap.errors import PreflightError
from bootstrap.files import write_atomically
from bootstrap.process import architecture, daemon, tail
from bootstrap.progress import Progress
from infra.lab import cgroups, host, kernel, names, network
from infra.lab.layout import PREFIX, Addresses, Layout
from infra.lab.lock import holder
from infra.lab.template import template

_PROJECT = Path(__file__).parents[2]
_WITHOUT_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # none leads to this host's loopback


@dataclass(frozen=True)
class Running:
    """Where a lab answers: the API's URL (for Terraform) and the artifacts' URL (for the machines)."""

    endpoint: str
    mirror: str


def start(environment: Environment, folder: Path, artifacts: Path, progress: Progress) -> Running:
    """Start the lab whose things live in `folder`, or find it running. It outlives this process.

    Raises:
        PreflightError: its range is in use on this machine, the kernel lacks something, the template cannot be
            built, or the daemon ended.
    """
    layout = Layout(folder.resolve())
    addresses = Addresses(environment.network.cidr)
    if holder(layout.lock) is not None:
        _refuse_change(layout, addresses)
        running = _wait(layout)
    else:
        running = _begin(layout, environment, artifacts.resolve(), progress)
    # here and not in the daemon, whose /run, with the lock of iptables, is another; and each time, since a firewall
    # that is loaded anew has lost the rules
    network.accept(layout.id, addresses, urlsplit(running.mirror).port or 80)
    return running


def stop(folder: Path, progress: Progress) -> None:
    """End the lab and remove everything it made, whatever state it is in; does nothing where nothing is.

    Raises:
        PreflightError: a process of it does not end.
    """
    progress.update("embedded cloud", "stopping")
    _remove(Layout(folder.resolve()))
    progress.update("embedded cloud", "stopped", done=True)


def status(folder: Path) -> dict[str, Any] | None:
    """Return what the daemon says (endpoint, mirror, cidr, machines, load_balancers, problems).

    It is empty while the daemon has said nothing yet, and None only if no daemon runs.
    """
    layout = Layout(folder.resolve())
    if holder(layout.lock) is None:
        return None
    try:
        state: dict[str, Any] = json.loads(layout.state.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return state


def problems(folder: Path) -> tuple[str, ...]:
    """Return what the lab cannot do at the moment, each with its reason; empty if all is well or it does not run."""
    return tuple((status(folder) or {}).get("problems", ()))


def abandoned(folder: Path) -> bool:
    """Tell whether machines' disks are there and no daemon lives, as after the host's restart.

    The machines died with it, and `start` would begin anew: without their disks.
    """
    layout = Layout(folder.resolve())
    return holder(layout.lock) is None and any(layout.disks())


def _begin(layout: Layout, environment: Environment, artifacts: Path, progress: Progress) -> Running:
    addresses = Addresses(environment.network.cidr)
    network.refuse_conflict(addresses.cidr, layout.id)
    kernel.load()
    root = template(progress)
    progress.update("embedded cloud", "starting")
    _remove(layout)
    layout.folder.mkdir(parents=True, mode=0o700)
    layout.lock.touch()
    _use_host(layout)
    network.create(layout.id, addresses)
    process = _launch(layout, environment, root, artifacts)
    running = _wait(layout, lambda: os.waitpid(process, os.WNOHANG) == (0, 0))
    progress.update("embedded cloud", f"answers at {running.endpoint}", done=True)
    return running


def _launch(layout: Layout, environment: Environment, root: Path, artifacts: Path) -> int:
    images = layout.folder / "images.json"
    write_atomically(images, json.dumps([_image(environment.aws.machine_image)]))
    words = (layout.folder, str(environment.network.cidr), root, artifacts)
    return daemon(
        [
            *cgroups.entering(cgroups.create(f"{layout.id}/daemon")),
            # In namespaces of their own: when the daemon dies, the kernel ends its processes and its mounts. The
            # shell is their process 1: it reaps orphans, and ends with the daemon.
            *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
            *("sh", "-c", '"$@"; exit $?', "lab", sys.executable, "-m", "infra.lab", *words),
        ],
        log=layout.log,
        env={"PYTHONPATH": str(_PROJECT), "MOTO_AMIS_PATH": str(images)},
    )


def _wait(layout: Layout, alive: Callable[[], bool] = lambda: True, patience: float = 60) -> Running:
    """Wait until the API answers; a lab that lives but is slow is never taken for dead, it holds the machines."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        running = _answering(layout)
        if running:
            return running
        if not alive():
            break
        time.sleep(0.1)
    raise PreflightError(
        f"the embedded cloud ended, or did not answer within {patience:.0f} s",
        output=tail(layout.log.read_text(encoding="utf-8")),
        todo="destroy the environment, then apply it again",
        log=layout.log,
    )


def _refuse_change(layout: Layout, addresses: Addresses) -> None:
    state = status(layout.folder)
    if state and state["cidr"] != str(addresses.cidr):
        raise PreflightError(
            f"the embedded cloud runs with the range {state['cidr']}, and network.cidr is {addresses.cidr} now",
            todo="destroy the environment before you change its network.cidr",
        )


def _answering(layout: Layout) -> Running | None:
    state = status(layout.folder)
    if not state:
        return None
    try:
        with _WITHOUT_PROXY.open(f"{state['endpoint']}/moto-api/", timeout=5):
            return Running(state["endpoint"], state["mirror"])
    except OSError:
        return None


def _remove(layout: Layout) -> None:
    """Take everything away; the daemon first, since it would make things anew."""
    _kill(layout)
    cgroups.remove(layout.id)
    network.remove(layout.id)
    names.update_hosts(layout.id, ())
    _leave_host()
    if layout.folder.exists():
        shutil.rmtree(layout.folder)


def _use_host(layout: Layout) -> None:
    with host.locked():
        cgroups.create(layout.id)  # by this, another lab that ends now knows that it is not the last one
        host.save()


def _leave_host() -> None:
    with host.locked():
        if not cgroups.any_left(PREFIX):
            host.restore()


def _kill(layout: Layout, patience: float = 20) -> None:
    deadline = time.monotonic() + patience
    while (pid := holder(layout.lock)) is not None:
        with suppress(ProcessLookupError):  # it ended meanwhile
            handle = os.pidfd_open(pid)
            if holder(layout.lock) == pid:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            os.close(handle)
        if time.monotonic() > deadline:
            raise PreflightError(f"the embedded cloud (process {pid}) does not end", log=layout.log)
        time.sleep(0.05)


def _image(image: str) -> dict[str, str]:
    """Return the one machine image that the API knows, in the form moto reads."""
    return {
        "ami_id": image,
        "name": image,
        "description": "the template of the embedded cloud",
        "owner_id": "123456789012",
        "architecture": "arm64" if architecture() == "arm64" else "x86_64",
        "virtualization_type": "hvm",
        "hypervisor": "xen",
        "root_device_name": "/dev/xvda",
        "root_device_type": "ebs",
        "state": "available",
    }
