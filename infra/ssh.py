"""SSH to the machines: ssh_config, host keys pinned at first contact, the wait until they answer, what they print."""

from __future__ import annotations

import re
import secrets
import shlex
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import cast

from tenacity import RetryCallState, RetryError, Retrying, retry_if_result
from tenacity.stop import stop_after_delay, stop_any, stop_base, stop_when_event_set

from bootstrap.errors import AnsibleError, LoginRefusedError, PipelineError
from bootstrap.files import write_atomically
from bootstrap.process import Completed, run
from bootstrap.progress import Progress
from infra.contract import Bastion, Contract, Node
from infra.platforms import Access, Jump

SHARED = "KUBE_PIPELINE_CONNECTIONS"  # in a process's environment: the folder with the connection of `share_bastion`
_ACCEPT_NEW = ("-o", "StrictHostKeyChecking=accept-new")
_KNOWN_HOSTS = re.compile(r'^\s*UserKnownHostsFile "(.+)"$', re.MULTILINE)
KEY_CHANGED = "REMOTE HOST IDENTIFICATION HAS CHANGED"
_DENIED = "Permission denied ("
FAILED = (255, 124)  # exit codes of ssh itself and of `timeout`; all others are those of the shell there
# A machine that boots may refuse for a moment what it takes later. sshd slows down those whom it refuses often.
_REFUSALS, _AFTER_REFUSAL = 8, 2  # tries in a row that end the wait, and seconds between them
_LOGIN = (
    "see that ssh.key is the key that the machines were made with, and ssh.user the user that their image makes;"
    " then apply again"
)


@dataclass(frozen=True)
class Host:
    """A machine as SSH sees it. `alias` is what its key is pinned under: its id, while that is not known its name."""

    name: str
    address: str
    alias: str

    @property
    def title(self) -> str:
        """The machine in messages."""
        return f"{self.name} ({self.address})"


def host(machine: Node | Bastion) -> Host:
    """Return a machine of the contract as SSH sees it."""
    if isinstance(machine, Bastion):
        return Host("bastion", machine.host, machine.provider_id or "bastion")
    return Host(machine.name, str(machine.private_address), machine.provider_id or machine.name)


def configuration(
    contract: Contract,
    config: Path,
    *,
    user: str,
    keys: Sequence[Path],
    known_hosts: Path,
    access: Mapping[str, Access] = MappingProxyType({}),
) -> str:
    """Return an ssh_config, to be kept in the file `config`: each machine by name and by address, opened by any key.

    `access` has by name the ways to machines that the contract does not tell.

    Host keys are pinned under the cloud's id of the machine, whatever its name and address. So a key that changes on a
    living machine is refused, and a new machine has a pin of its own, whoever made it.
    """
    lines = []
    jumps = list(dict.fromkeys(way.jump for way in access.values() if way.jump))
    for number, jump in enumerate(jumps):
        lines += _jump(f"jump-{number}", jump)
    if contract.bastion:
        lines += _entry(host(contract.bastion))
        lines += [
            f'Match originalhost bastion exec "test -S ${SHARED}/bastion"',
            f"  ControlPath ${{{SHARED}}}/bastion",
        ]
    for node in contract.nodes:
        way = access.get(node.name)
        lines += _entry(host(node), way)
        if contract.bastion:
            lines.append(_through(config, "bastion"))
        if way and way.jump:
            lines.append(_through(config, f"jump-{jumps.index(way.jump)}"))
    lines += [
        "Host *",
        f"  User {user}",
        *(f'  IdentityFile "{literal(str(key))}"' for key in keys),
        "  IdentitiesOnly yes",
        f'  UserKnownHostsFile "{literal(str(known_hosts))}"',
        "  GlobalKnownHostsFile /dev/null",
        "  StrictHostKeyChecking yes",
        "  BatchMode yes",
        "  ConnectTimeout 5",
        "  ServerAliveInterval 15",
    ]
    return "\n".join(lines) + "\n"


def share_bastion(config: Path, sockets: Path, mark: Mapping[str, str]) -> None:
    """Open one connection to the bastion, if there is one, for every ssh whose variable `SHARED` names `sockets`.

    sshd refuses further logins while ten are under way (MaxStartups), and Ansible starts fifty. An ssh that finds no
    shared connection opens its own. The shared one lasts until it is told to exit; `mark` is in its environment.
    """
    if not config.exists() or "ProxyCommand" not in config.read_text(encoding="utf-8"):
        return
    master = ("-o", "ControlMaster=yes", "-o", "ControlPersist=yes", "-o", f"ControlPath={sockets / 'bastion'}")
    run(["ssh", "-F", config, *master, "bastion", "true"], env=mark, check=False)


