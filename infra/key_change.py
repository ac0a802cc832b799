"""Another SSH key for machines that stand: the cloud hands a key to a machine only when it is made."""

from __future__ import annotations

import re
import shlex
import tempfile
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bootstrap import keys
from bootstrap.errors import LoginRefusedError, PipelineError, RefusedError
from bootstrap.files import write_atomically
from infra import cluster, key_pair, ssh
from infra.contract import Contract
from infra.run import Run
from infra.terraform import Terraform
from infra.terraform_events import Plan, key_before

_IDENTITY = re.compile(r'^\s*IdentityFile "(.+)"$', re.MULTILINE)
_OFFERED = 5  # sshd hears no more than six keys at a login
_FILE = '"$HOME/.ssh/authorized_keys"'


def candidates(run: Run, plan: Plan) -> list[Path]:
    """Return the private keys that may open the standing machines: the environment's, and while it changes older ones.

    Those are known from ssh_config, which names them until all machines have the new one. A file may be away for a
    while, and is named all the same.
    """
    new = key_pair.find(run).private
    config = run.workspace.ssh_config
    named = _IDENTITY.findall(config.read_text(encoding="utf-8")) if plan.replaces_key and config.exists() else []
    return list(dict.fromkeys([new, *(Path(ssh.plain(path)) for path in named)]))[:_OFFERED]


def roll(run: Run, contract: Contract, terraform: Terraform, plan: Plan, missing: Collection[str]) -> None:
    """Give the standing machines the environment's key, before Terraform forgets the one that they have.

    The new one is added to all, tried on all, and only then the old one is taken away, so it can be stopped and
    repeated at any point. `missing` are the names of machines that are not there, or about to go.

    Raises:
        RefusedError: a machine does not take the new key, and the old one is not here; or a machine is stopped.
        AnsibleError: a machine cannot be reached.
    """
    if not plan.replaces_key:
        return
    before, after = keys.bare(key_before(terraform.planned(), run.platform)), key_pair.find(run)
    new = after.public.read_text(encoding="utf-8").strip()
    if before == keys.bare(new):  # another comment
        return
    if run.absent:
        raise RefusedError(
            "another SSH key has to reach every machine, and some are stopped",
            where=", ".join(run.absent),
            todo="let apply start them: add --yes (make … YES=1)",
        )
    standing = tuple(node for node in contract.nodes if node.name not in missing)
    bastion = None if "bastion" in missing else contract.bastion
    machines = cluster.of(run, contract.model_copy(update={"nodes": standing, "bastion": bastion}))
    machines.configure_ssh(candidates(run, plan))
    unreachable = machines.unreachable()
    refuse_locked_out(unreachable)
    for error in unreachable.values():
        raise error
    names = [*(["bastion"] if bastion else []), *(node.name for node in standing)]
    config = run.workspace.ssh_config
    run.display.update("SSH key", f"adding the new one on {len(names)} machines")
    _on_each(names, config, _add(new))
    with tempfile.TemporaryDirectory(prefix="kube-pipeline-") as folder:
        alone = Path(folder, "config")  # which has no other key
        text = _IDENTITY.sub("", config.read_text(encoding="utf-8"))
        write_atomically(alone, f'{text}  IdentityFile "{ssh.literal(str(after.private))}"\n', mode=0o600)
        _on_each(names, alone, "true")
        _on_each(names, alone, _remove(before))
    run.display.update("SSH key", "the new one opens every machine, the old one none", done=True)


def refuse_locked_out(unreachable: Mapping[str, PipelineError]) -> None:
    """See that the key that the machines have is here, as the reasons tell why some cannot be reached.

    Raises:
        RefusedError: it is not.
    """
    refused = [error for error in unreachable.values() if isinstance(error, LoginRefusedError)]
    if refused:
        raise RefusedError(
            "ssh.key is not the key that the machines have, and that one is not here",
            where=", ".join(dict.fromkeys(str(error.where) for error in refused)),
            why=refused[0].why,
            todo="set ssh.key back to it and apply, then change it again from this checkout. Where it is lost, add the"
            " public half of the new one to ~/.ssh/authorized_keys on every machine, then apply",
        )


def _add(public: str) -> str:
    """Return the command that adds a public key, once; the file's last line may have no end."""
    has = f"grep -qF {shlex.quote(' '.join(keys.bare(public)))} {_FILE}"
    return f"{{ {has} || {{ sed -i --follow-symlinks '$a\\' {_FILE} && echo {shlex.quote(public)} >> {_FILE}; }}; }}"


def _remove(public: list[str]) -> str:
    """Return the command that takes a public key away, with its options and its comment."""
    line = rf"\|{public[1]}|d"
    return f"sed -i --follow-symlinks {shlex.quote(line)} {_FILE}"


def _on_each(names: Collection[str], config: Path, command: str) -> None:
    with ThreadPoolExecutor(max_workers=8) as pool:  # sshd takes ten logins at a time
        list(pool.map(lambda name: ssh.output(config, name, command), names))
