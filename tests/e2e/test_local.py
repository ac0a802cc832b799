"""The whole way on real machines: each test goes on where the one before it stopped."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from infra.lab.layout import Layout
from tests.e2e.traces import traces

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
NAME = "e2e"
CIDR = "10.76"
BUILD = ROOT / "build" / NAME
# for what the pipeline starts; a socket's path must be short
TEMPORARY = Path(tempfile.gettempdir(), f"e2e-{os.getpid()}")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """environments/local.yaml under a name and addresses of its own; taken down at the end, whatever happened."""
    TEMPORARY.mkdir(mode=0o700)
    os.environ["TMPDIR"] = str(TEMPORARY)
    document = yaml.safe_load((ROOT / "environments" / "local.yaml").read_text())
    document["name"] = NAME
    cidr = f"{CIDR}.0.0/16"
    document["network"] |= {"cidr": cidr, "allow_ssh_from": [cidr], "allow_api_from": [cidr]}
    file = tmp_path_factory.mktemp("environment") / f"{NAME}.yaml"
    file.write_text(yaml.safe_dump(document))
    yield file
    pipeline("destroy", file, "--yes")
    del os.environ["TMPDIR"]
    shutil.rmtree(TEMPORARY)


def pipeline(command: str, file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(argv(command, file, *options), capture_output=True, text=True, check=False)
    sys.stdout.write(f"$ {command} {' '.join(options)}: exit {done.returncode}\n{done.stdout}{done.stderr}\n")
    return done


def argv(command: str, file: Path, *options: str) -> list[str]:
    return [sys.executable, str(ROOT / "pipeline.py"), command, str(file), *options]


def report() -> dict[str, object]:
    document: dict[str, object] = json.loads((BUILD / "report.json").read_text())
    return document


def kubectl(file: Path, *words: str) -> None:
    on_control_plane = ("sudo", "kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf", *words)
    assert pipeline("ssh", file, "controller-0", "--", *on_control_plane).returncode == 0


def ended_in_stage(file: Path, stage: str, seconds: float, number: signal.Signals) -> tuple[int, str]:
    """Start an apply and send it a signal some seconds into a stage; return its exit code and what it said then."""
    process = subprocess.Popen(
        argv("apply", file), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if f" {stage}: " in line:
            break
    assert process.poll() is None, f"apply ended before the stage {stage}"
    time.sleep(seconds)
    process.send_signal(number)
    _, said = process.communicate()
    return process.returncode, said


def test_an_interrupted_apply_stops_terraform_in_order_and_says_how_to_go_on(environment: Path) -> None:
    code, said = ended_in_stage(environment, "machines", 5, signal.SIGINT)
    assert code == 130
    assert "do: run the same command again" in said
    assert "resume: make apply" in said
    log = (BUILD / "logs" / "terraform-apply.log").read_text()
    errors = [line["@message"] for line in map(json.loads, log.splitlines()) if line["@level"] == "error"]
    assert set(errors) <= {"Error: execution halted"}  # what it was making then, it made to the end


def test_an_apply_killed_while_machines_are_made_can_be_destroyed(environment: Path) -> None:
    ended_in_stage(environment, "machines", 15, signal.SIGKILL)
    assert pipeline("destroy", environment, "--yes").returncode == 0
    assert_nothing_left()


def test_an_apply_killed_during_the_install_goes_on_to_a_verified_cluster(environment: Path) -> None:
    ended_in_stage(environment, "install", 25, signal.SIGKILL)
    done = pipeline("apply", environment)
    assert done.returncode == 0
    assert report()["verdict"] == "passed"


def test_a_second_apply_changes_nothing(environment: Path) -> None:
    done = pipeline("apply", environment)
    assert done.returncode == 0
    assert "no changes" in done.stderr
    assert "changed=0" in done.stderr
    assert pipeline("plan", environment, "--detailed-exitcode").returncode == 0


def test_status_and_inventory_tell_what_is_there(environment: Path) -> None:
    status = json.loads(pipeline("status", environment, "--json").stdout)
    assert status["healthy"]
    assert [node["state"] for node in status["nodes"]] == ["Ready"] * 5
    listed = subprocess.run(
        [Path(sys.executable).with_name("ansible-inventory"), "-i", BUILD / "inventory.sh", "--list"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(json.loads(listed.stdout)["_meta"]["hostvars"]) == 5


def test_a_broken_cluster_fails_the_verification_by_name(environment: Path) -> None:
    kubectl(environment, "label", "node", "general-0", "tier=wrong", "--overwrite")
    done = pipeline("verify", environment)
    kubectl(environment, "label", "node", "general-0", "tier=web", "--overwrite")
    assert done.returncode == 15
    assert "general-0" in done.stderr
    assert report()["verdict"] == "failed"


def test_a_machine_that_died_comes_back(environment: Path) -> None:
    leader = machine_leader("general-1")
    os.kill(leader, signal.SIGKILL)
    assert pipeline("apply", environment).returncode == 0
    assert machine_leader("general-1") != leader


def test_destroy_asks(environment: Path) -> None:
    done = pipeline("destroy", environment)
    assert done.returncode == 16
    assert BUILD.exists()


def test_destroy_leaves_nothing(environment: Path) -> None:
    assert pipeline("destroy", environment, "--yes").returncode == 0
    assert_nothing_left()


def machine_leader(host: str) -> int:
    """The process id of a machine's init: the only child of its systemd-nspawn."""
    nodes = json.loads((BUILD / "outputs.json").read_text())["contract"]["value"]["nodes"]
    identifier = next(node["provider_id"] for node in nodes if node["name"] == host)
    for process in psutil.process_iter(["cmdline"]):
        if f"--machine={identifier}" in (process.info["cmdline"] or []):
            return process.children()[0].pid
    raise AssertionError(f"{host} ({identifier}) does not run")


def assert_nothing_left() -> None:
    assert not BUILD.exists()
    assert traces(Layout(BUILD / "lab")) == []
    assert list(TEMPORARY.iterdir()) == []
    addresses = subprocess.run(["ip", "-o", "address"], capture_output=True, text=True, check=True).stdout
    assert f"{CIDR}." not in addresses
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not [command for command in commands if str(BUILD).encode() in command]
