from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from module_utils import manifests
from module_utils.manifests import Object

if TYPE_CHECKING:
    from tests.unit.ansible.conftest import FakeProgram


def _object(name: str, value: str, **metadata: object) -> Object:
    return {"kind": "ConfigMap", "metadata": {"name": name, "namespace": "default", **metadata}, "data": {"key": value}}


def test_what_the_server_keeps_for_itself_is_no_change() -> None:
    before = _object("a", "1", resourceVersion="1", uid="x", generation=1)
    after = {**_object("a", "1", resourceVersion="2", uid="x", generation=2, managedFields=[{}]), "status": {"x": 1}}
    assert manifests.differences([before], [after]) == []


def test_new_and_changed_objects_are_named() -> None:
    found = manifests.differences([_object("a", "1")], [_object("a", "2"), _object("b", "1")])
    assert [item["after_header"] for item in found] == ["ConfigMap default/a", "ConfigMap default/b"]
    assert '"key": "1"' in found[0]["before"]
    assert '"key": "2"' in found[0]["after"]
    assert found[1]["before"] == ""


def test_kubectl_prints_none_one_or_many() -> None:
    one = _object("a", "1")
    assert manifests.items("\n") == []
    assert manifests.items(json.dumps(one)) == [one]
    assert manifests.items(json.dumps({"kind": "List", "items": [one, one]})) == [one, one]


def test_apply_reports_what_differs_afterwards(fake_program: FakeProgram) -> None:
    before, after = _object("a", "1"), _object("a", "2")
    fake_program(
        "kubectl",
        f"cat > /dev/null; case \"$*\" in *apply*) echo '{json.dumps(after)}';; *) echo '{json.dumps(before)}';; esac",
    )
    assert [item["after_header"] for item in manifests.apply([after], dry_run=False)] == ["ConfigMap default/a"]
    assert "--server-side" in fake_program.calls()[1]
    assert "--dry-run" not in fake_program.calls()[1]


def test_a_dry_run_asks_the_server_only_about_what_is_there(fake_program: FakeProgram) -> None:
    fake_program("kubectl", "cat > /dev/null")
    found = manifests.apply([_object("a", "1")], dry_run=True)
    assert [item["after_header"] for item in found] == ["ConfigMap default/a"]
    assert not any("apply" in call for call in fake_program.calls())


def test_only_what_has_our_label_is_removed(fake_program: FakeProgram, tmp_path: Path) -> None:
    ours, foreign = manifests.labelled(_object("a", "1")), _object("b", "1")
    listed = json.dumps({"kind": "List", "items": [ours, foreign]})
    fake_program("kubectl", f"case \"$*\" in *get*) echo '{listed}';; *) cat > {tmp_path}/deleted;; esac")
    for dry_run in (True, False):
        found = manifests.remove([ours, foreign], dry_run=dry_run)
        assert [item["before_header"] for item in found] == ["ConfigMap default/a"]
        assert (tmp_path / "deleted").exists() is not dry_run
    assert json.loads((tmp_path / "deleted").read_text())["items"] == [ours]


def test_the_label_is_put_beside_the_others() -> None:
    labels = manifests.labelled(_object("a", "1", labels={"app": "x"}))["metadata"]["labels"]
    assert labels == {"app": "x", "app.kubernetes.io/managed-by": "kube-pipeline"}
