"""The command line: one YAML file in, one Kubernetes cluster out. `python pipeline.py --help` lists the commands."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bootstrap.errors import (
    Checks,
    ConfigurationError,
    ContractError,
    InterruptedRunError,
    PipelineError,
    PreflightError,
    RefusedError,
    UsageError,
    VerificationError,
    exit_codes,
    unusable_file,
)

if TYPE_CHECKING:
    from bootstrap.config.model import Environment
    from bootstrap.keys import KeyPair
    from bootstrap.toolchain import Toolchain
    from infra.ansible import Change
    from infra.cluster import Cluster
    from infra.contract import Contract
    from infra.display import Display
    from infra.platforms import Platform
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

    @property
    def given(self) -> str:
        """The environment's name or path, as a shell takes it."""
        return shlex.quote(self.options.environment)

    @property
    def place(self) -> Path:
        """`build/<env>`, whether or not it is there."""
        return ROOT / "build" / self.environment.name

    @property
    def origin(self) -> Path:
        """The file in `build/<env>` that says which environment file it is made from."""
        return self.place / "environment"

    @cached_property
    def folder(self) -> Path:
        """`build/<env>`, readable by its owner only."""
        for path in (self.place, self.place / "logs"):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self.place

    @cached_property
    def display(self) -> Display:
        """What the user sees."""
        from infra.display import Display
        from infra.timeline import Timeline

        # The report tells where the time of the last apply went, also when only the checks ran again.
        path = self.folder / "timeline.json"
        whole = self.command == "apply" or not path.exists()
        timeline = Timeline(path if whole else self.folder / "logs" / "timeline.json", self.command)
        if self.options.start:
            timeline.go_on()
        return Display(timeline, self.folder / "logs" / "pipeline.log")

    @cached_property
    def toolchain(self) -> Toolchain:
        """Terraform and its provider."""
        from bootstrap import platforms, toolchain

        provider = platforms.of(self.environment).provider()
        return toolchain.resolve(self.display, provider, self.environment.artifacts.mirror)

    @cached_property
    def keys(self) -> KeyPair:
        """The SSH key pair of the machines."""
        from bootstrap import keys

        return keys.ensure(self.environment, self.folder / "ssh")

    @cached_property
    def endpoint(self) -> str | None:
        """The URL that takes the place of the cloud's API, where the platform has to be started."""
        folder = self.folder / "lab"
        if self.platform.lost(folder):
            gone = "the embedded cloud has ended, and its machines with it"
            if self.command != "apply":
                raise PreflightError(gone, todo="apply makes them anew, with empty disks; destroy removes them")
            confirm(self, f"{gone}: this makes them anew, without what is on their disks.")
        if self.command in ("plan", "synth") and not self.platform.running(folder):
            # It was asked for an answer only; what was not there before is not there afterwards.
            self.closing.callback(self.platform.stop, folder, self.display)
        return self.platform.start(self.environment, folder, self.display)

    @cached_property
    def platform(self) -> Platform:
        """What the environment's machines stand on."""
        from infra import platforms

        return platforms.of(self.environment)

    @cached_property
    def terraform(self) -> Terraform:
        """Terraform in the environment's folder."""
        from infra.terraform import Terraform

        return Terraform(self.folder, self.toolchain.terraform, self.toolchain.cli_config, self.platform)

    @cached_property
    def cluster(self) -> Cluster:
        """The machines, as SSH and Ansible reach them."""
        from infra.cluster import Cluster

        return Cluster(self.environment, self.folder, self.display, self.closing)


@dataclass(frozen=True)
class Step:
    """One step of the pipeline. The list that runs is the list that `--help` prints."""

    name: str
    description: str
    do: Callable[[Run], None]
    undo: Callable[[Run], None] | None = None
    lab_only: bool = False
    resume: str = ""  # the step to go on with after a failure, where that is an earlier one


def check_machine(run: Run) -> None:
    """Check this machine and the account before anything is made."""
    from bootstrap import preflight

    checks = Checks()
    for check in run.platform.preflight(run.environment, run.folder / "lab"):
        checks.passes(check)
    checks.passes(lambda: preflight.check(run.environment, run.folder, run.display))
    checks.refuse()


