from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from module_utils import addons
from module_utils.addons import AddOn, HeldError, Object
from module_utils.records import RecordError

if TYPE_CHECKING:
    from tests.unit.ansible.conftest import FakeProgram

VOLUMES = {"resource": "persistentvolumes", "annotations": {"by": "example"}}


def _object(name: str, value: str, **metadata: object) -> Object:
    metadata = {"name": name, "namespace": "default", **metadata}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"key": value}}


def _addon(name: str, *objects: Object, data: dict[str, Any] | None = None) -> AddOn:
    return AddOn(name, {}, objects, data)


class Server:
    """A pretend API behind kubectl: it keeps what is applied, and gives and deletes what it is asked for."""

    def __init__(self) -> None:
        self.objects: dict[addons.Identity, Object] = {}
        self.volumes: list[Object] = []
        self.calls: list[str] = []

    def kubectl(self, *arguments: str, stdin: str | None = None, **_options: object) -> str:
        self.calls.append(" ".join(arguments))
        asked = json.loads(stdin)["items"] if stdin else []
        names = [addons.identity(item) for item in asked]
        if arguments[0] == "apply" and "--dry-run=server" not in arguments:
            self.objects |= {addons.identity(item): item for item in asked}
        if arguments[0] == "delete":
            for name in names:
                del self.objects[name]
        if arguments[0] == "apply":
            found = asked
        else:
            found = [self.objects[name] for name in names if name in self.objects] if stdin else self.volumes
        return json.dumps({"kind": "List", "items": found})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    pretend = Server()
    monkeypatch.setattr(addons, "kubectl", pretend.kubectl)
    return pretend


def _names(found: list[dict[str, str]]) -> list[str]:
    return [item["before_header"] + ("" if item["after"] else ": removed") for item in found]


def test_what_the_server_keeps_for_itself_is_no_change() -> None:
    before = _object("a", "1", resourceVersion="1", uid="x", generation=1)
    after = {**_object("a", "1", resourceVersion="2", uid="x", generation=2, managedFields=[{}]), "status": {"x": 1}}
    assert addons.differences([before], [after]) == []


def test_new_and_changed_objects_are_named() -> None:
    found = addons.differences([_object("a", "1")], [_object("a", "2"), _object("b", "1")])
    assert _names(found) == ["ConfigMap default/a", "ConfigMap default/b"]
    assert '"key": "1"' in found[0]["before"]
    assert '"key": "2"' in found[0]["after"]
    assert found[1]["before"] == ""


def test_a_file_in_an_object_is_compared_by_its_lines() -> None:
    (found,) = addons.differences([_object("a", "x\nmode: b\n")], [_object("a", "x\nmode: c\n")])
    assert set(found["after"].splitlines()) - set(found["before"].splitlines()) == {"mode: c"}


def test_objects_of_no_add_on_are_applied_without_a_record(server: Server) -> None:
    assert _names(addons.apply([_object("a", "1")], dry_run=True)) == ["ConfigMap default/a"]
    assert server.objects == {}
    assert _names(addons.apply([_object("a", "1")], dry_run=False)) == ["ConfigMap default/a"]
    assert addons.apply([_object("a", "1")], dry_run=False) == []
    assert [item["metadata"]["name"] for item in server.objects.values()] == ["a"]


def test_kubectl_prints_none_one_or_many() -> None:
    one = _object("a", "1")
    assert addons.items("\n") == []
    assert addons.items(json.dumps(one)) == [one]
    assert addons.items(json.dumps({"kind": "List", "items": [one, one]})) == [one, one]


def test_objects_are_applied_on_the_servers_side(fake_program: FakeProgram) -> None:
    fake_program("kubectl", "cat > /dev/null")
    addons.converge([_addon("one", _object("a", "1"))], dry_run=False)
    (applied,) = [call for call in fake_program.calls() if "apply" in call]
    assert "--server-side" in applied
    assert "--field-manager=kube-pipeline" in applied


