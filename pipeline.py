"""The command line: one YAML file in, one Kubernetes cluster out. `python pipeline.py --help` lists the commands."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from infra.errors import InterruptedRunError, PipelineError, RefusedError, VerificationError

if TYPE_CHECKING:
    from bootstrap.artifacts import Artifact
    from bootstrap.keys import KeyPair
    from bootstrap.toolchain import Toolchain
    from infra.ansible import Recap
    from infra.config.model import Environment
    from infra.contract import Contract
    from infra.display import Display
    from infra.lab.cloud import Running
    from infra.terraform import Terraform
    from infra.terraform_events import Plan

ROOT = Path(__file__).resolve().parent


@dataclass
class Run:
    """One command on one environment; what a step needs is made at its first use and kept."""

    command: str
    environment: Environment
    options: argparse.Namespace
    closing: ExitStack
    prepared: bool = False

    @cached_property
    def folder(self) -> Path:
        """`build/<env>`, readable by its owner only."""
        folder = ROOT / "build" / self.environment.name
        for path in (folder, folder / "logs"):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder

    @cached_property
    def display(self) -> Display:
        """What the user sees."""
        from infra.display import Display
        from infra.timeline import Timeline

        timeline = Timeline(self.folder / "timeline.json", self.command)
        return Display(timeline, self.folder / "logs" / "pipeline.log")

    @cached_property
    def toolchain(self) -> Toolchain:
        """Terraform, its provider and Node."""
        from bootstrap import toolchain

        return toolchain.resolve(self.display)

    @cached_property
    def keys(self) -> KeyPair:
        """The SSH key pair of the machines."""
        from bootstrap import keys

        return keys.ensure(self.environment, self.folder / "ssh")

    @cached_property
    def lab(self) -> Running:
        """The embedded cloud, started."""
        from infra.files import cache_folder
        from infra.lab import cloud

        return cloud.start(self.environment, self.folder / "lab", cache_folder() / "artifacts", self.display)

    @cached_property
    def terraform(self) -> Terraform:
        """Terraform in the environment's folder."""
        from infra.terraform import Terraform

        return Terraform(self.folder, self.toolchain.terraform, self.toolchain.cli_config)

    @property
    def contract(self) -> Contract:
        """What Terraform made.

        Raises:
            ContractError: there are no outputs, or they are not of this version.
        """
        from infra.contract import decode

        path = self.folder / "outputs.json"
        return decode(json.loads(path.read_text()) if path.exists() else None)

    @cached_property
    def sockets(self) -> Path:
        """The folder of the SSH connections that this command's playbooks share; closed when the command ends."""
        from infra import ansible

        return self.closing.enter_context(ansible.connections())

    def inventory(self, contract: Contract) -> dict[str, object]:
        """Return Ansible's inventory, from the contract, the settings and the resolved artifacts."""
        from infra import inventory

        artifacts = json.loads((self.folder / "artifacts.json").read_text())
        return inventory.build(contract, self.environment, artifacts, self.folder / "ssh_config")


@dataclass(frozen=True)
class Step:
    """One step of the pipeline. The list that runs is the list that `--help` prints."""

    name: str
    description: str
    do: Callable[[Run], None]
    lab_only: bool = False


def check_machine(run: Run) -> None:
    """Check this machine and the account before anything is made."""
    from bootstrap import preflight

    if run.environment.lab:
        from infra.lab import preflight as lab_preflight

        lab_preflight.check(run.environment, run.folder / "lab")
    preflight.check(run.environment, run.folder, run.display)


def resolve_artifacts(run: Run) -> None:
    """Find every binary and image that the machines will install, and say where they fetch it."""
    from bootstrap import artifacts
    from infra.files import write_atomically

    resolved = artifacts.resolve(run.environment, "amd64", run.display)
    document = [asdict(artifact) | {"url": machine_url(run, artifact)} for artifact in resolved]
    write_atomically(run.folder / "artifacts.json", json.dumps(document, indent=1), mode=0o600)


