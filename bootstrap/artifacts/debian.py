"""An image layer with programs of Debian packages and the libraries that they load (nft and iptables: 7 MB).

apt verifies the signatures of the packages. The mirror is that of the apt sources of this machine; the Debian release
is that of the lock file, whatever release this machine runs.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from threading import Event

from bootstrap.artifacts import cache
from bootstrap.artifacts.image import Blob, write_layer
from bootstrap.artifacts.lock import TRIPLETS, Debian
from bootstrap.errors import PreflightError
from bootstrap.files import write_atomically
from bootstrap.process import find, run
from bootstrap.progress import Progress

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_CONFIG = """\
Dir::State "{0}/state";
Dir::State::status "{0}/status";
Dir::Cache "{0}/cache";
Dir::Etc::sourcelist "{0}/sources.list";
Dir::Etc::sourceparts "-";
APT::Architecture "{1}";
APT::Architectures {{ "{1}"; }};
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
"""


def layer(debian: Debian, name: str, architecture: str, progress: Progress, stop: Event) -> Blob:
    """Return the layer, from the cache if it is there; `name` is its name in the cache.

    Raises:
        PreflightError: apt or binutils is missing, or the packages cannot be downloaded.
    """
    described = json.dumps([debian.model_dump(mode="json"), architecture], sort_keys=True)
    key = hashlib.sha256(described.encode()).hexdigest()
    path = cache.folder() / name / debian.suite / architecture / "layer.tar"
    held = f"{name}-{architecture}"
    with cache.exclusive(held, progress, stop), cache.work_folder(held) as work:
        cached = cache.find(path, {key})
        if not cached:
            progress.update(name, f"fetching {', '.join(debian.packages)} of Debian {debian.suite}")
            packages = _download(debian, architecture, work)
            files = closure(debian, TRIPLETS[architecture], work / "root")
            write_layer(work / "layer.tar", files, debian.links)
            cached = cache.store(work / "layer.tar", path, cache.Origin("built", ", ".join(packages), key))
    return Blob("application/vnd.oci.image.layer.v1.tar", cached.sha256, cached.size, cached.path)


def _download(debian: Debian, architecture: str, work: Path) -> list[str]:
    """Unpack the packages and their dependencies under `work`/root; return their names with versions."""
    for program, package in (("apt-get", "apt"), ("dpkg-deb", "dpkg"), ("readelf", "binutils")):
        if not find(program):
            raise PreflightError(f"{program} is not installed", todo=f"install the package {package}, on Debian 12+")
    for folder in ("state/lists/partial", "cache/archives/partial", "root"):
        (work / folder).mkdir(parents=True)
    (work / "status").touch()
    source = f"deb [signed-by={_KEYRING}] {_mirror(work)} {debian.suite} main\n"
    write_atomically(work / "sources.list", source)
    write_atomically(work / "apt.conf", _CONFIG.format(work, architecture))
    environment = {"APT_CONFIG": str(work / "apt.conf")}
    todo = "check that the Debian mirror of this machine can be reached"
    run(["apt-get", "update", "-qq"], env=environment, timeout=300, todo=todo)
    fetch = ["apt-get", "install", "-qq", "--yes", "--download-only", "--no-install-recommends", *debian.packages]
    run(fetch, env=environment, timeout=600, todo=todo)
    archives = sorted((work / "cache" / "archives").glob("*.deb"))
    for archive in archives:
        run(["dpkg-deb", "--extract", archive, work / "root"])
    return [archive.name.rpartition("_")[0].replace("_", " ").replace("%3a", ":") for archive in archives]


def _mirror(work: Path) -> str:
    """Return the Debian mirror of the apt sources of this machine."""
    found = _mirrors([])
    if not found:  # without package lists apt does not tell its mirrors: fetch lists into a folder of our own
        lists = work / "lists"
        (lists / "partial").mkdir(parents=True)
        beside = ["-o", f"Dir::State::lists={lists}"]
        run(["apt-get", *beside, "update", "-qq"], check=False, timeout=300)
        found = _mirrors(beside)
    if not found:
        raise PreflightError(
            "the apt sources of this machine name no Debian mirror that answers",
            why="images that are built here hold programs of Debian packages",
            todo="add a Debian mirror to /etc/apt/sources.list.d, or set artifacts.mirror to a mirror of these images",
        )
    return found[0]


def _mirrors(options: Sequence[str]) -> list[str]:
    targets = run(["apt-get", *options, "indextargets", "--format", "$(LABEL) $(REPO_URI)"]).stdout
    rows = (line.partition(" ") for line in targets.splitlines())
    return [address for label, _, address in rows if label == "Debian"]


def closure(debian: Debian, triplet: str, root: Path) -> dict[str, Path]:
    """Return files by their path in the image: programs, plugins, and all libraries that these load."""
    libraries = Path("/usr/lib") / triplet
    files = {path: root / path.lstrip("/") for path in (*debian.files, *debian.programs)}
    if debian.plugins:
        for plugin in sorted((root / str(libraries).lstrip("/") / debian.plugins).glob("*.so")):
            files[str(libraries / debian.plugins / plugin.name)] = plugin.resolve()
    open_files = [path for path in files.values() if path.parent.name != "etc"]
    while open_files:
        described = run(["readelf", "--wide", "--dynamic", "--program-headers", open_files.pop()]).stdout
        needed = {str(libraries / name): name for name in re.findall(r"\(NEEDED\).*\[(.+)\]", described)}
        needed |= {path: Path(path).name for path in re.findall(r"program interpreter: (.+)\]", described)}
        for path in sorted(needed.keys() - files.keys()):
            files[path] = (root / str(libraries).lstrip("/") / needed[path]).resolve(strict=True)
            open_files.append(files[path])
    return files