def resolve_artifacts(run: Run) -> None:
    """Find every binary and image that the machines will install, and where each comes from."""
    from bootstrap import artifacts, platforms
    from bootstrap.files import write_atomically

    architecture = platforms.of(run.environment).architecture(run.environment)
    resolved = [asdict(artifact) for artifact in artifacts.resolve(run.environment, architecture, run.display)]
    write_atomically(run.folder / "artifacts.json", json.dumps(resolved, indent=1), mode=0o600)


def synthesize(run: Run) -> None:
    """Write `cdk.tf.json`: the whole stack of the environment."""
    from bootstrap.config.loader import find
    from bootstrap.errors import TerraformError
    from bootstrap.process import run as execute

    argv: list[str | Path] = [sys.executable, ROOT / "cdktf" / "main.py"]
    argv += [
        "--environment",
        find(run.options.environment),
        "--public-key",
        run.keys.public,
        "--provider-version",
        run.toolchain.provider_version,
    ]
    argv += ["--endpoint", run.endpoint] if run.endpoint else []
    execute(
        [*argv, "--output", run.folder / "cdk.tf.json"],
        error=TerraformError,
    )


def make_machines(run: Run) -> None:
    """Apply the plan, after asking when it takes something away; prepare the machines while the rest is being made."""
    from infra import resize, ssh

    claim_folder(run)
    plan = run.terraform.plan(run.display)
    run.terraform.write_outputs()  # what is there may have been made from another checkout
    agree(run, plan)
    if plan.stop and resize.in_turn(run.cluster, run.terraform, plan, run.keys.private, run.display):
        rest = run.terraform.plan(run.display)
        agree(run, rest, known=plan.disruptive)
        plan = rest
    if plan.changes:
        # Machines that are made anew will have other host keys.
        ssh.forget(named(run, plan, (*plan.create, *plan.replace)), run.folder / "known_hosts")
        # A machine that is to be replaced or stopped still answers for a while.
        early = not named(run, plan, plan.disruptive)
        apply_and_prepare(run) if early else run.terraform.apply(run.display)
        run.terraform.write_outputs()


def agree(run: Run, plan: Plan, known: Sequence[str] = ()) -> None:
    """Tell a plan, refuse it where it must not be, and ask where it takes away more than what is `known` already."""
    from infra import guards

    run.display.say(plan.summary())
    guards.check(run.cluster.nodes, plan)
    if set(plan.disruptive) - set(known):
        confirm(run, f"This deletes, replaces or stops what is there: {', '.join(plan.disruptive)}.")


def claim_folder(run: Run) -> None:
    """Note in `build/<env>` from which environment file its machines are made."""
    from bootstrap.config.loader import find
    from bootstrap.files import write_atomically

    file = find(run.options.environment).resolve()
    # Relative to a checkout that holds it, which may be moved or copied with all that is in it.
    origin = file.relative_to(ROOT) if file.is_relative_to(ROOT) else file
    write_atomically(run.origin, os.fsencode(origin), mode=0o600)


def named(run: Run, plan: Plan, resources: Iterable[str]) -> list[str]:
    """Return the names of the machines among a plan's resources."""
    from bootstrap.addresses import machines

    identifiers = plan.machines(resources)
    names = {machine.id: machine.name for machine in machines(run.environment)} | {"bastion-0": "bastion"}
    return [name for identifier, name in names.items() if identifier in identifiers]


def apply_and_prepare(run: Run) -> None:
    """Let Terraform apply; a load balancer takes minutes, and the machines are prepared meanwhile."""
    from bootstrap.process import stop_signals

    asked = False

    def stop() -> None:
        nonlocal asked
        repeated, asked = asked, True
        run.terraform.interrupt()  # at once: what reaches for machines takes seconds to end
        if not repeated:  # else it would end the wait for Terraform
            raise KeyboardInterrupt

    ended = threading.Event()
    with stop_signals(stop), ThreadPoolExecutor(1) as pool:
        applying = pool.submit(run.terraform.apply, run.display)
        applying.add_done_callback(lambda _: ended.set())
        try:
            try:
                prepare_early(run, ended)
            except InterruptedRunError:
                raise
            except (PipelineError, OSError):
                applying.result()  # Terraform's own error, if there is one, is the first cause
                raise
            applying.result()
        except (KeyboardInterrupt, InterruptedRunError):
            asked = True
            run.terraform.interrupt()
            raise