def machine_url(run: Run, artifact: Artifact) -> str | None:
    """Return where machines fetch an artifact; None for an image that containerd pulls by its reference.

    Raises:
        PreflightError: it was built on this machine, and there is no place that the machines can fetch it from.
    """
    from infra.errors import PreflightError

    if run.environment.lab:
        return f"{run.lab.mirror}/{artifact.path}"
    source, _, location = artifact.origin.partition(": ")
    if source == "built":
        raise PreflightError(
            f"{artifact.name} {artifact.version} was built here, where the cloud's machines cannot fetch it",
            why="neither upstream nor artifacts.mirror could be reached from this machine",
            todo="set artifacts.mirror to a server that this machine and the cloud's machines reach",
        )
    return None if artifact.kind == "image" else location


def synthesize(run: Run) -> None:
    """Write `cdk.tf.json`: the whole stack of the environment."""
    from infra.config import find
    from infra.errors import TerraformError
    from infra.process import run as execute

    argv: list[str | Path] = [sys.executable, ROOT / "cdktf" / "main.py"]
    argv += [
        "--environment",
        find(run.options.environment),
        "--public-key",
        run.keys.public,
        "--provider-version",
        run.toolchain.provider_version,
    ]
    argv += ["--endpoint", run.lab.endpoint] if run.environment.lab else []
    execute(
        [*argv, "--output", run.folder / "cdk.tf.json"],
        error=TerraformError,
    )


def make_machines(run: Run) -> None:
    """Apply the plan, after asking when it takes something away; prepare the machines while the rest is being made."""
    from infra import ssh

    plan = run.terraform.plan(run.display)
    if plan.removes:
        confirm(run, f"{plan.summary()}\nThis deletes or replaces what is there.")
    run.display.say(plan.summary())
    if plan.changes:
        # Their host keys will be others.
        ssh.forget(made_anew(run, plan), run.folder / "known_hosts")
        apply_and_prepare(run)
    run.terraform.write_outputs()


def made_anew(run: Run, plan: Plan) -> list[str]:
    """Return the names of the machines that the plan makes."""
    from infra.addresses import machines

    made = {address.rpartition(".")[2] for address in (*plan.create, *plan.replace)}
    return [machine.name for machine in machines(run.environment) if machine.id in made]


def apply_and_prepare(run: Run) -> None:
    """Let Terraform apply; a load balancer takes minutes, and the machines are prepared meanwhile."""
    ended = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        applying = pool.submit(run.terraform.apply, run.display)
        applying.add_done_callback(lambda _: ended.set())
        try:
            prepare_early(run, ended)
        except (KeyboardInterrupt, InterruptedRunError):
            run.terraform.interrupt()
            raise
        finally:
            # Terraform's own error is the first cause of whatever else went wrong.
            applying.result()


def prepare_early(run: Run, ended: threading.Event) -> None:
    """Prepare the machines as soon as all answer; leave it to the later steps if Terraform ends before that."""
    from infra.addresses import planned_contract
    from infra.errors import AnsibleError

    contract = planned_contract(run.environment)
    if contract is None:
        return
    try:
        reach(run, contract, ended)
    except AnsibleError:
        if not ended.is_set():
            raise
        return
    with run.display.stage("prepare", "prepare the machines"):
        play(run, "prepare", "prepare")
    run.prepared = True


def reach_machines(run: Run) -> None:
    """Write inventory and ssh_config, wait until the machines answer, pin their host keys."""
    reach(run, run.contract)


def reach(run: Run, contract: Contract, give_up: threading.Event | None = None) -> None:
    """Write what leads to the machines of a contract, and wait for them."""
    import yaml

    from infra import ssh
    from infra.files import write_atomically

    config = ssh.configuration(
        contract, user=run.environment.ssh.user, key=run.keys.private, known_hosts=run.folder / "known_hosts"
    )
    write_atomically(run.folder / "ssh_config", config, mode=0o600)
    hosts = yaml.safe_dump(run.inventory(contract), sort_keys=False)
    write_atomically(run.folder / "inventory" / "hosts.yaml", hosts, mode=0o600)
    script = f'#!/bin/sh\nexec "{sys.executable}" "{ROOT}/pipeline.py" inventory "{run.options.environment}" "$@"\n'
    write_atomically(run.folder / "inventory.sh", script, mode=0o700)
    ssh.wait_until_reachable(contract.nodes, run.folder / "ssh_config", run.display, give_up=give_up)