def test_labels_tell_whose_an_object_is_beside_its_own(server: Server) -> None:
    addons.converge([_addon("one", _object("a", "1", labels={"app": "x"}))], dry_run=False)
    labels = server.objects["ConfigMap", "default", "a"]["metadata"]["labels"]
    assert labels == {"app": "x", "app.kubernetes.io/managed-by": "kube-pipeline", "kube-pipeline/addon": "one"}


def test_a_namespace_is_made_first_with_its_level_of_pod_security(server: Server) -> None:
    found = addons.converge([AddOn("one", {"example": "baseline"}, [_object("a", "1")], None)], dry_run=False)
    assert _names(found) == ["Namespace example", "ConfigMap default/a"]
    labels = server.objects["Namespace", "", "example"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "baseline"


def test_a_second_time_changes_nothing(server: Server) -> None:
    wanted = [_addon("one", _object("a", "1")), _addon("two", _object("b", "1"), data=VOLUMES)]
    assert len(addons.converge(wanted, dry_run=False)) == 2
    server.calls.clear()
    assert addons.converge(wanted, dry_run=False) == []
    assert len(server.calls) == 3


def test_what_left_the_manifests_and_the_switched_off_go_and_only_they(server: Server) -> None:
    before = [_addon("one", _object("a", "1"), _object("b", "1")), _addon("two", _object("c", "1"), _object("d", "1"))]
    addons.converge([*before, _addon("three", _object("e", "1"))], dry_run=False)
    server.objects["ConfigMap", "default", "d"]["metadata"]["labels"] = {}  # somebody has taken it over
    wanted = [_addon("one", _object("a", "1")), _addon("three", _object("e", "1"))]
    for dry_run in (True, False):
        found = addons.converge(wanted, dry_run=dry_run)
        assert sorted(_names(found)) == ["ConfigMap default/b: removed", "ConfigMap default/c: removed"]
    left = {name for kind, namespace, name in server.objects if namespace == "default"}
    assert left == {"a", "d", "e"}
    assert addons.converge(wanted, dry_run=False) == []


def test_an_interrupted_removal_is_made_up_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    addons.converge([_addon("one", _object("a", "1"), _object("b", "1"))], dry_run=False)

    def interrupted(*arguments: str, stdin: str | None = None, **_options: object) -> str:
        if arguments[0] == "delete":
            raise KeyboardInterrupt
        return server.kubectl(*arguments, stdin=stdin)

    with monkeypatch.context() as patched:
        patched.setattr(addons, "kubectl", interrupted)
        with pytest.raises(KeyboardInterrupt):
            addons.converge([_addon("one", _object("a", "1"))], dry_run=False)
    found = addons.converge([_addon("one", _object("a", "1"))], dry_run=False)
    assert _names(found) == ["ConfigMap default/b: removed"]


def test_an_interrupted_first_apply_leaves_no_object_that_the_record_does_not_list(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: str, stdin: str | None = None, **_options: object) -> str:
        answer = server.kubectl(*arguments, stdin=_first(stdin) if arguments[0] == "apply" else stdin)
        if arguments[0] == "apply":
            raise KeyboardInterrupt
        return answer

    def _first(stdin: str | None) -> str:  # kubectl applies one object after the other
        document = json.loads(stdin or "")
        return json.dumps({**document, "items": document["items"][:2]})

    with monkeypatch.context() as patched:
        patched.setattr(addons, "kubectl", interrupted)
        with pytest.raises(KeyboardInterrupt):
            addons.converge([_addon("one", _object("a", "1"), _object("b", "1"))], dry_run=False)
    assert _names(addons.converge([], dry_run=False)) == ["ConfigMap default/a: removed"]


@pytest.mark.parametrize("text", ["{", "[]", '{"objects": []}', '{"data": null, "objects": [{"kind": "Pod"}]}'])
def test_a_damaged_record_is_told_with_its_name(server: Server, text: str) -> None:
    addons.converge([_addon("one", _object("a", "1"))], dry_run=False)
    (record,) = [item for identity, item in server.objects.items() if identity[2] == "kube-pipeline-addons"]
    record["data"]["one"] = text
    with pytest.raises(RecordError, match="kube-system/kube-pipeline-addons"):
        addons.converge([], dry_run=False)


def test_a_dry_run_asks_the_server_only_about_what_is_there(server: Server) -> None:
    found = addons.converge([_addon("one", _object("a", "1"))], dry_run=True)
    assert _names(found) == ["ConfigMap default/a"]
    assert not any("apply" in call for call in server.calls)
    addons.converge([_addon("one", _object("a", "1"))], dry_run=False)
    assert _names(addons.converge([_addon("one", _object("a", "2"))], dry_run=True)) == ["ConfigMap default/a"]
    assert server.objects["ConfigMap", "default", "a"]["data"] == {"key": "1"}


def test_a_cluster_that_is_yet_to_be_made_gets_all() -> None:
    assert _names(addons.planned([_addon("one", _object("a", "1"))])) == ["ConfigMap default/a"]


def _volume(name: str, namespace: str, **annotations: str) -> Object:
    claim = {"namespace": namespace, "name": "claim"}
    metadata = {"name": name, "annotations": annotations}
    return {"kind": "PersistentVolume", "metadata": metadata, "spec": {"claimRef": claim}}


@pytest.mark.parametrize("dry_run", [True, False])
def test_an_add_on_that_holds_data_stays_and_nothing_is_touched(server: Server, dry_run: bool) -> None:
    held = _addon("one", _object("a", "1"), data=VOLUMES)
    addons.converge([held], dry_run=False)
    server.volumes = [_volume("kept", "shop", by="example"), _volume("foreign", "shop", by="another")]
    told = r"one .*PersistentVolume kept \(claim shop/claim\).*addons\.one\.enabled"
    with pytest.raises(HeldError, match=told) as no:
        addons.refuse_held(["two"], dry_run=dry_run)
    assert "foreign" not in str(no.value)
    addons.refuse_held(["one"], dry_run=dry_run)  # it stays
    with pytest.raises(HeldError, match=told):
        addons.converge([_addon("two", _object("b", "1"))], dry_run=False)
    assert ("ConfigMap", "default", "b") not in server.objects
    server.volumes.pop(0)
    addons.refuse_held(["two"], dry_run=dry_run)
    assert "ConfigMap default/a: removed" in _names(addons.converge([_addon("two")], dry_run=dry_run))


def test_a_plan_shows_all_that_would_change_beside_what_is_held(server: Server) -> None:
    addons.converge([_addon("one", _object("a", "1"), data=VOLUMES)], dry_run=False)
    server.volumes = [_volume("kept", "shop", by="example")]
    found = addons.converge([_addon("two", _object("b", "1"))], dry_run=True)
    assert _names(found) == ["ConfigMap default/b", "ConfigMap default/a: removed"]


def test_what_verification_leaves_is_waited_for(server: Server, waits: list[float]) -> None:
    addons.converge([_addon("one", _object("a", "1"), data=VOLUMES)], dry_run=False)
    server.volumes = [_volume("probe", "kube-pipeline-verify-1", by="example")]
    addons.refuse_held([], dry_run=True)
    assert waits == []
    with pytest.raises(HeldError, match="claim kube-pipeline-verify-1/claim"):
        addons.refuse_held([], dry_run=False)
    assert sum(waits) >= 100


def test_an_object_that_does_not_go_is_an_error(
    server: Server, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    addons.converge([_addon("one", _object("a", "1"))], dry_run=False)
    keep = server.kubectl
    monkeypatch.setattr(addons, "kubectl", lambda *a, **given: "" if a[0] == "delete" else keep(*a, **given))
    with pytest.raises(addons.RemovalError, match="ConfigMap default/a"):
        addons.converge([], dry_run=False)
    assert sum(waits) >= 100
