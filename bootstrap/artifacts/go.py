"""The Go toolchain: which version a recipe asks for, the environment that Go runs in, and what its failures mean."""

from __future__ import annotations

import os
import re
from pathlib import Path

from bootstrap.artifacts.lock import TRIPLETS
from bootstrap.errors import PreflightError
from bootstrap.files import home
from bootstrap.process import find

ANOTHER_PROXY = "set GOPROXY to a reachable module proxy, or artifacts.mirror to a mirror of upstream"
OLDEST = "1.26"  # the version to install for a go.mod that requires none
_TOO_OLD = re.compile(r"requires go >=|toolchain not available|invalid go version")
_NO_CONNECTION = re.compile(r"dial tcp|no such host|connection refused|i/o timeout|proxyconnect")


def version_for(folder: Path) -> str:
    """Return the Go version that the go.mod in `folder` asks for, such as 1.26."""
    found = re.search(r"^go (\d+\.\d+)", (folder / "go.mod").read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else OLDEST


def require(purpose: str, version: str, instead: str = "") -> None:
    """Check that Go is installed. `purpose` is what needs it, `instead` another way out.

    Raises:
        PreflightError: Go is not installed.
    """
    if not find("go"):
        raise PreflightError(
            f"{purpose} needs Go, but Go is not installed",
            todo=f"install Go {version} or newer{instead}",
        )


def environment(architecture: str, compiler: str | None = None, module_mode: str = "readonly") -> dict[str, str | None]:
    """Return the variables of a build for `architecture`, with cgo where there is a C compiler.

    The `go` line of a go.mod decides which toolchain runs: Go fetches a newer one from the module proxy, with a sum
    of the checksum database, where the installed one is too old. Distributions switch this off in Go's own settings
    (go.env); only the variable GOTOOLCHAIN, if the user set it, counts here.
    """
    triplet = TRIPLETS[architecture]
    return {
        "HOME": str(home()),  # Go keeps modules and what it compiled below it
        "GOFLAGS": f"-mod={module_mode} -trimpath -buildvcs=false",
        "GOWORK": "off",
        "GOOS": "linux",
        "GOARCH": architecture,
        "GOTOOLCHAIN": os.environ.get("GOTOOLCHAIN", "auto"),
        "CGO_ENABLED": "1" if compiler else "0",
        "CC": compiler,
        "PKG_CONFIG_LIBDIR": f"/usr/lib/{triplet}/pkgconfig:/usr/share/pkgconfig" if compiler else None,
    }


def cause(output: str, version: str) -> tuple[str | None, str | None]:
    """Return why Go failed and what to do, as far as its output tells; `version` is the Go version asked for."""
    if "no space left on device" in output:
        space = "free some space, or set XDG_CACHE_HOME, GOCACHE and TMPDIR to folders on a larger disk"
        return "a disk is full", space
    if _NO_CONNECTION.search(output):
        return "Go's module proxy cannot be reached", ANOTHER_PROXY
    if _TOO_OLD.search(output):
        return "Go is too old", f"install Go {version} or newer"
    return None, None
