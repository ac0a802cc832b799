"""The first login on machines that were there before: their host keys are confirmed, and they get the pipeline's key.

A password is given to OpenSSH by the program that it asks for one, and to sudo on its standard input: it is on no
command line and in no file.
"""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bootstrap.errors import AnsibleError, RefusedError
from bootstrap.process import Completed
from bootstrap.process import run as execute
from infra.cluster import Cluster
from infra.passwords import Passwords
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
_TODO = (
    "see that hosts.access (user, port, jump, key, password) is right for it, or bring the key and the rule of sudo"
    " there yourself; then apply again"
)


@dataclass(frozen=True)
class FirstLogin:
    """The machines whose ssh_config is written, the ways to them by name, and the public key to bring."""

    machines: Cluster
    ways: Mapping[str, Access]
    public_key: str

    def perform(self) -> None:
        """Let the pipeline's key open all machines, and their users use sudo without a password.

        Raises:
            RefusedError: host keys were not confirmed.
            AnsibleError: a machine cannot be reached, or lets nobody in.
            PreflightError: a password cannot be had.
        """
        passwords = Passwords(self.machines.run.display)
        self._confirm()
        closed = self._failing(self.ways, lambda name: self._ssh(name, "true"))
        for name in self._failing(closed, self._bring_key):
            passwords.of(name, self.ways[name])  # asked for before the first of many uses it
        shut = self._failing(closed, lambda name: self._bring_key(name, passwords))
        self._refuse(shut, "the machine lets nobody in")
        asking = self._failing(self.ways, lambda name: self._ssh(name, _ROOT))
        for name in asking:
            passwords.of(name, self.ways[name])
        shut = self._failing(asking, lambda name: self._bring_rule(name, passwords))
        self._refuse(shut, "sudo there does not take the password")
        shut = self._failing(asking, lambda name: self._ssh(name, _ROOT))
        self._refuse(shut, f"sudo there asks for a password in spite of {RULE}")
        if done := {**dict.fromkeys(closed), **dict.fromkeys(asking)}:
            self.machines.run.display.say(f"the pipeline's key opens {', '.join(done)}")

    def _failing(self, names: Iterable[str], act: Callable[[str], Completed]) -> dict[str, Completed]:
        """Do something on machines, on many at once; return those on which it failed."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            done = dict(zip(names, pool.map(act, names), strict=True))
        return {name: result for name, result in done.items() if result.code != 0}

    def _refuse(self, failed: Mapping[str, Completed], what: str) -> None:
        for name, done in failed.items():
            said = done.stderr.strip().splitlines()
            others = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
            why = said[-1] if said else f"exit code {done.code}"
            way = self.ways[name]
            where = f"{name} ({way.user}@{way.address}:{way.port}){others}"
            raise AnsibleError(what, where=where, why=why, command=done.argv, todo=_TODO)

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

    def _bring_key(self, name: str, passwords: Passwords | None = None) -> Completed:
        """Bring the key by the user's own keys, or by the password."""
        way = self.ways[name]
        options = ["-o", "IdentitiesOnly=no", *(["-i", str(Path(way.key).expanduser())] if way.key else [])]
        command = shlex.join(["sh", "-c", _BRING_KEY])
        if passwords is None:
            return self._ssh(name, command, options, stdin=f"{self.public_key}\n")
        options += ["-o", "BatchMode=no", "-o", "NumberOfPasswordPrompts=1"]
        return self._ssh(name, command, options, stdin=f"{self.public_key}\n", password=passwords.of(name, way))

    def _bring_rule(self, name: str, passwords: Passwords) -> Completed:
        command = shlex.join(["sudo", "-S", "-k", "-p", "", "sh", "-c", _BRING_RULE])
        return self._ssh(name, command, stdin=f"{passwords.of(name, self.ways[name])}\n")

    def _confirm(self) -> None:
        """Pin the host keys that are new, once they are known to the user or confirmed."""
        new = [node.name for node in self.machines.contract.nodes if not self.machines.pinned(node)]
        if not new:
            return
        with tempfile.TemporaryDirectory(prefix="host-keys-") as folder:
            files = {name: Path(folder, name) for name in new}
            seen = self._failing(new, lambda name: self._look(name, files[name]))
            self._refuse({name: done for name, done in seen.items() if not files[name].exists()}, "no answer to SSH")
            shown = [f"  {name}: {_fingerprint(files[name])}" for name in new]
            self.machines.run.display.say("\n".join(["the machines' SSH host keys, new to this checkout:", *shown]))
            if not agreed(self.machines.run, "Are these the machines' keys?"):
                raise RefusedError(
                    "the machines' host keys are not confirmed",
                    todo="compare them with what `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` prints on each"
                    " machine, and confirm them on a terminal or by --yes (make … YES=1)",
                )
            self.machines.pin("".join(path.read_text(encoding="utf-8") for path in files.values()))

    def _look(self, name: str, file: Path) -> Completed:
        """Have ssh write a machine's host key down; it logs in nowhere."""
        wanted = (f'UserKnownHostsFile="{file}"', "StrictHostKeyChecking=accept-new", "PreferredAuthentications=none")
        return self._ssh(name, "true", [word for option in (*wanted, "HashKnownHosts=no") for word in ("-o", option)])


def _fingerprint(file: Path) -> str:
    _, fingerprint, *_, kind = execute(["ssh-keygen", "-lf", file]).stdout.split()
    return f"{fingerprint} {kind}"


def _asking(program: Path, password: str) -> dict[str, str]:
    """Write the program that ssh asks for a password; return the variables with which it does, and answers."""
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "${_VARIABLE}"\n', encoding="utf-8")
    program.chmod(0o700)
    return {"SSH_ASKPASS": str(program), "SSH_ASKPASS_REQUIRE": "force", _VARIABLE: password}
