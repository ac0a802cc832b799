"""The toolchain: Terraform, the provider of the environment's cloud, and the configuration that leads to both."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from bootstrap.files import write_atomically
from bootstrap.platforms import Provider
from bootstrap.progress import Progress
from bootstrap.toolchain import store
from bootstrap.toolchain.provider import Installation, installation
from bootstrap.toolchain.terraform import program


@dataclass(frozen=True)
class Toolchain:
    """The programs of synthesis and Terraform. `terraform` may be OpenTofu; `cli_config` is its configuration file.

    `provider_version` is empty where Terraform has what the cloud needs built in.
    """

    terraform: Path
    provider_version: str
    cli_config: Path


def resolve(progress: Progress, provider: Provider | None, mirror: str | None = None) -> Toolchain:
    """Find or fetch Terraform and a provider, from the mirror of upstream where there is one.

    Raises:
        PreflightError: one can neither be found, downloaded nor built, or a download is not what was published.
        InterruptedRunError: the user stopped a download or a build; the next run goes on.
    """
    terraform = program(mirror, progress)
    found = installation(provider, terraform, mirror, progress) if provider else Installation("", "", linked=True)
    return Toolchain(terraform, found.version, _cli_config(terraform, found))


def _cli_config(terraform: Path, provider: Installation) -> Path:
    """Write Terraform's own configuration: where providers come from, and where they are kept."""
    content = f"disable_checkpoint = true\n{provider.block}"
    if not provider.linked:
        plugins = store.folder() / "plugins"
        plugins.mkdir(parents=True, exist_ok=True)
        content += f"plugin_cache_dir = {json.dumps(str(plugins))}\n"
        # Without this setting, every environment downloads its own copy of the provider, 150 MB.
        content += "plugin_cache_may_break_dependency_lock_file = true\n"
    path = store.folder() / f"{terraform.name}-{hashlib.sha256(content.encode()).hexdigest()[:12]}.tfrc"
    if not path.exists():
        write_atomically(path, content)
    return path
