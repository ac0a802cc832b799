"""Starting, stopping and looking at an environment's embedded cloud."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from bootstrap.config.model import Environment
from bootstrap.errors import PreflightError
from bootstrap.files import write_atomically
from bootstrap.platforms import aws
from bootstrap.process import architecture, daemon, tail
from bootstrap.progress import Progress
from infra.lab import cgroups, kernel, kernel_settings, machine_network, names
from infra.lab.daemon_lock import holder
from infra.lab.layout import PREFIX, SCRIPTS, Addresses, Layout
from infra.lab.template import template

_FIRST_PROCESS = SCRIPTS / "first-process.sh"
_POLL = 0.05  # seconds
_PROJECT = Path(__file__).parents[2]
_WITHOUT_PROXY = urllib.request.build_opener(
    urllib.request.ProxyHandler({})
)  # a proxy cannot reach this host's loopback


@dataclass(frozen=True)
class Running:
    """The URLs of an embedded cloud: its API (for Terraform) and its artifacts (for the machines)."""

    endpoint: str
    mirror: str


def start(environment: Environment, folder: Path, artifacts: Path, progress: Progress) -> Running:
    """Start the embedded cloud whose things live in `folder`, or find it running. It outlives this process.

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
    # The daemon has a /run of its own and cannot see the lock of iptables in the host's /run. Every start adds the
    # rules, because a firewall that was loaded anew has lost them.
    machine_network.accept(layout.id, addresses, urlsplit(running.mirror).port or 80)
    return running


def stop(folder: Path, progress: Progress) -> None:
    """End the embedded cloud and remove everything it made, whatever state it is in; does nothing where nothing is.

    Raises:
        PreflightError: a process of it does not end.
    """
    progress.update("embedded cloud", "stopping")
    _remove(Layout(folder.resolve()))
    progress.update("embedded cloud", "stopped", done=True)


def use_host(layout: Layout) -> None:
    """Keep this host's settings, as they are now, until `stop` is called for the last one that uses the host."""
    with kernel_settings.locked():
        cgroups.create(layout.id)  # tells another embedded cloud that ends now that it is not the last one
        kernel_settings.save()


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
    """Return what fails at the moment, each with its reason; empty if nothing does, or no daemon runs."""
    return tuple((status(folder) or {}).get("problems", ()))


def abandoned(folder: Path) -> bool:
    """Tell whether machines' disks are there and no daemon lives, as after the host's restart.

    The machines died with it, and `start` would begin anew: without their disks.
    """
    layout = Layout(folder.resolve())
    return holder(layout.lock) is None and any(layout.disks())


def _begin(layout: Layout, environment: Environment, artifacts: Path, progress: Progress) -> Running:
    addresses = Addresses(environment.network.cidr)
    machine_network.refuse_conflict(addresses.cidr, layout.id)
    kernel.load()
    root = template(progress)
    progress.update("embedded cloud", "starting")
    _remove(layout)
    layout.folder.mkdir(parents=True, mode=0o700)
    layout.lock.touch()
    use_host(layout)
    machine_network.create(layout.id, addresses)
    process = _launch(layout, environment, root, artifacts)
    running = _wait(layout, lambda: os.waitpid(process, os.WNOHANG) == (0, 0))
    progress.update("embedded cloud", f"answers at {running.endpoint}", done=True)
    return running


def _launch(layout: Layout, environment: Environment, root: Path, artifacts: Path) -> int:
    images = layout.folder / "images.json"
    write_atomically(images, json.dumps([_image(aws.settings(environment).machine_image)]))
    words = (layout.folder, str(environment.network.cidr), root, artifacts)
    return daemon(
        [
            *cgroups.entering(cgroups.create(f"{layout.id}/daemon")),
            # The daemon has namespaces of its own: when it dies, the kernel ends its processes and its mounts.
            *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
            *("sh", _FIRST_PROCESS, sys.executable, "-m", "infra.lab", *words),
        ],
        log=layout.log,
        # moto lacks young regions, and has those of some partitions only when asked.
        env={
            "PYTHONPATH": str(_PROJECT),
            "MOTO_AMIS_PATH": str(images),
            "MOTO_ALLOW_NONEXISTENT_REGION": "true",
        },
    )


def _wait(layout: Layout, alive: Callable[[], bool] = lambda: True, patience: float = 60) -> Running:
    """Wait until the API answers. A daemon that is slow is never replaced: its end would be that of the machines."""
    attempts = Retrying(
        retry=retry_if_result(lambda running: running is None and alive()),
        stop=stop_after_delay(patience),
        wait=wait_fixed(_POLL),
        retry_error_callback=lambda _: None,
    )
    running: Running | None = attempts(_answering, layout)
    if running is None:
        lives = holder(layout.lock) is not None
        raise PreflightError(
            f"the embedded cloud did not answer within {patience:.0f} s" if lives else "the embedded cloud ended",
            output=tail(layout.log.read_text(encoding="utf-8")),
            todo="run the same command again when this machine has less to do; destroy ends it, with its machines"
            if lives
            else "mend what the output says, then run the same command again, which starts it anew",
            log=layout.log,
        )
    return running


def _refuse_change(layout: Layout, addresses: Addresses) -> None:
    state = status(layout.folder)
    if state and state["cidr"] != str(addresses.cidr):
        raise PreflightError(
            f"the embedded cloud runs with the range {state['cidr']}, and network.cidr is {addresses.cidr} now",
            todo=f"set network.cidr back to {state['cidr']}; for the other range, destroy the environment, then apply",
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
    """Remove everything; the daemon first, because it would make what is removed again."""
    _kill(layout)
    cgroups.remove(layout.id)
    machine_network.remove(layout.id)
    names.update_hosts(layout.id, ())
    _leave_host()
    if layout.folder.exists():
        shutil.rmtree(layout.folder)


def _leave_host() -> None:
    with kernel_settings.locked():
        if not cgroups.any_left(PREFIX):
            kernel_settings.restore()


def _kill(layout: Layout, patience: float = 20) -> None:
    attempts = Retrying(
        retry=retry_if_result(bool),
        stop=stop_after_delay(patience),
        wait=wait_fixed(_POLL),
        retry_error_callback=lambda last: last.outcome and last.outcome.result(),
    )
    if pid := attempts(_killed, layout):
        raise PreflightError(
            f"the embedded cloud does not end: process {pid}",
            why=f"it was killed {patience:.0f} s ago, and waits in the kernel, perhaps for a disk",
            todo="run the same command again when the process is gone",
            log=layout.log,
        )


def _killed(layout: Layout) -> int | None:
    """Kill the daemon, if one lives; return its process."""
    pid = holder(layout.lock)
    if pid is not None:
        with suppress(ProcessLookupError):  # the daemon may have ended
            handle = os.pidfd_open(pid)
            if holder(layout.lock) == pid:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            os.close(handle)
    return pid


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
