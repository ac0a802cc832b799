"""The SSH key pair of an environment: made once, ed25519, readable by its owner only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from infra.config.model import Environment
from infra.errors import PreflightError
from infra.process import run


@dataclass(frozen=True)
class KeyPair:
    """The files of a key pair."""

    private: Path
    public: Path


def ensure(environment: Environment, folder: Path) -> KeyPair:
    """Return the environment's key pair; make it in `folder` if none is named and none is there yet.

    Raises:
        PreflightError: the key cannot be read, asks for a passphrase, or its public half is missing or another key's.
    """
    if environment.ssh.key:
        private = _named(environment.ssh.key)
    else:
        private = folder / "id_ed25519"
        if not private.exists():
            _generate(private, environment.name)
    return KeyPair(private, _public(private))


def _named(key: str) -> Path:
    try:
        return Path(key).expanduser().absolute()
    except RuntimeError as error:
        raise PreflightError("the SSH private key cannot be found", where=key, why=str(error)) from error


def _generate(private: Path, name: str) -> None:
    private.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # A run that died between the two files leaves no private key: it is renamed last.
    new = private.with_name("new_id_ed25519")
    for leftover in (new, new.with_suffix(".pub")):
        leftover.unlink(missing_ok=True)
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"kube-pipeline {name}", "-f", str(new)]
    run(argv, todo="see that this folder can be written and its disk has room, then run the same command again")
    new.with_suffix(".pub").replace(private.with_name(f"{private.name}.pub"))
    new.replace(private)


def _public(private: Path) -> Path:
    # ssh-keygen -y proves that the private key is readable, unencrypted and whole.
    found = run(["ssh-keygen", "-y", "-P", "", "-f", private], check=False)
    if found.code != 0:
        raise PreflightError(
            "the SSH private key cannot be used",
            where=str(private),
            why=found.stderr.strip() or "ssh-keygen refused it",
            command=found.argv,
            todo="name a readable key of mode 0600 without a passphrase under ssh.key, or none to have one made",
        )
    public = private.with_name(f"{private.name}.pub")
    todo = f"ssh-keygen -y -f {private} > {public}"
    if not public.exists():
        raise PreflightError("the SSH key has no public half beside it", where=str(public), todo=todo)
    if _bare(public.read_text(encoding="utf-8", errors="replace")) != _bare(found.stdout):
        raise PreflightError(
            "the two halves of the SSH key do not belong together",
            where=str(public),
            why="the machines would be given a key that the private one does not open",
            todo=todo,
        )
    return public


def _bare(public: str) -> list[str]:
    """Return a public key's type and bytes, without its comment."""
    return public.split()[:2]
