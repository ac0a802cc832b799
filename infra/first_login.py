"""The first login on machines that were there before: their host keys are confirmed, and they get the pipeline's key.

A password is given to OpenSSH by the program that it asks for one, and to sudo on its standard input: it is on no
command line and in no file.
"""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from bootstrap.errors import AnsibleError, PipelineError, PreflightError, RefusedError
from bootstrap.process import Completed
from bootstrap.process import run as execute
from infra import host_keys, ssh
from infra.cluster import Cluster
from infra.host_keys import HostKey
from infra.platforms import Access
from infra.run import agreed

RULE = "/etc/sudoers.d/zz-kube-pipeline"  # the last rule that fits a user decides, and files are read by their names
_AT_ONCE = 32
_VARIABLE = "KUBE_PIPELINE_FIRST_PASSWORD"  # in the environment of ssh, and of the program that it asks
_BRING_KEY = """\
set -eu; umask 077; mkdir -p ~/.ssh; touch ~/.ssh/authorized_keys; read -r key
grep -qxF "$key" ~/.ssh/authorized_keys || printf '%s\\n' "$key" >>~/.ssh/authorized_keys
"""
# A file of sudo's that is wrong shuts everybody out: it is checked before it has its place.
_BRING_RULE = f"""\
set -eu; umask 077; new=$(mktemp); printf '%s ALL=(ALL) NOPASSWD: ALL\\n' "$SUDO_USER" >"$new"
visudo -c -q -f "$new"; install -m 0440 "$new" {RULE}; rm "$new"
"""
_ROOT = "test $(id -u) = 0 || sudo -n true"
_TAKE_RULE = f"test $(id -u) = 0 || sudo -n rm -f {RULE} || true"  # sudo asks no more where there is one
_SUDO = "sudo -S -k -p ''"  # it takes the password from standard input, whether or not it took it a moment ago
_DENIED, _NO_TERMINAL = "Permission denied", "you must have a tty"
_TODO = (
    "see that hosts.access (user, port, jump, key, password) is right for it, or bring the key and the rule of sudo"
    " there yourself; then apply again"
)
_REQUIRES_TERMINAL = (
    "its sudoers has `Defaults requiretty`, and neither Ansible nor this pipeline has a terminal there: add"
    " `Defaults:{} !requiretty` to it (`visudo`), then apply again"
)


