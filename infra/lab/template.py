"""The root folder that all machines share: a small Debian, made once and kept in the cache."""

from __future__ import annotations

import hashlib
import shutil
import stat
from pathlib import Path
from uuid import uuid4

from bootstrap import locks
from bootstrap.files import cache_folder
from bootstrap.process import find, run
from bootstrap.progress import Progress

SUITE = "bookworm"  # its systemd supports cgroup v1 and v2; those after trixie's refuse v1
_SUITES = (SUITE, "trixie")  # which a Debian mirror has side by side
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "openssh-server", "sudo", "python3", "ca-certificates"),
    *("iproute2", "nftables", "iptables", "conntrack", "ethtool", "socat", "kmod", "procps"),  # kubeadm, kube-proxy
)
_HERE = Path(__file__).parent
_RECIPE = _HERE / "machine.sh"
_FILES = _HERE / "machine"
# Words before a command that ends it, its children and its mounts with this process, however that ends.
_WITH_US = ("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child")


def template(progress: Progress, suite: str = SUITE, packages: tuple[str, ...] = PACKAGES) -> Path:
    """Return the template's folder; build it (about a minute) if the cache has none of this recipe.

    `suite` is the code name of a Debian, `packages` is what it has beside the least.

    Raises:
        PreflightError: debootstrap or the recipe failed, for instance because no Debian mirror answers.
    """
    folder = cache_folder() / "machines" / f"debian-{suite}-{_key(suite, packages)}"
    if folder.exists():
        return folder

    def waiting() -> None:
        progress.update("machine template", "waiting for another run that builds it")

    with locks.held(folder.parent / "building.lock", waiting):
        if not folder.exists():
            progress.update("machine template", "building (about a minute, once)")
            _build(folder, suite, packages)
    progress.update("machine template", "built", done=True)
    return folder


def _build(folder: Path, suite: str, packages: tuple[str, ...]) -> None:
    for left in folder.parent.glob("*.partial*"):  # by a run that failed or was killed
        shutil.rmtree(left, ignore_errors=True)
    partial = folder.with_suffix(f".partial-{uuid4().hex[:8]}")
    source = [uri] if (uri := mirror(suite)) else []
    run(
        [*_WITH_US, "debootstrap", "--variant=minbase", f"--include={','.join(packages)}", suite, partial, *source],
        todo=f"see {partial}/debootstrap/debootstrap.log, and whether a Debian mirror can be reached",
    )
    _place_files(partial)
    run(
        [*_WITH_US, "chroot", partial, "sh"],
        stdin=_RECIPE.read_text(encoding="utf-8"),
        env={"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
    )
    partial.rename(folder)


def _place_files(root: Path) -> None:
    """Put our files into the template, with modes that do not follow from the umask of the checkout."""
    for file in _files():
        target = root / file.relative_to(_FILES)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        target.chmod(_mode(file))


def _files() -> list[Path]:
    return sorted(path for path in _FILES.rglob("*") if path.is_file())


def _mode(file: Path) -> int:
    """Return a file's mode on a machine: of a mode, Git keeps the owner's execute bit only."""
    return 0o755 if file.stat().st_mode & stat.S_IXUSR else 0o644


def mirror(suite: str) -> str | None:
    """Return the mirror that this machine's own apt takes a Debian from: this suite, or else another one."""
    if not find("apt-get"):
        return None
    listed = run(
        ["apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages"], check=False
    ).stdout
    found = [line.split() for line in listed.splitlines()]
    return next((uri for wanted in (suite, *_SUITES) for codename, uri in found if codename == wanted), None)


def _key(suite: str, packages: tuple[str, ...]) -> str:
    digest = hashlib.sha256(repr((suite, packages)).encode())
    for file in (_RECIPE, *_files()):
        digest.update(f"{file.relative_to(_HERE).as_posix()} {_mode(file):o}".encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]