def install(run: Run) -> None:
    """Install Kubernetes on the machines, and fetch the kubeconfig."""
    recap = play(run, "site", "install", skip_tags="prepare" if run.prepared else None)
    run.display.say(f"Ansible: {len(recap.tasks)} tasks, changed={len(recap.changed)}")
    fetch_kubeconfig(run)


def verify(run: Run) -> None:
    """Run every check of the cluster; failures are raised when the report is written."""
    (run.folder / "checks.json").unlink(missing_ok=True)
    play(run, "verify", "verify", {"verify_results_file": str(run.folder / "checks.json")})


def write_report(run: Run) -> None:
    """Write the report, then fail if a check did."""
    from infra import report

    run.display.timeline.save()
    failed = report.write(run.folder)
    run.display.say(f"report: {run.folder / 'report.html'}")
    if failed:
        first = failed[0]
        raise VerificationError(
            f"{len(failed)} of the cluster's checks failed: {', '.join(check.name for check in failed)}",
            why=first.evidence,
            todo=first.hint,
            log=run.folder / "report.html",
        )


APPLY = (
    Step("preflight", "check this machine and the account", check_machine),
    Step("lab", "start the embedded cloud", lambda run: ignore(run.lab), lab_only=True),
    Step("artifacts", "resolve binaries and images", resolve_artifacts),
    Step("synth", "write the Terraform stack", synthesize),
    Step("machines", "make network, load balancer and machines", make_machines),
    Step("reach", "reach every machine by SSH", reach_machines),
    Step("install", "install Kubernetes", install),
    Step("verify", "check the cluster", verify),
    Step("report", "write the report", write_report),
)


def ignore(_: object) -> None:
    """Take a value that was wanted for its making only."""


def play(
    run: Run,
    name: str,
    stage: str,
    variables: dict[str, object] | None = None,
    *,
    check: bool = False,
    skip_tags: str | None = None,
) -> Recap:
    """Run one of the playbooks on the environment's machines."""
    from infra import ansible

    hosts = run.folder / "inventory" / "hosts.yaml"
    playbook = ansible.Playbook(name, run.folder, hosts, run.sockets, variables or {}, check, skip_tags)
    return ansible.play(playbook, stage, run.display.timeline, run.display)


def fetch_kubeconfig(run: Run) -> None:
    """Fetch the administrator's kubeconfig from the first control plane."""
    from infra.errors import AnsibleError
    from infra.files import write_atomically
    from infra.process import run as execute

    first = next(node for node in run.contract.nodes if node.role == "control-plane")
    argv: list[str | Path] = ["ssh", "-F", run.folder / "ssh_config", first.name, "sudo cat /etc/kubernetes/admin.conf"]
    fetched = execute(argv, error=AnsibleError, todo="apply again; the file appears when Kubernetes is installed")
    write_atomically(run.folder / "kubeconfig", fetched.stdout, mode=0o600)


def confirm(run: Run, question: str) -> None:
    """Ask on the terminal unless `--yes` was given.

    Raises:
        RefusedError: the answer was no, or there is no terminal to ask on.
    """
    if run.options.yes:
        return
    if not sys.stdin.isatty():
        raise RefusedError("nobody is there to confirm this", why=question, todo="add --yes (make … YES=1)")
    if input(f"{question}\nType the environment's name to go on: ").strip() != run.environment.name:
        raise RefusedError("not confirmed; nothing was changed")


# Commands


def command_validate(run: Run) -> None:
    """Check the environment file."""
    # Loading it was the check.
    emit(run, {"valid": True, "environment": run.environment.name}, f"{run.options.environment}: valid")