def prepare_early(run: Run, ended: threading.Event) -> None:
    """Prepare the machines as soon as all answer; leave it to the later steps if Terraform ends before that."""
    from bootstrap.errors import AnsibleError
    from infra.contract import planned

    contract = planned(run.environment)
    if contract is None:
        return
    try:
        reach(run, contract, ended)
    except AnsibleError:
        if not ended.is_set():
            raise
        return
    with run.display.stage("prepare", "prepare the machines"):
        run.cluster.play("prepare", "prepare", contract=contract)
    run.prepared = True


def reach_machines(run: Run) -> None:
    """Write inventory and ssh_config, wait until the machines answer, pin their host keys."""
    reach(run, run.cluster.contract)


def reach(run: Run, contract: Contract, give_up: threading.Event | None = None) -> None:
    """Reach the machines of a contract, and leave a script that gives their inventory to other tools."""
    from bootstrap.config.loader import find
    from bootstrap.files import write_atomically

    argv = [sys.executable, str(ROOT / "pipeline.py"), "inventory", str(find(run.options.environment).absolute())]
    write_atomically(run.folder / "inventory.sh", f'#!/bin/sh\nexec {shlex.join(argv)} "$@"\n', mode=0o700)
    run.cluster.reach(contract, run.keys.private, give_up)


def install(run: Run) -> None:
    """Install Kubernetes on the machines, and fetch the kubeconfig."""
    recap = run.cluster.play("site", "install", skip_tags="prepare" if run.prepared else None)
    run.display.say(f"Ansible: {len(recap.tasks)} tasks, changed={len(recap.changed)}")
    run.cluster.fetch_kubeconfig()


def verify(run: Run) -> None:
    """Run every check of the cluster."""
    from infra import report

    for name in ("checks.json", *report.FILES):  # an old verdict must not stand for a new one
        (run.folder / name).unlink(missing_ok=True)
    run.cluster.play("verify", "verify", {"verify_results_file": str(run.folder / "checks.json")})
    checks = report.checks(run.folder)
    failed = [check for check in checks if not check.passed]
    if failed:
        raise VerificationError(
            f"{len(failed)} of the cluster's {len(checks)} checks failed: {', '.join(check.name for check in failed)}",
            why=failed[0].evidence,
            todo=failed[0].hint,
            log=run.folder / "report.html",
        )
    run.display.say(f"{len(checks)} of {len(checks)} checks passed")


def write_report(run: Run) -> None:
    """Write the report."""
    from infra import report

    run.display.timeline.save()
    report.write(run.folder)
    run.display.say(f"report: {run.folder / 'report.html'}")


def delete_machines(run: Run) -> None:
    """Run `terraform destroy` on whatever the state holds."""
    from infra.terraform import CONFIGURATION

    if not run.platform.starts:
        synthesize(run)  # a shared state may hold what another checkout made
    elif lab_ended(run) or not (run.folder / CONFIGURATION).exists():
        return
    try:
        run.terraform.destroy(run.display)
    except InterruptedRunError:
        raise
    except PipelineError as error:  # whatever Terraform lacks, too, such as a provider
        if not run.platform.starts:
            raise
        run.display.say(f"terraform destroy failed; the embedded cloud takes all of it along: {error}")


def stop_lab(run: Run) -> None:
    """Stop the embedded cloud, and remove all that it made."""
    run.platform.stop(run.folder / "lab", run.display)


def lab_ended(run: Run) -> bool:
    """Return whether the environment's machines are gone because the embedded cloud does not run."""
    return run.platform.ended(run.folder / "lab")


APPLY = (
    Step("preflight", "check this machine and the account", check_machine),
    Step("artifacts", "resolve binaries and images", resolve_artifacts),
    Step("lab", "start the embedded cloud", lambda run: ignore(run.endpoint), undo=stop_lab, lab_only=True),
    Step("synth", "write the Terraform stack", synthesize),
    Step("machines", "make network, load balancer and machines", make_machines, undo=delete_machines),
    Step("reach", "reach every machine by SSH", reach_machines),
    Step("install", "install Kubernetes", install),
    Step("verify", "check the cluster", verify),
    Step("report", "write the report", write_report, resume="verify"),
)