def pinned(alias: str, known_hosts: Path) -> bool:
    """Return whether a file of known hosts has a key under this name."""
    return any(line.split(" ")[0] == alias for line in known_hosts.read_text(encoding="utf-8").splitlines())


def name_pins_by_id(contract: Contract, known_hosts: Path) -> None:
    """Have the keys that were pinned under names, while no ids were known, under these machines' ids."""
    aliases = {machine.name: machine.alias for machine in map(host, contract.nodes)}
    aliases |= {"bastion": host(contract.bastion).alias} if contract.bastion else {}
    if known_hosts.exists():
        pins = [pin.partition(" ") for pin in known_hosts.read_text(encoding="utf-8").splitlines(keepends=True)]
        renamed = "".join(f"{aliases.get(alias, alias)}{space}{key}" for alias, space, key in pins)
        write_atomically(known_hosts, renamed, mode=0o600)


def drop_other_pins(contract: Contract, known_hosts: Path) -> None:
    """Keep the pinned keys of these machines alone.

    A pin under a mere name goes, too: there may be another machine of that name since.
    """
    ids = {node.provider_id for node in contract.nodes}
    ids |= {contract.bastion.provider_id} if contract.bastion else set()
    if known_hosts.exists():
        pins = known_hosts.read_text(encoding="utf-8").splitlines(keepends=True)
        write_atomically(known_hosts, "".join(pin for pin in pins if pin.split(" ")[0] in ids), mode=0o600)


def wait_until_reachable(
    contract: Contract,
    config: Path,
    progress: Progress,
    advice: str,
    patience: float = 300,
    give_up: threading.Event | None = None,
) -> None:
    """Wait until every machine answers SSH, at most `patience` seconds; pin the keys that are new.

    The bastion comes first: ssh checks its key too, and accepts an unknown one only for the destination itself.

    Raises:
        AnsibleError: a machine did not answer in time, or before `give_up` was set, or its key has changed; `advice`
            is for the first two. Or it refuses the login.
    """
    failed = threading.Event()
    events = [failed, *([give_up] if give_up else [])]
    stop = stop_any(stop_after_delay(patience), *(stop_when_event_set(event) for event in events))

    def reach(machine: Node | Bastion) -> None:
        there = host(machine)
        progress.update(there.name, "waiting for SSH")
        _reach(there, config, stop, advice)
        progress.update(there.name, "answers SSH", done=True)

    if contract.bastion:
        reach(contract.bastion)
    with ThreadPoolExecutor(max_workers=32) as pool:
        try:
            list(pool.map(reach, contract.nodes))
        except BaseException:
            failed.set()
            raise


def unreachable(
    contract: Contract, config: Path, progress: Progress, advice: str, patience: float = 30
) -> dict[str, PipelineError]:
    """Return, by name, the machines that cannot be reached within `patience` seconds, each with the reason."""

    def reach(**part: object) -> PipelineError | None:
        try:
            wait_until_reachable(contract.model_copy(update=part), config, progress, advice, patience)
        except AnsibleError as error:
            return error
        return None

    if error := reach(nodes=()):
        return {node.name: error for node in contract.nodes}
    with ThreadPoolExecutor(max_workers=32) as pool:
        found = pool.map(lambda node: reach(bastion=None, nodes=(node,)), contract.nodes)
        return {node.name: error for node, error in zip(contract.nodes, found, strict=True) if error}


def _reach(machine: Host, config: Path, stop: stop_base, advice: str) -> None:
    attempts = Retrying(
        retry=retry_if_result(lambda done: done.code != 0 and KEY_CHANGED not in done.stderr),
        stop=stop_any(stop, _RefusedOften()),
        wait=lambda state: _AFTER_REFUSAL if _refuses(_last(state)) else 0.5,
    )
    try:
        done = attempts(_try, machine.name, config)
    except RetryError as late:
        last: Completed = late.last_attempt.result()
        seconds = time.monotonic() - attempts.statistics["start_time"]
        said = (last.stderr.strip() or last.stdout.strip()).splitlines()
        why = said[-1] if said else "no connection"
        if _refuses(last):
            raise LoginRefusedError(
                "the machine refuses the login", where=machine.title, why=why, command=last.argv, todo=_LOGIN
            ) from late
        raise AnsibleError(
            f"the machine did not answer SSH within {seconds:.0f} s",
            where=machine.title,
            why=why,
            command=last.argv,
            todo=advice,
        ) from late
    if done.code != 0:
        raise key_changed(machine, config, done)