def command_synth(run: Run) -> None:
    """Write build/<env>/cdk.tf.json and print its path."""
    synthesize(run)
    print(run.folder / "cdk.tf.json")


def command_preflight(run: Run) -> None:
    """Check this machine and the account, and resolve tools and artifacts."""
    with run.display.live():
        for step in APPLY[:3]:
            perform(run, step)


def command_plan(run: Run) -> int:
    """Say what apply would change: Terraform's plan, and what Ansible would do on the machines that are there."""
    with run.display.live():
        for step in APPLY[:4]:
            perform(run, step)
        with run.display.stage("plan", "compare with what is there"):
            plan = run.terraform.plan(run.display)
        changed: list[tuple[str, str]] | None = None
        if (run.folder / "kubeconfig").exists() and not made_anew(run, plan):
            with run.display.stage("check", "ask Ansible what it would change"):
                reach_machines(run)
                changed = play(run, "site", "check", check=True).changed
    ansible = "installs Kubernetes on all machines" if changed is None else f"would change {len(changed)} things"
    lines = [plan.summary(), f"Ansible: {ansible}", *(f"  {host}: {task}" for host, task in changed or ())]
    document = {"terraform": plan.as_dict(), "ansible": None if changed is None else [list(item) for item in changed]}
    emit(run, document, "\n".join(lines))
    return 2 if run.options.detailed_exitcode and (plan.changes or changed is None or changed) else 0


def command_apply(run: Run) -> None:
    """Make the environment what its file says: machines, Kubernetes, verification, report."""
    names = [step.name for step in APPLY]
    start = names.index(run.options.start) if run.options.start else 0
    with run.display.live():
        for step in APPLY[start:]:
            perform(run, step)
    run.display.say(f"{run.environment.name} is ready: export KUBECONFIG={run.folder / 'kubeconfig'}")


def command_verify(run: Run) -> None:
    """Check the cluster and write the report."""
    with run.display.live():
        for step in APPLY[-2:]:
            perform(run, step)


def command_status(run: Run) -> None:
    """Say what exists: machines, and nodes as the API sees them."""
    from infra import status

    found = status.look(run.folder)
    emit(run, found.as_dict(), found.text())


def command_destroy(run: Run) -> None:
    """Take everything down again."""
    confirm(run, f"This deletes the environment {run.environment.name}: machines, disks, network, load balancer.")
    with run.display.live():
        if not run.environment.lab or (run.folder / "lab").exists():
            with run.display.stage("destroy", "terraform destroy"):
                take_down(run)
        if run.environment.lab:
            from infra.lab import cloud

            with run.display.stage("lab", "stop the embedded cloud"):
                cloud.stop(run.environment, run.folder / "lab", run.display)
    shutil.rmtree(run.folder)
    run.display.console.print(f"{run.environment.name} is gone")


def take_down(run: Run) -> None:
    """Run `terraform destroy` on whatever the state holds."""
    if not run.environment.lab:
        synthesize(run)  # a shared state may hold what another checkout made, and this one has no configuration yet
    if run.terraform.has_state():
        run.terraform.destroy(run.display)


def command_inventory(run: Run) -> None:
    """Print the Ansible inventory (--list: as an inventory script does)."""
    import yaml

    from infra import inventory

    if run.options.list:
        print(json.dumps(inventory.as_script_output(run.inventory(run.contract)), indent=2))
    else:
        print(yaml.safe_dump(run.inventory(run.contract), sort_keys=False), end="")


def command_kubeconfig(run: Run) -> None:
    """Fetch the kubeconfig and print its path."""
    fetch_kubeconfig(run)
    print(run.folder / "kubeconfig")


def command_ssh(run: Run) -> None:
    """Open a shell on a machine, or run a command there."""
    names = [node.name for node in run.contract.nodes]
    if run.options.host not in names:
        raise RefusedError(f"no machine is called {run.options.host!r}", todo=f"choose among {', '.join(names)}")
    os.execvp("ssh", ["ssh", "-F", str(run.folder / "ssh_config"), run.options.host, *run.options.words])  # noqa: S606