def ignore(_: object) -> None:
    """Take a value that was wanted for its making only."""


def confirm(run: Run, question: str) -> None:
    """Ask on the terminal unless `--yes` was given.

    Raises:
        RefusedError: the answer was no, or there is no terminal to ask on.
    """
    if run.options.yes:
        return
    if not sys.stdin.isatty():
        raise RefusedError("nobody is there to confirm this", why=question, todo="add --yes (make … YES=1)")
    if run.display.ask(f"{question}\nType the environment's name to go on: ").strip() != run.environment.name:
        raise RefusedError("not confirmed; nothing was changed")


def refuse_another_file(run: Run) -> None:
    """See that `build/<env>` was made from this environment file, where it is known from which.

    Raises:
        ConfigurationError: it was made from another one that names its environment the same, and is still there.
    """
    from bootstrap.config.loader import find

    if not run.origin.is_file():
        return
    file, other = find(run.options.environment), ROOT / os.fsdecode(run.origin.read_bytes())
    if other.exists() and not other.samefile(file):
        raise ConfigurationError(
            f"another file names its environment {run.environment.name}, too",
            where=str(file),
            why=f"{run.place} and its machines were made from {other}",
            todo=f"write another name into this file; if it is to take the other's place, remove {run.origin}",
        )


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
        perform(run, "preflight", "artifacts")
        ignore(run.toolchain)


def command_plan(run: Run) -> int:
    """Say what apply would change: Terraform's plan, and what Ansible would do on the machines that are there."""
    from infra.ansible import summary
    from infra.contract import decode

    with run.display.live():
        perform(run, "preflight", "artifacts", "lab", "synth")
        with run.display.stage("plan", "compare with what is there"):
            plan = run.terraform.plan(run.display)
            run.terraform.write_outputs()
        refused = refusal(run, plan)
        made = named(run, plan, (*plan.create, *plan.replace))
        standing = {node.name for node in run.cluster.nodes}
        # What Terraform finds missing cannot be asked.
        planned = run.terraform.planned_outputs() if plan.outputs else None
        contract = decode(planned) if planned else run.cluster.contract if standing else None
        askable = contract if not standing & set(made) else None
        changed = check_hosts(run, askable) if askable else []
    lines = [plan.summary(), *summary(changed)]
    lines += [f"Ansible: installs Kubernetes on {', '.join(made)}"] if made else []
    if not made and not changed:
        lines.append("Ansible: no changes" if askable else "Ansible: to be seen when Terraform has made the rest")
    lines += [f"apply would refuse this: {refused}"] if refused else []
    emit(
        run,
        {
            "terraform": plan.as_dict(),
            "ansible": {
                "asked": askable is not None,
                "changes": [asdict(change) for change in changed],
                "installs": made,
            },
            "refused": refused,
        },
        "\n".join(lines),
    )
    return 2 if run.options.detailed_exitcode and (plan.changes or changed) else 0


def refusal(run: Run, plan: Plan) -> str | None:
    """Return why apply would refuse a plan, if it would."""
    from infra import guards

    try:
        guards.check(run.cluster.nodes, plan)
    except RefusedError as error:
        return str(error)
    return None


def check_hosts(run: Run, contract: Contract) -> list[Change]:
    """Ask Ansible what it would change on the machines that are there."""
    with run.display.stage("check", "ask Ansible what it would change"):
        reach(run, contract)
        return run.cluster.play("site", "check", contract=contract, check=True).changed


def require_machines(run: Run) -> None:
    """See that the machines are known: what follows is about them.

    Raises:
        ContractError: they are not; without this it would be told in Terraform's terms, or as a file that is missing.
    """
    from infra.contract import read_outputs

    if read_outputs(run.folder).get("contract"):
        return
    given, bucket = run.given, run.environment.state.bucket
    raise ContractError(
        f"no machines of {run.environment.name} are known here",
        why="it was never applied, was destroyed since, or its apply has not come to its machines yet"
        + (f"; or another checkout has applied it, whose state is in the bucket {bucket}" if bucket else ""),
        todo=f"make apply ENV={given}{', without FROM' if run.options.start else ''}"
        + (f"; make plan ENV={given} looks what is there, and changes nothing" if bucket else ""),
    )


