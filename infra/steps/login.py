"""Log in for the first time on machines that were there before, and see whether they can become nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bootstrap.errors import AnsibleError, PipelineError
from infra import clearing, cluster, history, key_pair
from infra.cluster import Cluster
from infra.contract import Contract, from_outputs, planned
from infra.first_login import FirstLogin
from infra.run import Run
from infra.steps import Step

_MEND = "mend what is told, then run the same command again: it goes on with what is there"


def log_in(run: Run) -> None:
    """Confirm their host keys, bring them the pipeline's key, and check them, each alone and all together.

    What is there already stays as it is. All problems of all machines are told at once, before anything else is
    brought to any of them.
    """
    contract = planned(run.environment, {})
    if contract is None:
        return
    clearing.begin(run.workspace, contract)
    pair, machines = key_pair.find(run), cluster.of(run, contract)
    machines.write_ssh_config(contract, [pair.private])
    known = {node.name for node in contract.nodes if machines.pinned(node)}
    public = pair.public.read_text(encoding="utf-8").strip()
    login = FirstLogin(machines, run.platform.access(run.environment), public)
    login.perform()
    lost = {name: error for name, error in login.problems.items() if name in login.silent & known}
    state = history.read(run.workspace)
    if state and state.stage is history.Stage.MADE and contract.keeps_majority(lost):
        _leave_out(run, lost)
    problems = {name: error for name, error in login.problems.items() if name not in run.absent}
    well = [name for name in login.ways if name not in login.problems]
    # What their past has left is in the way, until the step that takes it over has done so, which checks them then.
    check(machines, [] if run.options.adopt else well, problems)


def check(machines: Cluster, names: Sequence[str], problems: Mapping[str, PipelineError]) -> None:
    """See that machines can become nodes, each alone and all together.

    Those that the step machines clears first are nodes yet; they are checked when they are prepared.

    Raises:
        AnsibleError: some cannot; it has all that is in the way, with the `problems` that are known of others.
    """
    changing = _changing(machines.contract, from_outputs(machines.run.workspace))
    found = {**problems, **_unfit(machines, [name for name in names if name not in changing])}
    if found:
        raise _together(found, len(machines.contract.nodes))


def _leave_out(run: Run, lost: Mapping[str, PipelineError]) -> None:
    """Go on without machines of a standing cluster that do not answer: they are no reason to leave the others."""
    run.absent.update(lost)
    for name, error in lost.items():
        run.display.say(f"going on without {name}: {error.what} ({error.why})")


def _changing(wanted: Contract, there: Contract | None) -> set[str]:
    """Return the machines that are nodes at another address or in another role, maybe under another name."""
    known = there.nodes if there else ()
    return {
        node.name
        for node in wanted.nodes
        for other in known
        if node.name == other.name or node.private_address == other.private_address
        if (node.private_address, node.role) != (other.private_address, other.role)
    }


def _unfit(machines: Cluster, names: Sequence[str]) -> dict[str, PipelineError]:
    """Return by name the machines that cannot become nodes as they are, each with all that is in the way."""
    if not names:
        return {}
    try:
        machines.play("preflight", "login", limit=names)
    except AnsibleError as error:
        if not error.said:
            raise
        return {name: _finding(name, said, error) for name, said in error.said.items()}
    return {}


def _finding(name: str, said: str, error: AnsibleError) -> AnsibleError:
    return AnsibleError("the machine cannot be a node as it is", where=name, why=said, log=error.log, todo=_MEND)


def _together(problems: Mapping[str, PipelineError], machines: int) -> PipelineError:
    """Return the one error, or one that lists all."""
    if len(problems) == 1:
        return next(iter(problems.values()))
    told = ["- " + str(error).replace("\n", "\n  ") for error in problems.values()]
    return AnsibleError(
        "\n".join([f"{len(problems)} of {machines} machines are not ready, and none was changed further", *told]),
        todo=_MEND,
    )


STEP = Step(
    "login",
    "log in on the machines for the first time, and check them",
    log_in,
    reads=("environment", "artifacts", "lab", "keys"),
    writes=("ssh_config", "known_hosts", "ways", "cleared", "inventory"),
    needed=lambda run: run.platform.machines_stay,
)
