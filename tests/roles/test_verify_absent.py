"""A host that a run leaves out is in the results with its reason; Ansible knows nothing of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROLE = Path(__file__).parents[2] / "ansible" / "roles" / "verify"
HOSTS = ("controller-0", "controller-1", "general-0")
RESULTS = {"results": [{"name": "host", "passed": True}], "restarts": "02:00"}


@pytest.mark.parametrize(
    ("absent", "source"),
    [([], "controller-0"), (["general-0"], "controller-0"), (["controller-0"], "controller-1")],
)
def test_the_results_of_all_hosts_are_gathered(absent: list[str], source: str, tmp_path: Path) -> None:
    reasons = {name: {"msg": "it is stopped"} for name in absent}
    asked = {
        "hosts": "cluster",
        "gather_facts": False,
        "connection": "local",
        "vars_files": [str(ROLE / "defaults/main.yml"), str(ROLE / "vars/main.yml")],
        "tasks": [
            {"ansible.builtin.set_fact": {"__verify_machine": RESULTS}},
            {
                "ansible.builtin.copy": {
                    "dest": str(tmp_path / "found.json"),
                    "content": "{{ {'machines': _verify_machines, 'source': _verify_source,"
                    " 'restarts': _verify_restarts} | to_json }}",
                },
                "run_once": True,
            },
        ],
    }
    (tmp_path / "play.yml").write_text(yaml.safe_dump([asked]))
    groups = {"control_plane": dict.fromkeys(HOSTS[:2]), "workers": dict.fromkeys(HOSTS[2:])}
    children = {name: {"hosts": hosts} for name, hosts in groups.items()}
    inventory = {"cluster": {"vars": {"ansible_python_interpreter": sys.executable}, "children": children}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory))
    argv: list[str | Path] = [
        Path(sys.executable).with_name("ansible-playbook"),
        "-i",
        tmp_path / "hosts.yml",
        tmp_path / "play.yml",
    ]
    argv += ["--limit", ":".join(["all", *(f"!{name}" for name in absent)])]
    argv += ["--extra-vars", json.dumps({"verify_absent": reasons})]
    settings = {"ANSIBLE_HOME": str(tmp_path), "ANSIBLE_CONFIG": str(ROLE.parents[1] / "ansible.cfg")}
    done = subprocess.run(argv, env=os.environ | settings, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads((tmp_path / "found.json").read_text())
    assert found["machines"] == {name: reasons.get(name, RESULTS) for name in HOSTS}
    assert found["source"] == source
    assert found["restarts"] == {name: "02:00" for name in HOSTS if name not in reasons}
