import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

from bootstrap.config.model import Environment
from infra.contract import Contract
from infra.inventory import build

ANSIBLE = Path(__file__).parents[3] / "ansible"


def test_results_are_written_and_the_playbook_ends_well_when_no_machine_answers(
    tmp_path: Path, contract: Contract, environment: Environment
) -> None:
    agnhost = {"name": "agnhost", "version": "1", "kind": "image", "nodes": "all", "reference": "agnhost:1"}
    inventory = build(contract, environment, [agnhost], Path("/nonexistent"))
    inventory["cluster"]["vars"] |= {"ansible_port": 9, "ansible_ssh_common_args": ""}
    for group in inventory["cluster"]["children"].values():
        for hosts in (group, *group.get("children", {}).values()):
            for host in hosts.get("hosts", {}).values():
                host["ansible_host"] = "127.0.0.1"
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
        "big-disk-0",
        "big-disk-1",
        "the checks of the cluster did not run",
    ]
    assert results.stat().st_mode & 0o777 == 0o600
