"""The template is built whole or not at all, and what a killed build left is taken away by the next."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from bootstrap.errors import PreflightError
from bootstrap.process import Completed
from bootstrap.progress import Silent
from infra.lab import template as module


class Debootstrap:
    """Stands in for the programs; `broken` makes it fail half-way. `folders` are those that it was to fill."""

    def __init__(self) -> None:
        self.broken = False
        self.folders: list[Path] = []

    def run(self, argv: Sequence[str | Path], **_: object) -> Completed:
        if "debootstrap" in argv:
            [folder] = [word for word in argv if isinstance(word, Path)]
            self.folders.append(folder)
            folder.mkdir()
            (folder / "half").touch()
            if self.broken:
                raise PreflightError("debootstrap failed")
        return Completed((), 0, "", "")


@pytest.fixture
def debootstrap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Debootstrap:
    made = Debootstrap()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(module, "run", made.run)
    return made


def test_each_build_has_a_folder_of_its_own_and_removes_what_an_earlier_one_left(debootstrap: Debootstrap) -> None:
    debootstrap.broken = True
    with pytest.raises(PreflightError):
        module.template(Silent())
    [left] = debootstrap.folders
    assert left.exists(), "its log tells why it failed"

    debootstrap.broken = False
    built = module.template(Silent())
    assert sorted(path.name for path in built.iterdir()) == ["etc", "half", "usr"]
    assert [path for path in built.parent.iterdir() if path.is_dir()] == [built]
    assert debootstrap.folders[0] != debootstrap.folders[1]


def test_a_template_that_is_there_is_not_built_again(debootstrap: Debootstrap) -> None:
    assert module.template(Silent()) == module.template(Silent())
    assert len(debootstrap.folders) == 1


def test_each_suite_has_a_template_of_its_own_from_the_mirror_of_this_machine(
    debootstrap: Debootstrap, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = "bookworm-security http://host/security/\nbookworm http://host/debian/\n"
    monkeypatch.setattr(module, "find", lambda _: Path("/usr/bin/apt-get"))
    monkeypatch.setattr(module, "run", lambda *_, **__: Completed((), 0, listed, ""))
    assert [module.mirror(suite) for suite in ("bookworm", "trixie")] == ["http://host/debian/"] * 2
    listed += "trixie http://other/debian/\n"
    assert [module.mirror(suite) for suite in ("bookworm", "trixie")] == ["http://host/debian/", "http://other/debian/"]

    monkeypatch.setattr(module, "run", debootstrap.run)
    built = {
        module.template(Silent()),
        module.template(Silent(), "trixie"),
        module.template(Silent(), "trixie", ("sudo",)),
    }
    assert len(built) == len(debootstrap.folders) == 3


@pytest.fixture(params=[0o077, 0o000], ids=oct)
def checkout(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The template's files as a checkout under an unusual umask has them."""
    files = Path(shutil.copytree(module._FILES, tmp_path / "checkout" / "machine"))
    for path in (files, *files.rglob("*")):
        executable = path.is_dir() or path.stat().st_mode & 0o100
        path.chmod((0o777 if executable else 0o666) & ~request.param)
    monkeypatch.setattr(module, "_FILES", files)
    monkeypatch.setattr(module, "_HERE", files.parent)
    monkeypatch.setattr(module, "_RECIPE", Path(shutil.copy(module._RECIPE, files.parent)))
    return files


def test_modes_are_ours_whatever_the_umask_of_the_checkout(debootstrap: Debootstrap, checkout: Path) -> None:
    built = module.template(Silent())
    found = {path.relative_to(built).as_posix(): path.stat().st_mode & 0o7777 for path in built.rglob("*")}
    assert {found[folder] for folder in ("etc", "etc/ssh", "etc/sudoers.d", "usr", "usr/local/lib/lab")} == {0o755}
    assert found["etc/ssh/sshd_config.d/lab.conf"] == found["etc/systemd/system/lab-boot.service"] == 0o644
    assert found["usr/local/lib/lab/boot"] == 0o755


def test_a_folder_of_the_template_keeps_its_mode(debootstrap: Debootstrap, checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "root" / "etc" / "sudoers.d").mkdir(parents=True)
    (tmp_path / "root" / "etc" / "sudoers.d").chmod(0o750)
    module._place_files(tmp_path / "root")
    assert (tmp_path / "root" / "etc" / "sudoers.d").stat().st_mode & 0o777 == 0o750


def test_the_key_of_the_template_sees_modes_and_no_umask(
    debootstrap: Debootstrap, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = module._key(module.SUITE, module.PACKAGES)
    (checkout / "etc" / "sudoers.d" / "admin").chmod(0o600)
    assert module._key(module.SUITE, module.PACKAGES) == key
    (checkout / "usr" / "local" / "lib" / "lab" / "boot").chmod(0o600)
    assert module._key(module.SUITE, module.PACKAGES) != key
