"""The daemon: the API, and a loop that makes machines, load balancers and names follow what the API was asked for.

It runs as the root of a process and mount namespace of its own (see `cloud.py`), so that its end, however it
comes, is the end of everything it started and mounted.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from functools import partial
from ipaddress import IPv4Network
from pathlib import Path

from bootstrap.artifacts import server
from bootstrap.errors import PipelineError
from bootstrap.files import write_atomically
from bootstrap.process import run
from infra.lab import api, names, wanted
from infra.lab.layout import Addresses, Layout
from infra.lab.load_balancers import LoadBalancers
from infra.lab.machines import Machines

_INTERVAL = 0.2  # seconds
_PAUSE = 2  # seconds after a failure
_LOG = logging.getLogger("lab")


class Daemon:
    """Holds what the loop works on."""

    def __init__(self, layout: Layout, cidr: IPv4Network, template: Path) -> None:
        addresses = Addresses(cidr)
        self._layout = layout
        self._cidr = cidr
        self._machines = Machines(layout, addresses, template)
        self._balancers = LoadBalancers(layout.folder, layout.id)
        self._resolver = names.Resolver(layout.folder, addresses.name_server)
        self._records: names.Records | None = None
        self._wanted = wanted.Wanted()
        self._state = ""
        self._logged = ""

    def run(self, endpoint: str, mirror_url: str) -> None:
        """Follow the API for ever, and tell what there is and what went wrong."""
        while True:
            problem = self._attempt(self._follow)
            untold = self._attempt(partial(self._tell, endpoint, mirror_url, problem))
            time.sleep(_PAUSE if problem or untold else _INTERVAL)

    def _attempt(self, work: Callable[[], None]) -> str:
        """Do it; return why it failed, if it did."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 - the end of this process would be that of all machines
            problem = str(error) if isinstance(error, PipelineError) else f"{type(error).__name__}: {error}"
            if problem != self._logged:
                _LOG.exception("cannot follow; trying again")
            self._logged = problem
            return problem
        return ""

    def _follow(self) -> None:
        self._wanted = now = wanted.read()
        self._resolver.keep_alive()
        self._machines.reconcile(now.machines)
        self._balancers.reconcile(now.load_balancers)
        self._publish(now)

    def _tell(self, endpoint: str, mirror_url: str, problem: str) -> None:
        """Write down what runs, if that is news."""
        problems = [problem, self._resolver.service.problem, self._balancers.service.problem]
        problems += [*self._machines.problems.values(), *self._machines.dead]
        state = {
            "endpoint": endpoint,
            "mirror": mirror_url,
            "cidr": str(self._cidr),
            "machines": {
                machine.id: {"address": str(machine.address), "running": self._machines.running(machine.id)}
                for machine in self._wanted.machines
            },
            "load_balancers": {name: str(address) for name, address in self._balancers.addresses.items()},
            "problems": [text for text in problems if text],
        }
        text = json.dumps(state, indent=2) + "\n"
        if text != self._state:
            write_atomically(self._layout.state, text)
            self._state = text

    def _publish(self, now: wanted.Wanted) -> None:
        balancers = tuple((address, name) for name, address in sorted(self._balancers.addresses.items()))
        machines = tuple(
            (machine.address, f"{called.fqdn} {called.hostname}")
            for machine in now.machines
            if machine.id not in self._machines.problems
            for called in (wanted.names(machine),)
        )
        records = (*balancers, *machines)
        if records != self._records:
            self._resolver.publish(records)
            names.update_hosts(self._layout.id, balancers)
            self._records = records


def serve(layout: Layout, cidr: IPv4Network, template: Path, artifacts: Path) -> None:
    """Start the API and the mirror, then follow the API until this process is killed."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    os.umask(0o022)
    # With a /run of its own, systemd-nspawn's locks vanish with this process, and no service of the host is asked.
    run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"])
    endpoint = api.start(Addresses(cidr))
    mirror_url = server.serve(artifacts, Addresses(cidr).gateway)
    _LOG.info("API at %s, artifacts at %s", endpoint, mirror_url)
    Daemon(layout, cidr, template).run(endpoint, mirror_url)