class _RefusedOften(stop_base):
    """Ends the tries on a machine that refuses the login again and again."""

    times = 0

    def __call__(self, retry_state: RetryCallState) -> bool:
        self.times = self.times + 1 if _refuses(_last(retry_state)) else 0
        return self.times >= _REFUSALS


def _last(state: RetryCallState) -> Completed:
    return cast("Future[Completed]", state.outcome).result()  # there was a try


def _refuses(done: Completed) -> bool:
    """Tell whether a machine was there, and did not let the user run anything."""
    return _DENIED in done.stderr or done.code not in (0, *FAILED)


def _try(name: str, config: Path) -> Completed:
    # accept-new pins an unknown key and still refuses one that differs from its pin.
    # `timeout` ends a try that hangs after the connection, which ConnectTimeout does not.
    return run(["timeout", "30", "ssh", "-F", config, *_ACCEPT_NEW, name, "true"], check=False)


def key_changed(machine: Host, config: Path, done: Completed) -> AnsibleError:
    """Return the error for a machine whose host key is not its pinned one, as ssh said when it was `done`."""
    named = _KNOWN_HOSTS.search(config.read_text(encoding="utf-8"))
    known_hosts = plain(named[1]) if named else "known_hosts"
    return AnsibleError(
        "the machine's SSH host key is not the one pinned at first contact",
        where=machine.title,
        why="another machine answers at this address, or this one was given new keys outside of this pipeline",
        output=done.stderr,
        todo="find out which; if the change is yours, forget the old key and apply again: "
        + shlex.join(["ssh-keygen", "-R", machine.alias, "-f", known_hosts]),
    )


def literal(text: str) -> str:
    """Return a text as ssh_config has it: ssh would replace a % and what follows."""
    return text.replace("%", "%%")


def plain(text: str) -> str:
    """Return what `literal` was made of."""
    return text.replace("%%", "%")


def as_root(command: str, password: str | None) -> str:
    """Return a command of a shell that runs another one as root; sudo reads the password from standard input."""
    return f"sudo {command}" if password is None else f"sudo -S -k -p '' {command}"


def output(config: Path, host: str, command: str, stdin: str | None = None) -> str:
    """Return what a command prints on a machine, without what the user's shell there prints of its own.

    A shell may greet in its start files, and what it prints is in the same stream. So marks tell where the command's
    own output begins, and that it came to its end.

    Raises:
        AnsibleError: the command failed, or its output is not whole.
    """
    mark = secrets.token_hex(16)
    script = f"echo {mark} && {command} && echo {mark}"
    done = run(["ssh", "-F", config, host, shlex.join(["sh", "-c", script])], stdin=stdin, check=False)
    _, begun, rest = done.stdout.partition(f"{mark}\n")
    found, ended, _ = rest.rpartition(f"{mark}\n")
    if done.code == 0 and begun and ended:
        return found
    why = "the answer is not whole" if done.code == 0 else f"exit code {done.code}"
    raise AnsibleError("a command failed there", where=host, why=done.stderr.strip() or why, command=done.argv)


def _entry(machine: Host, way: Access | None = None) -> list[str]:
    names = dict.fromkeys([machine.name, machine.address])
    address = way.address if way else machine.address
    lines = [f"Host {' '.join(names)}", f"  HostName {address}", f"  HostKeyAlias {machine.alias}"]
    return [*lines, f"  Port {way.port}", f"  User {way.user}"] if way else lines


def _jump(name: str, jump: Jump) -> list[str]:
    """Return the entry of a host between, which is not ours: whoever runs the pipeline has the keys and knows it."""
    lines = [f"Host {name}", f"  HostName {jump.host}", f"  Port {jump.port}"]
    lines += [f"  User {jump.user}"] if jump.user else []
    return [*lines, "  IdentitiesOnly no", "  UserKnownHostsFile ~/.ssh/known_hosts"]


def _through(config: Path, name: str) -> str:
    """Return what ProxyJump does, which does not quote the name of the file."""
    return f"  ProxyCommand ssh -F {literal(shlex.quote(str(config)))} -W [%h]:%p {name}"