def command_apply(run: Run) -> None:
    """Make the environment what its file says: machines, Kubernetes, verification, report."""
    names = [step.name for step in APPLY]
    start = names.index(run.options.start) if run.options.start else 0
    if start > names.index("machines"):
        require_machines(run)
    if start > names.index("lab") and lab_ended(run):
        raise PreflightError(
            "the embedded cloud does not run, and its machines ended with it",
            todo=f"make apply ENV={run.given} makes them anew",
        )
    with run.display.live():
        perform(run, *names[start:])
    run.display.say(f"{run.environment.name} is ready: export KUBECONFIG={run.folder / 'kubeconfig'}")


def command_verify(run: Run) -> int:
    """Check the cluster and write the report."""
    require_machines(run)
    try:
        with run.display.live():
            perform(run, "verify", "report")
        code = 0
    except VerificationError as failed:
        if not (run.folder / "report.json").exists():
            raise
        # With --json, the report that tells it is the one document; without, nothing goes to stdout.
        print(f"error: {failed}", file=sys.stderr)
        code = failed.exit_code
    if run.options.json:
        print((run.folder / "report.json").read_text(encoding="utf-8"))
    return code


def command_status(run: Run) -> None:
    """Say what exists: machines, and nodes as the API sees them."""
    from bootstrap.files import claim_on
    from infra import status

    found = status.look(run.place, run.environment.state.bucket, claim_on(lock_file(run.environment)))
    emit(run, found.as_dict(), found.text())


def nothing_made(run: Run) -> bool:
    """Return whether this checkout knows, without asking Terraform, of nothing that it made for the environment.

    Raises:
        OSError: `build/<env>` is another user's.
    """
    if run.environment.state.backend != "local":
        return False  # another checkout may have made it
    if run.origin.exists() or (run.place / "terraform.tfstate").exists():
        return False  # other files are left by commands that make nothing
    return not run.platform.left(run.place / "lab")


def command_destroy(run: Run) -> None:
    """Take everything down again."""
    from infra import ansible

    if nothing_made(run):
        known = f"nothing of {run.environment.name} is there: it was never applied here, or was destroyed since"
        # The lab's machines are this machine's, and would have been found.
        lost = "; what was made with a state that is lost, or lies in another checkout, is not seen from here"
        shutil.rmtree(run.place, ignore_errors=True)
        print(known if run.platform.starts else known + lost)
        return
    confirm(run, f"This deletes the environment {run.environment.name}: machines, disks, network, load balancer.")
    ansible.end_leftovers(run.folder)
    with run.display.live():
        for step in reversed(APPLY):
            if step.undo and (run.platform.starts or not step.lab_only):
                with run.display.stage(step.name, (step.undo.__doc__ or "").rstrip(".")):
                    step.undo(run)
    shutil.rmtree(run.folder)
    run.display.console.print(f"{run.environment.name} is gone")


def command_inventory(run: Run) -> None:
    """Print the Ansible inventory (--list: as an inventory script does)."""
    import yaml

    from infra import inventory

    require_machines(run)
    if run.options.list:
        print(json.dumps(inventory.as_script_output(run.cluster.inventory(run.cluster.contract)), indent=2))
    else:
        print(yaml.safe_dump(run.cluster.inventory(run.cluster.contract), sort_keys=False), end="")


def command_kubeconfig(run: Run) -> None:
    """Fetch the kubeconfig and print its path."""
    require_machines(run)
    print(run.cluster.fetch_kubeconfig())


def command_ssh(run: Run) -> None:
    """Open a shell on a machine, or run a command there."""
    names = [node.name for node in run.cluster.nodes]
    choice = f"choose among {', '.join(names)}"
    if names and run.options.host is None:
        example = f"make ssh ENV={run.given} HOST={names[0]}"
        raise UsageError("ssh wants the name of a machine", todo=f"{example}; {choice}")
    require_machines(run)
    if run.options.host not in names:
        raise UsageError(f"no machine is called {run.options.host!r}", todo=choice)
    # No shell is wanted: ssh takes the place of this process, with the words as they are.
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