@dataclass(frozen=True)
class FirstLogin:
    """The machines whose ssh_config is written, the ways to them by name, and the public key to bring.

    `problems` are those that keep machines out, by name: what is found on one is no reason to leave others unasked.
    `silent` are the machines among them that do not answer.
    """

    machines: Cluster
    ways: Mapping[str, Access]
    public_key: str
    problems: dict[str, PipelineError] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)

    def perform(self) -> None:
        """Let the pipeline's key open all machines, and their users use sudo; note each machine's `problems`.

        Raises:
            RefusedError: host keys were not confirmed.
        """
        self._confirm()
        opened = self._open()
        eased = self._ease()
        if done := {name: None for name in (*opened, *eased) if name not in self.problems}:
            self.machines.run.display.say(f"the pipeline's key opens {', '.join(done)}")

    def _open(self) -> list[str]:
        """Bring the key to the machines that it does not open; return which these were."""
        failing = self._failing(self._well(), lambda name: self._ssh(name, "true"))
        closed = [name for name, done in failing.items() if _DENIED in done.stderr]
        for name in failing.keys() - {*closed}:
            self._note(name, self._unopened(name, failing[name]))
        asking = self._with_password(self._failing(closed, self._bring_key))
        for name, done in self._failing(asking, lambda name: self._bring_key(name, self._password(name))).items():
            self._note(name, self._error(done, "the machine lets nobody in"))
        return closed

    def _unopened(self, name: str, done: Completed) -> AnsibleError:
        """Return the error for a machine that did not get as far as to ask for a key."""
        if ssh.KEY_CHANGED in done.stderr:
            [node] = [node for node in self.machines.contract.nodes if node.name == name]
            return ssh.key_changed(ssh.host(node), self.machines.run.workspace.ssh_config, done)
        if done.code in ssh.FAILED:
            self.silent.add(name)
            return host_keys.unanswered(done)
        return self._error(done, "the user's shell there runs no command", "give the user a shell, then apply again")

    def _ease(self) -> list[str]:
        """See that users become root as they are meant to; return on which machines sudo got a rule."""
        staying = [name for name in self._well() if self.ways[name].sudo == "ask"]
        self._failing(staying, lambda name: self._ssh(name, _TAKE_RULE))
        failing = self._failing(self._well(), lambda name: self._ssh(name, _ROOT))
        for name, done in failing.items():
            if _NO_TERMINAL in done.stderr:
                todo = _REQUIRES_TERMINAL.format(self.ways[name].user)
                self._note(name, self._error(done, "sudo there wants a terminal", todo))
        asking = self._with_password([name for name in failing if name not in self.problems])
        for name, done in self._failing(asking, self._try_password).items():
            self._note(name, self._error(done, "sudo there does not take the password"))
        eased = [name for name in asking if name not in self.problems and name not in staying]
        for name, done in self._failing(eased, lambda name: self._ssh(name, _ROOT)).items():
            self._note(name, self._error(done, f"sudo there asks for a password in spite of {RULE}"))
        return eased

    def _well(self) -> list[str]:
        return [name for name in self.ways if name not in self.problems]

    def _note(self, name: str, error: PipelineError) -> None:
        way = self.ways[name]
        error.where = f"{name} ({way.user}@{way.address}:{way.port})"
        self.problems[name] = error

    def _failing(self, names: Iterable[str], act: Callable[[str], Completed]) -> dict[str, Completed]:
        """Do something on machines, on many at once; return those on which it failed."""
        names = list(names)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            done = dict(zip(names, pool.map(act, names), strict=True))
        return {name: result for name, result in done.items() if result.code != 0}

    @staticmethod
    def _error(done: Completed, what: str, todo: str = _TODO) -> AnsibleError:
        said = done.stderr.strip().splitlines()
        return AnsibleError(what, why=said[-1] if said else f"exit code {done.code}", command=done.argv, todo=todo)

    def _password(self, name: str) -> str:
        return self.machines.run.passwords.of(name, self.ways[name])

    def _with_password(self, names: Iterable[str]) -> list[str]:
        """Have the passwords, which many use at once; return the machines that have one."""
        found = []
        for name in names:
            try:
                self._password(name)
            except PreflightError as error:
                self._note(name, error)
            else:
                found.append(name)
        return found

    def _ssh(
        self,
        name: str,
        command: str,
        options: Sequence[str] = (),
        *,
        stdin: str | None = None,
        password: str | None = None,
    ) -> Completed:
        """Run a command on a machine; `password` is for a login whose options let ssh ask for one."""
        path = self.machines.run.workspace.ssh_config
        with tempfile.TemporaryDirectory(prefix="askpass-") as folder:
            asked = None if password is None else _asking(Path(folder, "askpass"), password)
            argv = ["timeout", "60", "ssh", "-F"]
            return execute([*argv, path, *options, name, command], env=asked, stdin=stdin, check=False)

    def _bring_key(self, name: str, password: str | None = None) -> Completed:
        """Bring the key by the key of hosts.access, by those of the user's agent, or by the password.

        sshd ends a login after six tries, and each key is one: an agent's keys come before what was given.
        """
        way = self.ways[name]
        if password is not None:
            methods = "PreferredAuthentications=keyboard-interactive,password"
            options = ["-o", methods, "-o", "BatchMode=no", "-o", "NumberOfPasswordPrompts=1"]
        elif way.key:
            options = ["-o", "IdentitiesOnly=yes", "-i", str(Path(way.key).expanduser())]
        else:
            options = ["-o", "IdentitiesOnly=no"]
        command = shlex.join(["sh", "-c", _BRING_KEY])
        return self._ssh(name, command, options, stdin=f"{self.public_key}\n", password=password)

    def _try_password(self, name: str) -> Completed:
        """Give sudo the password; it gets a rule with which it asks for none, unless it is to stay as it is."""
        stays = self.ways[name].sudo == "ask"
        command = f"{_SUDO} true" if stays else f"{_SUDO} {shlex.join(['sh', '-c', _BRING_RULE])}"
        return self._ssh(name, command, stdin=f"{self._password(name)}\n")

    def _confirm(self) -> None:
        """Pin the host keys that are new, once somebody vouches for them: the user's files, DNS or the user."""
        new = [node.name for node in self.machines.contract.nodes if not self.machines.pinned(node)]
        with tempfile.TemporaryDirectory(prefix="host-keys-") as folder, ThreadPoolExecutor(_AT_ONCE) as pool:
            config = self.machines.run.workspace.ssh_config.read_text(encoding="utf-8")
            seen = dict(zip(new, pool.map(lambda name: self._look(name, Path(folder, name), config), new), strict=True))
        found = {name: key for name, key in seen.items() if isinstance(key, HostKey)}
        for name, error in seen.items():
            if isinstance(error, PipelineError):
                self._note(name, error)
        vouched = {name: key for name, key in found.items() if key.vouched}
        for name, key in vouched.items():
            self.machines.run.display.say(f"{name}: its SSH host key {key.fingerprint} is known from {key.vouched}")
        if vouched:
            self.machines.pin("".join(key.line for key in vouched.values()))
        if unknown := {name: key for name, key in found.items() if not key.vouched}:
            self._let_confirm(unknown)

    def _look(self, name: str, file: Path, config: str) -> HostKey | PipelineError:
        try:
            return host_keys.look(self.ways[name], lambda options: self._ssh(name, "true", options), file, config)
        except AnsibleError as error:
            return error

    def _let_confirm(self, unknown: Mapping[str, HostKey]) -> None:
        shown = "\n".join(f"  {name}: {key.fingerprint}" for name, key in unknown.items())
        self.machines.run.display.say(f"the machines' SSH host keys, new to this checkout:\n{shown}")
        if not agreed(self.machines.run, "Are these the machines' keys?"):
            raise RefusedError(
                "the machines' host keys are not confirmed",
                why=f"neither hosts.access.known_hosts nor DNS knows them, and nobody has said that they are right:\n"
                f"{shown}" + "".join(f"\n{error}" for error in self.problems.values()),
                todo="compare them with what `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` prints on each machine."
                " Where they are right: confirm them on a terminal, or by --yes (make … YES=1); or add them to"
                " ~/.ssh/known_hosts, or to a file that hosts.access.known_hosts names; or have their SSHFP records in"
                " a signed zone, with ssh_address a name and a resolver that checks it (`options edns0 trust-ad` in"
                " resolv.conf); then apply again",
            )
        self.machines.pin("".join(key.line for key in unknown.values()))


def _asking(program: Path, password: str) -> dict[str, str]:
    """Write the program that ssh asks for a password; return the variables with which it does, and answers."""
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "${_VARIABLE}"\n', encoding="utf-8")
    program.chmod(0o700)
    return {"SSH_ASKPASS": str(program), "SSH_ASKPASS_REQUIRE": "force", _VARIABLE: password}
