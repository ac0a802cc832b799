"""The SSH key pair of an environment: made once, ed25519, readable by its owner only."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from bootstrap.config.model import Environment
from bootstrap.errors import PreflightError
from bootstrap.files import refuse_odd
from bootstrap.process import run


@dataclass(frozen=True)
class KeyPair:
    """The files of a key pair."""

    private: Path
    public: Path


def ensure(environment: Environment, folder: Path) -> KeyPair:
    """Return the environment's key pair; make it in `folder` if none is named and none is there yet.

    Raises:
        PreflightError: what `find` raises, or it cannot be made.
    """
    private = _private(environment, folder)
    if not environment.ssh.key and not private.exists():
        _generate(private, environment.name)
    return find(environment, folder)


def find(environment: Environment, folder: Path) -> KeyPair:
    """Return the environment's key pair, which is there: the one that is named, else the one in `folder`.

    Raises:
        PreflightError: the key cannot be read, asks for a passphrase, or its public half is missing or another key's.
    """
    private = _private(environment, folder)
    return KeyPair(private, _public(private, environment))


def _private(environment: Environment, folder: Path) -> Path:
    return _named(environment.ssh.key) if environment.ssh.key else folder / "id_ed25519"


def _named(key: str) -> Path:
    try:
        path = Path(key).expanduser().absolute()
    except RuntimeError as error:
        todo = "write the key file's whole path under ssh.key"
        raise PreflightError("the SSH private key cannot be found", where=key, why=str(error), todo=todo) from error
    refuse_odd(path, "name a key under ssh.key that lies in a folder without it")
    return path


def _generate(private: Path, name: str) -> None:
    private.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # The private key is renamed last: a run that dies between the two files leaves none.
    new = private.with_name("new_id_ed25519")
    for leftover in (new, new.with_suffix(".pub")):
        leftover.unlink(missing_ok=True)
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"kube-pipeline {name}", "-f", str(new)]
    run(argv, todo="see that this folder can be written and its disk has room, then run the same command again")
    new.with_suffix(".pub").replace(private.with_name(f"{private.name}.pub"))
    new.replace(private)


def _public(private: Path, environment: Environment) -> Path:
    # ssh-keygen -y proves that the private key is readable, unencrypted and whole.
    found = run(["ssh-keygen", "-y", "-P", "", "-f", private], check=False)
    if found.code != 0:
        why = found.stderr.strip() or "ssh-keygen refused it"
        raise PreflightError(
            "the SSH private key cannot be used",
            where=str(private),
            why=why,
            command=found.argv,
            todo=_remedy(private, environment, missing="No such file" in why),
        )
    public = private.with_name(f"{private.name}.pub")
    todo = f"ssh-keygen -y -f {shlex.quote(str(private))} > {shlex.quote(str(public))}"
    if not public.exists():
        raise PreflightError("the SSH key has no public half beside it", where=str(public), todo=todo)
    if bare(public.read_text(encoding="utf-8", errors="replace")) != bare(found.stdout):
        raise PreflightError(
            "the two halves of the SSH key do not belong together",
            where=str(public),
            why="the machines would be given a key that the private one does not open",
            todo=todo,
        )
    return public


def _remedy(private: Path, environment: Environment, *, missing: bool) -> str:
    """Say what to do about a private key that cannot be used, in an environment of this kind."""
    file = shlex.quote(str(private))
    if not environment.ssh.key:
        return (
            f"chmod 600 {file}; if that is not it, restore the file from a copy, or remove it to have another made,"
            " which does not open the machines that are there already"
        )
    if missing:
        made = f"make one: ssh-keygen -t ed25519 -N '' -f {file}"
        if environment.state.backend == "s3":
            return f"put the key there that all who share the state have; if nobody has one yet, {made}"
        return f"name a key that is there under ssh.key, or {made}; without ssh.key a key pair is made for you"
    todo = f"chmod 600 {file}; take a passphrase off with ssh-keygen -p -N '' -f {file}; or name another key"
    if environment.state.backend == "s3":
        return f"{todo} under ssh.key, which all who share the state need to have"
    return f"{todo}, or none to have one made, under ssh.key"


def bare(public: str) -> list[str]:
    """Return a public key's type and bytes, without its comment."""
    return public.split()[:2]
