import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

ANSIBLE = Path(__file__).parents[3] / "ansible"


def test_results_are_written_and_the_playbook_ends_well_when_no_machine_answers(tmp_path: Path) -> None:
    dead = {
        "ansible_host": "127.0.0.1",
        "ansible_port": 9,
        "node_address": "127.0.0.1",
        "node_labels": {},
        "node_taints": [],
        "node_pool": "general",
        "node_zone": "a",
    }
    control_plane, worker = ({**dead, "node_name": name} for name in ("controller-0", "general-0"))
    inventory = {
        "cluster": {
            "children": {
                "control_plane": {"hosts": {"controller-0": control_plane}},
                "workers": {"hosts": {"general-0": worker}},
            },
            "vars": {
                "cluster_version": "1.36.3",
                "cluster_api_host": "127.0.0.1",
                "cluster_api_port": 9,
                "cluster_dns_domain": "cluster.local",
                "cluster_addons": [],
                "cluster_kubelet": {},
                "cluster_region": "b",
                "cluster_artifacts": [{"name": "agnhost", "version": "1", "kind": "image", "reference": "agnhost:1"}],
            },
        }
    }
    (tmp_path / "hosts.yaml").write_text(yaml.safe_dump(inventory))
    results = tmp_path / "checks.json"
    playbook = [str(Path(sys.executable).with_name("ansible-playbook")), str(ANSIBLE / "playbooks" / "verify.yml")]
    subprocess.run(
        [*playbook, "--inventory", str(tmp_path / "hosts.yaml"), "--extra-vars", f"verify_results_file={results}"],
        env={**os.environ, "ANSIBLE_CONFIG": str(ANSIBLE / "ansible.cfg"), "ANSIBLE_HOME": str(tmp_path)},
        check=True,
        capture_output=True,
        timeout=120,
    )
    (machines,) = json.loads(results.read_text())
    assert (machines["name"], machines["passed"]) == ("machines", False)
    assert [line.split(":")[0] for line in machines["evidence"].splitlines()] == [
        "controller-0",
        "general-0",
        "the checks of the cluster did not run",
    ]
    assert results.stat().st_mode & 0o777 == 0o600
