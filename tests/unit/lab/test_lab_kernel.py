"""A module that is missing is loaded by the host, and one that cannot be had is refused before anything is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from bootstrap.errors import PreflightError
from bootstrap.process import Completed
from infra.lab import kernel


class Host:
    """A kernel that has `there`, and `modprobe` for `modules`; `ran` are the words that it was given."""

    def __init__(self, there: set[str], modules: set[str]) -> None:
        self.there = there
        self.modules = modules
        self.ran: list[tuple[str, ...]] = []

    def run(self, argv: Sequence[str], *, check: bool = True, todo: str | None = None) -> Completed:
        words = tuple(argv)
        self.ran.append(words)
        known = words[-1] in self.modules
        if known and "--dry-run" not in words:
            self.there.add(words[-1])
        if check and not known:
            raise PreflightError("modprobe failed", command=words, todo=todo)
        return Completed(words, 0 if known else 1, "", "")


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[set[str], set[str]], Host]:
    def make(there: set[str], modules: set[str]) -> Host:
        made = Host(there, modules)
        needed = {name: lambda name=name: name in made.there for name in ("overlay", "br_netfilter")}
        monkeypatch.setattr(kernel, "_NEEDED", needed)
        monkeypatch.setattr(kernel, "run", made.run)
        monkeypatch.setattr(kernel, "find", lambda _: Path("/sbin/modprobe") if modules else None)
        monkeypatch.setattr(kernel, "_BRIDGE_FILTER", tmp_path)
        return made

    return make


def test_nothing_is_loaded_where_everything_is_there(host: Callable[[set[str], set[str]], Host]) -> None:
    made = host({"overlay", "br_netfilter"}, set())
    kernel.refuse_incapable()
    kernel.load()
    assert made.ran == []


def test_what_is_missing_is_loaded_when_the_lab_starts_and_not_by_the_check(
    host: Callable[[set[str], set[str]], Host], tmp_path: Path
) -> None:
    (tmp_path / "bridge-nf-call-iptables").write_text("1\n")
    (tmp_path / "bridge-nf-filter-vlan-tagged").write_text("1\n")
    made = host({"overlay"}, {"br_netfilter"})
    kernel.refuse_incapable()
    assert made.there == {"overlay"}
    kernel.load()
    assert made.ran == [("modprobe", "--dry-run", "br_netfilter"), ("modprobe", "br_netfilter")]
    # the bridges of the host's virtual machines have no firewall that they had not before
    assert (tmp_path / "bridge-nf-call-iptables").read_text() == "0"
    assert (tmp_path / "bridge-nf-filter-vlan-tagged").read_text() == "1\n"


@pytest.mark.parametrize("modules", [set[str](), {"overlay"}])
def test_what_neither_is_there_nor_can_be_loaded_is_refused(
    host: Callable[[set[str], set[str]], Host], modules: set[str]
) -> None:
    host({"overlay"}, modules)
    with pytest.raises(PreflightError, match="this host's kernel lacks br_netfilter") as caught:
        kernel.refuse_incapable()
    assert "modprobe --all br_netfilter" in str(caught.value)
    with pytest.raises(PreflightError, match="modprobe failed"):
        kernel.load()


def test_a_module_that_was_loaded_and_does_nothing_is_told(
    host: Callable[[set[str], set[str]], Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    host(set(), {"overlay", "br_netfilter"})
    monkeypatch.setattr(kernel, "_NEEDED", {"overlay": lambda: False})
    with pytest.raises(PreflightError, match="lacks overlay, though"):
        kernel.load()
