from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pytest

from bootstrap.errors import AnsibleError, InterruptedRunError
from bootstrap.progress import Silent
from infra import ansible, connections, recap
from infra.timeline import Timeline
from infra.workspace import Workspace

# A module that returns what it is given.
_REFUSING = """#!/usr/bin/python
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule(argument_spec={"refused": {"type": "str"}}, supports_check_mode=True)
told = ["worker-0 is cordoned"] if module.check_mode else []
module.exit_json(changed=False, refused=module.params["refused"], told=told)
"""


def hosts(folder: Path) -> Path:
    """The inventory of the workspace in this folder."""
    path = Workspace(folder).inventory
    path.parent.mkdir()
    return path


def test_only_what_this_environment_left_behind_is_ended(tmp_path: Path) -> None:
    def started(folder: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen(["sleep", "60"], env=os.environ | {"KUBE_PIPELINE_FOLDER": str(folder)})

    with started(tmp_path / "prod") as ours, started(tmp_path / "other") as other:
        connections.end_leftovers(Workspace(tmp_path / "prod"))
        alive = [psutil.pid_exists(process.pid) for process in (ours, other)]
        other.kill()
    assert alive == [False, True]


def test_connections_leave_no_folder_behind(tmp_path: Path) -> None:
    with connections.shared(Workspace(tmp_path)) as folder:
        assert folder.is_dir()
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()


@pytest.mark.parametrize("name", ["x" * 60, "%h", "$HOME", "a b", "{{x}}"])
def test_sockets_lie_where_ssh_finds_them_whatever_the_folder_for_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / name))
    with connections.shared(Workspace(tmp_path)) as folder:
        assert len(str(folder)) < 80
        assert name not in str(folder)


def test_what_a_killed_run_leaves_of_its_connections_is_removed_by_the_next(tmp_path: Path) -> None:
    killed = "import os, signal; from pathlib import Path; from infra.connections import shared\n"
    killed += "from infra.workspace import Workspace\n"
    killed += f"with shared(Workspace(Path({str(tmp_path)!r}))) as folder:\n"
    killed += "    print(folder, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    done = subprocess.run([sys.executable, "-c", killed], capture_output=True, text=True, check=False)
    left = Path(done.stdout.strip())
    assert left.is_dir()
    connections.end_leftovers(Workspace(tmp_path))
    assert not left.exists()


