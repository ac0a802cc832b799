"""The source of a cloud's provider: the mirror, the registry, else a stand-in if the platform has one."""

from __future__ import annotations

import json
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import httpx

from bootstrap.artifacts.download import Source, Unreachable, UntrustedError, mirrored
from bootstrap.errors import PreflightError
from bootstrap.platforms import Provider
from bootstrap.progress import Progress
from bootstrap.toolchain import store

_PATIENCE = 5  # seconds
_ASK_AGAIN = 24 * 3600  # seconds until a registry that could not be reached is tried again


@dataclass(frozen=True)
class Installation:
    """The version to require, and the block of Terraform's own configuration that tells where it is.

    The block is empty where that is the registry. A provider that is `linked` lies unpacked where it is taken from.
    """

    version: str
    block: str
    linked: bool = False


def installation(provider: Provider, terraform: Path, mirror: str | None, progress: Progress) -> Installation:
    """Find out where Terraform takes the provider from; a stand-in is downloaded.

    What was found is kept in the cache, so that only the first run asks the network.

    Raises:
        PreflightError: neither mirror nor registry serves it, and there is no stand-in or it cannot be had.
    """
    registry = "registry.opentofu.org" if terraform.name == "tofu" else "registry.terraform.io"
    question = " ".join(filter(None, (provider.source, provider.version, registry, mirror)))
    known = store.known().get("providers", {}).get(question, {})
    stand_in = provider.stand_in
    lying = stand_in.place(_providers(), registry) if stand_in else None
    recently = time.time() - known.get("asked", 0) < _ASK_AGAIN
    if "installation" not in known and not (lying and recently and lying.exists()):
        try:
            known = {"installation": _served(provider, registry, mirror, progress)}
        except Unreachable as silence:
            if not stand_in or not lying:
                raise PreflightError(
                    f"the {provider.name} {provider.version} cannot be had",
                    why=str(silence),
                    todo=reach(registry, provider.source),
                ) from silence
            progress.update(provider.name, f"{stand_in.version} from a wheel, because {silence}")
            if not lying.exists():
                stand_in.fetch(lying, registry, str(silence), progress)
            known = {"asked": time.time()}
        store.remember("providers", question, known)
    if "installation" not in known and stand_in:
        return Installation(stand_in.version, _block("filesystem_mirror", "path", str(_providers())), linked=True)
    return Installation(provider.version, known["installation"])


def reach(registry: str, source: str) -> str:
    """Return what to do where neither the registry nor a mirror of it serves a provider."""
    return (
        f"let this machine reach https://{registry}, if need be by HTTPS_PROXY, or set artifacts.mirror to an https"
        f" mirror that has {registry}/{source}/ as `terraform providers mirror` writes it; then run again"
    )


def _providers() -> Path:
    return store.folder() / "providers"


def _served(provider: Provider, registry: str, mirror: str | None, progress: Progress) -> str:
    """Ask the mirror, then the registry; return the block that has Terraform take the provider from the mirror.

    Raises:
        Unreachable: neither has it.
    """
    with closing(Source(None, progress, Event(), httpx.Timeout(_PATIENCE))) as source:
        refusal = _silence(provider, source, registry, mirror) if mirror else None
        if mirror and not refusal:
            return _block("network_mirror", "url", f"{mirror.rstrip('/')}/")
        silence = _silence(provider, source, registry, None)
    if silence:
        raise Unreachable("; ".join(filter(None, (refusal, silence))))
    if refusal:
        progress.update(provider.name, f"from {registry}, because {refusal}")
    return ""


def _silence(provider: Provider, source: Source, registry: str, mirror: str | None) -> str | None:
    """Return why a registry, or the mirror of it, does not serve the provider to this machine; None if it does."""
    if mirror and not mirror.startswith("https://"):
        return f"Terraform takes providers by https only, and the mirror is {mirror}"
    path = f"{provider.source}/index.json" if mirror else ".well-known/terraform.json"
    url = mirrored(f"https://{registry}/{path}", mirror)
    try:
        document = source.get(url, {}).json()
        offered = provider.version in document["versions"] if mirror else "providers.v1" in document
    except UntrustedError:
        raise
    except Unreachable as error:
        return str(error)
    except PreflightError as error:
        return f"{url} cannot be had ({error.why})"
    except (ValueError, TypeError, KeyError):
        offered = False
    return None if offered else f"{url} does not offer it"


def _block(kind: str, argument: str, value: str) -> str:
    return f"provider_installation {{\n  {kind} {{\n    {argument} = {json.dumps(value)}\n  }}\n}}\n"
