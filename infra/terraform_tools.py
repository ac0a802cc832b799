"""Terraform and its provider, as one command uses them."""

from __future__ import annotations

from bootstrap import platforms, toolchain
from bootstrap.config.model import Environment
from bootstrap.progress import Progress
from bootstrap.toolchain import Toolchain


class TerraformTools:
    """Terraform and its provider, found or fetched once a command: all its steps work with the same ones."""

    def __init__(self, environment: Environment, progress: Progress) -> None:
        self._environment = environment
        self._progress = progress
        self._resolved: Toolchain | None = None

    def provider_version(self) -> str:
        """Return the version of the provider that the configuration is for, empty where none is needed.

        It is known beforehand, and synthesis needs no network, unless another provider may stand in.

        Raises:
            PreflightError: neither can be had.
        """
        provider = platforms.of(self._environment).provider()
        if provider and not provider.stand_in:
            return provider.version
        return self.resolve().provider_version if provider else ""

    def resolve(self) -> Toolchain:
        """Return the tools; the first call finds or fetches them.

        Raises:
            PreflightError: one cannot be had.
        """
        if self._resolved is None:
            provider = platforms.of(self._environment).provider()
            self._resolved = toolchain.resolve(self._progress, provider, self._environment.artifacts.mirror)
        return self._resolved