def command_graph(run: Run) -> None:
    """Print the environment's topology as a Mermaid diagram."""
    from infra import graph

    print(graph.mermaid(run.environment))


COMMANDS: dict[str, Callable[[Run], int | None]] = {
    "validate": command_validate,
    "synth": command_synth,
    "preflight": command_preflight,
    "plan": command_plan,
    "apply": command_apply,
    "status": command_status,
    "verify": command_verify,
    "destroy": command_destroy,
    "inventory": command_inventory,
    "kubeconfig": command_kubeconfig,
    "ssh": command_ssh,
    "graph": command_graph,
}
EXCLUSIVE = ("synth", "preflight", "plan", "apply", "verify", "destroy", "kubeconfig")


def perform(run: Run, step: Step) -> None:
    """Run one step; an error is told with the command that resumes there."""
    if step.lab_only and not run.environment.lab:
        return
    try:
        with run.display.stage(step.name, step.description):
            step.do(run)
    except PipelineError as error:
        if run.command == "apply":
            error.resume = f"make apply ENV={run.options.environment} FROM={step.name}"
        raise


def emit(run: Run, document: object, text: str) -> None:
    """Print a command's result: one JSON document with --json, else text."""
    print(json.dumps(document, indent=2) if run.options.json else text)


@contextmanager
def exclusive(run: Run) -> Iterator[None]:
    """Hold the environment while a command changes it.

    Raises:
        RefusedError: another run holds it.
    """
    locks = ROOT / "build" / ".locks"
    locks.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (locks / run.environment.name).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as held:
            lock.seek(0)
            raise RefusedError(
                f"another run works on {run.environment.name}: {lock.read().strip()}", todo="wait for it to end"
            ) from held
        lock.truncate(0)
        lock.write(f"{run.command}, process {os.getpid()}")
        lock.flush()
        yield


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="pipeline.py", description=__doc__)
    parser.add_argument("--version", action="version", version="0.1.0")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, function in COMMANDS.items():
        command = commands.add_parser(name, help=(function.__doc__ or "").splitlines()[0], description=function.__doc__)
        command.add_argument("environment", metavar="ENV", help="a name in environments/, or a path to a file")
        command.add_argument("--json", action="store_true", help="print one JSON document on stdout")
        command.add_argument("--yes", action="store_true", help="do not ask for confirmation")
        _own_options(name, command)
    return parser.parse_args(arguments)


def _own_options(name: str, command: argparse.ArgumentParser) -> None:
    if name == "apply":
        steps = [step.name for step in APPLY]
        command.add_argument(
            "--from", dest="start", choices=steps, metavar="STEP", help=f"resume at {', '.join(steps)}"
        )
    if name == "plan":
        command.add_argument("--detailed-exitcode", action="store_true", help="exit with 2 when there are changes")
    if name == "inventory":
        command.add_argument("--list", action="store_true", help="print it as an Ansible inventory script does")
    if name == "ssh":
        command.add_argument("host", metavar="HOST")
        command.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")


def main(arguments: Sequence[str]) -> int:
    """Run a command and return the exit code."""
    options = parse(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        from infra.config import load

        with ExitStack() as closing:
            run = Run(options.command, load(options.environment), options, closing)
            if options.command in EXCLUSIVE:
                closing.enter_context(exclusive(run))
            return COMMANDS[options.command](run) or 0
    except KeyboardInterrupt:
        return report(
            InterruptedRunError("stopped", todo="run the same command again: it goes on where it was"), options
        )
    except PipelineError as error:
        return report(error, options)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def report(error: PipelineError, options: argparse.Namespace) -> int:
    """Print an error as people or, with --json, as programs read it; return its exit code."""
    if options.json:
        print(json.dumps({"error": error.what, "exit_code": error.exit_code, "detail": str(error)}, indent=2))
    print(f"error: {error}", file=sys.stderr)
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