def test_ssh_is_left_to_check_host_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ansible-runner and Ansible would each like to tell it not to."""
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "playbooks" / "any.yml").write_text("- {hosts: all, gather_facts: false, tasks: [{raw: 'true'}]}\n")
    (tmp_path / "ansible.cfg").write_text("[defaults]\n")
    hosts(tmp_path).write_text("node-0\n")
    (tmp_path / "ssh").write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\n')
    (tmp_path / "ssh").chmod(0o700)
    (tmp_path / "logs").mkdir()
    monkeypatch.setattr(ansible, "_ROOT", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    playbook = ansible.Playbook("any", Workspace(tmp_path), tmp_path)
    ansible.play(playbook, "test", Timeline(tmp_path / "timeline.json", "test"), Silent())
    asked = (tmp_path / "asked").read_text()
    assert "node-0" in asked
    assert "StrictHostKeyChecking" not in asked


@pytest.mark.parametrize(
    "exported",
    [
        {"ANSIBLE_SKIP_TAGS": "all"},
        {"ANSIBLE_RUN_TAGS": "foo"},
        {"ANSIBLE_CHECK_MODE_MARKERS": "x", "ANSIBLE_STRATEGY": "debug"},
        {"LC_ALL": "C"},
        {"LC_CTYPE": "POSIX", "LANG": "de_DE.ISO-8859-1"},
        {"PYTHONHOME": "/nowhere", "LD_PRELOAD": "libnowhere.so"},
        {"HOME": "/proc/nowhere"},  # as on a read-only file system
        {"HTTPS_PROXY": "http://me:pass-word@proxy:3128", "AWS_SECRET_ACCESS_KEY": "pass-word", "TOKEN": "pass-word"},
    ],
    ids=str,
)
def test_no_setting_or_secret_of_the_user_s_shell_reaches_a_play(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exported: dict[str, str]
) -> None:
    (tmp_path / "playbooks").mkdir()
    task = (
        f"{{shell: 'env >{tmp_path}/seen; grep -r pass-word {tmp_path}/sockets >{tmp_path}/kept', failed_when: false}}"
    )
    (tmp_path / "playbooks" / "any.yml").write_text(f"- {{hosts: all, gather_facts: false, tasks: [{task}]}}\n")
    (tmp_path / "ansible.cfg").write_text("[defaults]\n")
    hosts(tmp_path).write_text(f"node-0 ansible_connection=local ansible_python_interpreter={sys.executable}\n")
    for name in ("logs", "sockets"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(ansible, "_ROOT", tmp_path)
    monkeypatch.setenv("SSH_AUTH_SOCK", "/of/an/agent")
    for name, value in exported.items():
        monkeypatch.setenv(name, value)
    playbook = ansible.Playbook("any", Workspace(tmp_path), tmp_path / "sockets")
    done = ansible.play(playbook, "test", Timeline(tmp_path / "timeline.json", "test"), Silent())
    assert [change.host for change in done.changed] == ["node-0"]
    seen = (tmp_path / "seen").read_text().splitlines()
    assert not [
        line
        for line in seen
        if line in {f"{name}={value}" for name, value in exported.items()} - {"HOME=/proc/nowhere"}
    ]
    assert {"LC_ALL=C.UTF-8", "SSH_AUTH_SOCK=/of/an/agent"} <= set(seen)
    assert (tmp_path / "kept").read_text() == "", "a run that is killed leaves what is there meanwhile"
    assert not list((tmp_path / "sockets").iterdir())


def test_a_variable_of_a_play_is_on_no_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "playbooks").mkdir()
    tasks = [
        f"{{shell: 'cat /proc/[0-9]*/cmdline >{tmp_path}/seen || true'}}",
        f"{{shell: 'stat --format=%a $(grep -rl geheime[s] {tmp_path}/sockets) >{tmp_path}/kept'}}",
        "{fail: {msg: it was not handed over}, when: secret | length != 8}",
    ]
    text = f"- {{hosts: all, gather_facts: false, tasks: [{', '.join(tasks)}]}}\n"
    (tmp_path / "playbooks" / "any.yml").write_text(text)
    (tmp_path / "ansible.cfg").write_text("[defaults]\n")
    hosts(tmp_path).write_text(f"node-0 ansible_connection=local ansible_python_interpreter={sys.executable}\n")
    for name in ("logs", "sockets"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(ansible, "_ROOT", tmp_path)
    playbook = ansible.Playbook("any", Workspace(tmp_path), tmp_path / "sockets", {"secret": "geheimes"})
    ansible.play(playbook, "test", Timeline(tmp_path / "timeline.json", "test"), Silent())
    seen = (tmp_path / "seen").read_bytes()
    assert b"playbooks/any.yml" in seen
    assert b"geheimes" not in seen
    assert set((tmp_path / "kept").read_text().split()) == {"600"}, "what is there meanwhile, its owner alone reads"


def test_a_run_after_a_plan_is_no_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ansible-runner takes the command line of an earlier run where a later one gives none."""
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "playbooks" / "any.yml").write_text(
        "- hosts: localhost\n  gather_facts: false\n"
        "  tasks:\n"
        f"    - {{copy: {{content: it, dest: {tmp_path}/made, mode: '0644'}}}}\n"
        f"    - {{lineinfile: {{path: {tmp_path}/there, line: here, mode: '0644'}}}}\n"
        "    - refusing: {refused: \"{{ 'data is held' if ansible_check_mode else '' }}\"}\n"
    )
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "refusing.py").write_text(_REFUSING)
    (tmp_path / "ansible.cfg").write_text("[defaults]\nlibrary = library\n")
    hosts(tmp_path).write_text(f"localhost ansible_connection=local ansible_python_interpreter={sys.executable}\n")
    (tmp_path / "there").write_text("before\n")
    (tmp_path / "logs").mkdir()
    monkeypatch.setattr(ansible, "_ROOT", tmp_path)
    made = []
    for check in (True, False):
        playbook = ansible.Playbook("any", Workspace(tmp_path), tmp_path, check=check)
        done = ansible.play(playbook, "test", Timeline(tmp_path / "timeline.json", "test"), Silent())
        assert [(change.host, change.task) for change in done.changed] == [
            ("localhost", "copy"),
            ("localhost", "lineinfile"),
        ]
        assert done.refused == (["data is held"] if check else [])
        assert done.told == (["worker-0 is cordoned"] if check else [])
        made.append((tmp_path / "made").exists())
        if check:
            assert recap.summary(done.changed) == [
                *("Ansible: copy: localhost", f"    + {tmp_path}/made"),
                *("Ansible: lineinfile: localhost", f"    {tmp_path}/there (content):", "    + here"),
            ]
    assert made == [False, True]


