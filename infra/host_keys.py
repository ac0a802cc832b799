"""Host keys of machines that are new to a checkout: who vouches for each, as OpenSSH itself decides that.

The user's known_hosts may: hashed names, [HOST]:PORT, revoked keys and authorities that sign host keys are ssh's own
business. DNS may, by SSHFP records that the resolver calls authentic. Else a person compares fingerprints.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bootstrap.errors import AnsibleError
from bootstrap.process import Completed
from bootstrap.process import run as execute
from infra.platforms import Access
from infra.platforms.hosts import UNANSWERED
from infra.ssh import literal

Ssh = Callable[[Sequence[str]], Completed]  # logs in on one machine with these further options

_SERVED = re.compile(r"Server host (?:key|certificate): (\S+) (SHA256:[A-Za-z0-9+/]+)")
_REFUSED, _UNKNOWN = "Host key verification failed.", re.compile(r"No \S+ host key is known for ")
_REVOKED = " was revoked and you have requested strict checking"
_OFFENDING = re.compile(r"Offending .*key in (\S+)")
_AUTHENTIC = re.compile(r"found \d+ secure fingerprints in DNS")
_MATCHING = re.compile(r"(?<!mis)matching host key fingerprint found in DNS")
_ALIAS = re.compile(r"\s*HostKeyAlias ")
_CERTIFICATE = "-cert-v01@openssh.com"
_SIGNED_BY = {"ssh-rsa": "rsa-sha2-512,rsa-sha2-256"}  # a key's algorithms, where they are not called as it is


@dataclass(frozen=True)
class HostKey:
    """A machine's key: its line of known_hosts under the machine's alias, and who vouches for it, if anybody does."""

    line: str
    fingerprint: str  # and what kind of key it is
    vouched: str


@dataclass(frozen=True)
class _Seen:
    """What a machine served: the kind of its key, the fingerprint, and who vouches for it."""

    kind: str
    fingerprint: str
    vouched: str


def look(way: Access, ssh: Ssh, file: Path, config: str) -> HostKey:
    """Have ssh look at a machine's key, and write it to `file`; it logs in nowhere.

    `config` is the ssh_config with the machine, for a look under the name that the user's files and DNS know.

    Raises:
        AnsibleError: the machine does not answer, or its key is not the one that is known.
    """
    own = file.with_name(f"{file.name}.config")
    own.write_text("".join(line for line in config.splitlines(keepends=True) if not _ALIAS.match(line)))
    seen = _judged(way, ssh, own)
    algorithms = _SIGNED_BY.get(seen.kind, seen.kind)
    wanted = ("StrictHostKeyChecking=accept-new", f"HostKeyAlgorithms={algorithms}", "HashKnownHosts=no")
    done = ssh(_options(f'UserKnownHostsFile="{literal(str(file))}"', *wanted))
    if not file.exists():
        raise unanswered(done)
    _, fingerprint, *_, kind = execute(["ssh-keygen", "-lf", file]).stdout.split()
    if fingerprint != seen.fingerprint:
        raise AnsibleError(
            "the machine's host key is another one each time",
            why=f"it was {seen.fingerprint}, then {fingerprint}: two machines share the address, or somebody is"
            " between",
            todo="find out which machine has the address, then apply again",
        )
    return HostKey(file.read_text(encoding="utf-8"), f"{fingerprint} {kind}", seen.vouched)


def unanswered(done: Completed) -> AnsibleError:
    """Return the error for a machine that ssh did not come to."""
    said = [line for line in done.stderr.strip().splitlines() if not line.startswith("debug1: ")]
    why = said[-1] if said else f"exit code {done.code}"
    return AnsibleError("no answer to SSH", why=why, todo=UNANSWERED)


def _judged(way: Access, ssh: Ssh, config: Path) -> _Seen:
    known = Path(way.known_hosts).expanduser()
    name = way.address if way.port == 22 else f"[{way.address}]:{way.port}"
    files = (f'UserKnownHostsFile="{literal(str(known))}"', "GlobalKnownHostsFile=/etc/ssh/ssh_known_hosts")
    # With `ask`, ssh tells what DNS says, and leaves the decision to the files.
    rules = ("StrictHostKeyChecking=yes", "VerifyHostKeyDNS=ask", "UpdateHostKeys=no")
    done = ssh(["-v", "-F", str(config), *_options(*files, *rules)])
    served = _SERVED.search(done.stderr)
    if not served:
        raise unanswered(done)
    kind, fingerprint = served[1].removesuffix(_CERTIFICATE), served[2]
    if _REFUSED not in done.stderr:
        own = _knows(known, name) or _knows(known, way.address)
        return _Seen(kind, fingerprint, str(known) if own else files[1].partition("=")[2])
    if not _UNKNOWN.search(done.stderr) or _knows(known, name):
        raise _contradiction(done, known, name, fingerprint)
    if not _AUTHENTIC.search(done.stderr):
        return _Seen(kind, fingerprint, "")
    if not _MATCHING.search(done.stderr):
        raise AnsibleError(
            "the machine's host key is not the one that DNS has",
            why=f"it shows {fingerprint}, and the SSHFP records of {way.address} name others: another machine answers,"
            " or the records are old",
            todo="find out which. If the key is right, mend the records (`ssh-keygen -r NAME` on the machine prints"
            f" them), or add the key to {known}; then apply again",
        )
    return _Seen(kind, fingerprint, "authentic SSHFP records")


def _knows(known: Path, name: str) -> bool:
    """Tell whether a file of known hosts has anything on a machine, hashed or not."""
    return known.exists() and execute(["ssh-keygen", "-F", name, "-f", known], check=False).code == 0


def _contradiction(done: Completed, known: Path, name: str, fingerprint: str) -> AnsibleError:
    place = _OFFENDING.search(done.stderr)
    file = place[1].rpartition(":")[0] if place else known
    if _REVOKED in done.stderr:
        return AnsibleError(
            "the machine's host key is revoked in known_hosts",
            why=f"it shows {fingerprint}, which must not be used any more: somebody else may have it",
            todo="give the machine new host keys, then apply again",
        )
    return AnsibleError(
        "the machine's host key is not the one in known_hosts",
        why=f"it shows {fingerprint}, and {place[1] if place else known} has another one for {name}, or an authority"
        " that did not sign it: another machine answers at this address, or this one was installed anew",
        todo=f"find out which. If the key is right, `ssh-keygen -R '{name}' -f {file}`, or add it there; then apply"
        " again",
    )


def _options(*options: str) -> list[str]:
    return [word for option in (*options, "PreferredAuthentications=none") for word in ("-o", option)]
