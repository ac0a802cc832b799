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

SUITE = "bookworm"  # systemd 252 boots on cgroup v1 and v2; later versions refuse v1
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "openssh-server", "sudo", "python3", "ca-certificates"),
    *("iproute2", "nftables", "iptables", "conntrack", "ethtool", "socat", "kmod", "procps"),  # kubeadm, kube-proxy
)
_HERE = Path(__file__).parent
_RECIPE = _HERE / "machine.sh"
_FILES = _HERE / "machine"
# Words before a command that ends it, its children and its mounts with this process, however that ends.
_WITH_US = ("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child")


def template(progress: Progress) -> Path:
    """Return the template's folder; build it (about a minute) if the cache has none of this recipe.

    Raises:
        PreflightError: debootstrap or the recipe failed, for instance because no Debian mirror answers.
    """
    folder = cache_folder() / "machines" / f"debian-{SUITE}-{_key()}"
    if folder.exists():
        return folder

    def waiting() -> None:
        progress.update("machine template", "waiting for another run that builds it")

    with locks.held(folder.parent / "building.lock", waiting):
        if not folder.exists():
            progress.update("machine template", "building (about a minute, once)")
            _build(folder)
    progress.update("machine template", "built", done=True)
    return folder


def _build(folder: Path) -> None:
    for left in folder.parent.glob("*.partial*"):  # by a run that failed or was killed
        shutil.rmtree(left, ignore_errors=True)
    partial = folder.with_suffix(f".partial-{uuid4().hex[:8]}")
    run(
        [*_WITH_US, "debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, partial, *_mirror()],
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


def _mirror() -> list[str]:
    """Return the mirror that this machine's own apt takes the suite from; without one, debootstrap's default."""
    if not find("apt-get"):
        return []
    listed = run(
        ["apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages"], check=False
    ).stdout
    found = [line.split()[1] for line in listed.splitlines() if line.startswith(f"{SUITE} ")]
    return found[:1]


def _key() -> str:
    digest = hashlib.sha256(repr((SUITE, PACKAGES)).encode())
    for file in (_RECIPE, *_files()):
        digest.update(f"{file.relative_to(_HERE).as_posix()} {_mode(file):o}".encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]