def test_a_task_that_fails_tells_what_it_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "library").mkdir()
    (tmp_path / "playbooks" / "any.yml").write_text(
        "[{hosts: all, gather_facts: false, tasks: [{name: look, finding: {refused: x}}]}]"
    )
    finding = _REFUSING.replace("exit_json(changed=False", 'fail_json(msg="lost", diff={"before": "", "after": "gone"}')
    (tmp_path / "library" / "finding.py").write_text(finding)
    (tmp_path / "ansible.cfg").write_text("[defaults]\nlibrary = library\n")
    hosts(tmp_path).write_text(f"localhost ansible_connection=local ansible_python_interpreter={sys.executable}\n")
    (tmp_path / "logs").mkdir()
    monkeypatch.setattr(ansible, "_ROOT", tmp_path)
    playbook = ansible.Playbook("any", Workspace(tmp_path), tmp_path, check=True)
    with pytest.raises(AnsibleError) as caught:
        ansible.play(playbook, "test", Timeline(tmp_path / "timeline.json", "test"), Silent())
    assert caught.value.told == ("Ansible: look: localhost", "    + gone")


def test_a_change_is_told_once_for_all_hosts_and_a_long_one_in_part() -> None:
    maximum = ("kubelet:", '- "maxPods": 110', '+ "maxPods": 100')
    changes = [recap.Change(f"general-{number}", "Compare", maximum) for number in reversed(range(10, 32))]
    changes += [recap.Change("controller-0", "Compare", tuple(f"+ {number}" for number in range(21)))]
    told = recap.summary(changes)
    assert told[0].startswith("Ansible: Compare: general-10, general-11, ")
    assert told[0].endswith(", general-29, and 2 more")
    assert told[1:4] == [f"    {line}" for line in maximum]
    assert told[4] == "Ansible: Compare: controller-0"
    assert told[-2:] == ["    + 19", "    and 1 more"]


def test_a_stop_leaves_no_process_of_ansible_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "playbooks").mkdir()
    task = f"{{shell: 'touch {tmp_path}/begun; trap \"\" TERM HUP INT; sleep 60; true'}}"
    (tmp_path / "playbooks" / "any.yml").write_text(f"- {{hosts: all, gather_facts: false, tasks: [{task}]}}\n")
    (tmp_path / "ansible.cfg").write_text("[defaults]\n")
    hosts(tmp_path).write_text(f"node-0 ansible_connection=local ansible_python_interpreter={sys.executable}\n")
    (tmp_path / "logs").mkdir()
    monkeypatch.setattr(ansible, "_ROOT", tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # a module that is killed leaves its code there

    def interrupt() -> None:
        while not (tmp_path / "begun").exists():
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    playbook = ansible.Playbook("any", Workspace(tmp_path), tmp_path)
    with pytest.raises(InterruptedRunError):
        ansible.play(playbook, "test", Timeline(tmp_path / "timeline.json", "test"), Silent())
    assert [process for process in psutil.process_iter() if connections.mark(process) == str(tmp_path)] == []


def test_what_a_playbook_learns_of_the_hosts_the_next_one_of_the_run_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "playbooks" / "learn.yml").write_text(
        "- {hosts: all, gather_facts: false, tasks: [{set_fact: {learned: here, cacheable: true}}]}\n"
    )
    (tmp_path / "playbooks" / "know.yml").write_text(
        "- {hosts: all, gather_facts: false, tasks: [{assert: {that: ansible_facts.learned == 'here'}}]}\n"
    )
    (tmp_path / "ansible.cfg").write_text("[defaults]\n")
    hosts(tmp_path).write_text("node-0 ansible_connection=local\n")
    (tmp_path / "logs").mkdir()
    monkeypatch.setattr(ansible, "_ROOT", tmp_path)
    timeline = Timeline(tmp_path / "timeline.json", "test")

    def play(name: str, sockets: Path) -> None:
        ansible.play(ansible.Playbook(name, Workspace(tmp_path), sockets), "test", timeline, Silent())

    workspace = Workspace(tmp_path)
    play("learn", tmp_path)
    play("know", tmp_path)
    workspace.begin_command()  # as the next command does, which learns anew
    with pytest.raises(AnsibleError):
        play("know", tmp_path)


def test_what_failed_on_other_hosts_is_told_of_each(tmp_path: Path) -> None:
    said = {"two": "its clock is off", "one": "the disk is full\nand more", "three": "its clock is off"}
    failures = [recap.Failure(host, "Check", text, unreachable=False) for host, text in said.items()]
    error = recap.error([*failures, recap.Failure("two", "Later", "what follows", unreachable=False)], tmp_path)
    assert error.where == "two (and one, three)"
    assert error.why == "one says: the disk is full and more\nthree says: its clock is off"
    assert error.said == said
    assert error.hosts == set(said)
