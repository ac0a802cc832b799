from __future__ import annotations

from pathlib import Path

import pytest
from module_utils.system.commands import CommandError
from module_utils.system.configuration import put
from module_utils.system.files import File, changes

from tests.unit.ansible.conftest import FakeProgram

# A program that takes a configuration whose first line is good, and only where its script is.
_PROGRAM = 'test "$(cat "$2")" = good && test -e %s || { echo "line 1 is bad" >&2; exit 1; }'


@pytest.mark.parametrize(("content", "taken"), [("good", True), ("bad", False)])
def test_only_what_the_check_takes_is_used(
    content: str, taken: bool, tmp_path: Path, fake_program: FakeProgram
) -> None:
    path, script = tmp_path / "etc" / "x.conf", tmp_path / "script"
    path.parent.mkdir()
    path.write_text("old")
    fake_program("x", _PROGRAM % script)
    found = changes([File(path, content, 0o644), File(script, "", 0o755)])
    if taken:
        put(found, ["x", "-f", str(path)])
    else:
        with pytest.raises(CommandError, match=r"x\.conf: the new content was refused.*\n?.*line 1 is bad"):
            put(found, ["x", "-f", str(path)])
    assert path.read_text() == (content if taken else "old")
    assert script.exists(), "the new content names it"
    assert [file.name for file in path.parent.iterdir()] == ["x.conf"]


def test_without_a_change_of_what_it_names_nothing_is_checked(tmp_path: Path, fake_program: FakeProgram) -> None:
    path, other = tmp_path / "x.conf", tmp_path / "other"
    path.write_text("old")
    fake_program("x", "exit 1")
    put(changes([File(path, "old", path.stat().st_mode & 0o777), File(other, "", 0o644)]), ["x", "-f", str(path)])
    put(changes([File(path, "new", 0o644)]), [])
    assert path.read_text() == "new"
    assert fake_program.calls() == []