def perform(run: Run, *names: str) -> None:
    """Run steps of `APPLY` by name; an error is told with the command that resumes there.

    A verification that failed does not keep its report from being written.
    """
    steps = {step.name: step for step in APPLY}
    unverified: VerificationError | None = None
    for step in (steps[name] for name in names):
        if step.lab_only and not run.platform.starts:
            continue
        try:
            with run.display.stage(step.name, step.description):
                step.do(run)
        except (PipelineError, KeyboardInterrupt) as stop:
            error = stop if isinstance(stop, PipelineError) else stopped()
            if run.command == "apply" and not isinstance(error, RefusedError):
                error.resume = f"make apply ENV={run.given} FROM={resume_at(run, step)}"
            if not isinstance(error, VerificationError):
                raise error from stop.__cause__
            unverified = unverified or error
    if unverified:
        raise unverified


def stopped() -> InterruptedRunError:
    """Return the error of a run that was asked to stop."""
    return InterruptedRunError("stopped", todo="run the same command again: it goes on where it was")


def resume_at(run: Run, failed: Step) -> str:
    """Return the step with which an apply goes on after one failed."""
    names = [step.name for step in APPLY]
    lost = names.index(failed.name) > names.index("lab") and lab_ended(run)
    return "lab" if lost else failed.resume or failed.name


def emit(run: Run, document: object, text: str) -> None:
    """Print a command's result: one JSON document with --json, else text."""
    print(json.dumps(document, indent=2) if run.options.json else text)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    meanings = [f"  {code:<5}{meaning}" for code, meaning in exit_codes().items()]
    parser = argparse.ArgumentParser(
        prog="pipeline.py",
        description=__doc__,
        epilog="\n".join(["exit codes:", *meanings]),
        formatter_class=argparse.RawDescriptionHelpFormatter,  # else the lines of the epilog run together
    )
    parser.add_argument("--version", action="version", version="0.1.0")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, function in COMMANDS.items():
        command = commands.add_parser(name, help=(function.__doc__ or "").splitlines()[0], description=function.__doc__)
        command.add_argument("environment", metavar="ENV", help="a name in environments/, or a path to a file")
        _own_options(name, command)
    return parser.parse_args(arguments)


def _own_options(name: str, command: argparse.ArgumentParser) -> None:
    command.set_defaults(json=False, yes=False, start=None)
    if name in ("validate", "plan", "status", "verify"):
        command.add_argument("--json", action="store_true", help="print one JSON document on stdout and nothing else")
    if name in ("apply", "destroy"):
        command.add_argument("--yes", action="store_true", help="do not ask for confirmation")
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
        # Optional for argparse only, which does not know the names that there are.
        command.add_argument("host", metavar="HOST", nargs="?", help="name of a machine, such as controller-0")
        command.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")


def lock_file(environment: Environment) -> Path:
    """Return the file that a command holds while it works on an environment."""
    return ROOT / "build" / ".locks" / environment.name


def main(arguments: Sequence[str]) -> int:
    """Run a command and return the exit code."""
    options = parse(arguments)
    try:
        from bootstrap.config.loader import load
        from bootstrap.files import exclusive
        from bootstrap.process import stop_signals

        with stop_signals(_interrupt), ExitStack() as closing:
            run = Run(options.command, load(options.environment), options, closing)
            if options.command in EXCLUSIVE:
                claim = f"{run.command}, process {os.getpid()}"
                closing.enter_context(exclusive(lock_file(run.environment), run.environment.name, claim))
            if options.command not in ("validate", "graph"):  # they are about the file alone
                refuse_another_file(run)
            return COMMANDS[options.command](run) or 0
    except KeyboardInterrupt:
        return report(stopped(), options)
    except PipelineError as error:
        return report(error, options)
    except OSError as error:
        return report(unusable_file(error), options)


def _interrupt() -> None:
    raise KeyboardInterrupt


def report(error: PipelineError, options: argparse.Namespace) -> int:
    """Print an error as people or, with --json, as programs read it; return its exit code."""
    if options.json:
        print(json.dumps({"error": error.what, "exit_code": error.exit_code, "detail": str(error)}, indent=2))
    print(f"error: {error}", file=sys.stderr)
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
