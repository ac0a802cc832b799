"""Log in for the first time on machines that were there before."""

from __future__ import annotations

from infra import clearing, cluster, key_pair
from infra.contract import planned
from infra.first_login import FirstLogin
from infra.run import Run
from infra.steps import Step


def log_in(run: Run) -> None:
    """Confirm their host keys, and bring them the pipeline's key; what is there already stays as it is."""
    contract = planned(run.environment, {})
    if contract is None:
        return
    clearing.begin(run.workspace)
    pair, machines = key_pair.find(run), cluster.of(run, contract)
    machines.write_ssh_config(contract, [pair.private])
    FirstLogin(
        machines, run.platform.access(run.environment), pair.public.read_text(encoding="utf-8").strip()
    ).perform()


STEP = Step(
    "login",
    "log in on the machines for the first time",
    log_in,
    reads=("environment", "keys"),
    writes=("ssh_config", "known_hosts", "ways", "cleared"),
    needed=lambda run: run.platform.machines_stay,
)
