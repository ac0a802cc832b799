from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

from bootstrap.artifacts.debian import closure
from bootstrap.artifacts.lock import load

TRIPLET = f"{platform.machine()}-linux-gnu"


def install(root: Path) -> set[str]:
    """Fill `root` with this machine's `ls`, its libraries and one that nothing loads; return those that it loads."""
    libraries = root / "usr" / "lib" / TRIPLET
    (libraries / "xtables").mkdir(parents=True)
    (root / "etc").mkdir()
    (root / "etc" / "protocols").write_text("tcp 6 TCP\n")
    (root / "usr" / "bin").mkdir()
    shutil.copy("/bin/ls", root / "usr" / "bin" / "ls")
    said = subprocess.run(["ldd", "/bin/ls"], capture_output=True, text=True, check=True).stdout
    loaded = {Path(word) for word in said.split() if word.startswith("/")}
    for library in loaded:
        shutil.copy(library, libraries / library.name)
    (libraries / "libunused.so.1").touch()
    shutil.copy(libraries / "libc.so.6", libraries / "xtables" / "libxt_plugin.so")
    return {library.name for library in loaded}


def test_programs_come_with_what_they_load_and_nothing_else(tmp_path: Path) -> None:
    loaded = install(tmp_path)
    changes = {"programs": ("/usr/bin/ls",), "files": ("/etc/protocols",)}
    files = closure(load().debian.model_copy(update=changes), TRIPLET, tmp_path)
    assert {Path(path).name for path in files} == loaded | {"ls", "protocols", "libxt_plugin.so"}
    assert all(path.is_file() for path in files.values())
