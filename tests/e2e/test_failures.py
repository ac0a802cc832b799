"""Bad luck on real machines: each ends in an error that says what to do, and then the next apply goes on."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bootstrap.errors import AnsibleError
from bootstrap.process import run
from bootstrap.progress import Silent
from infra import ssh
from tests.e2e.own import Own, ended, own, told

pytestmark = pytest.mark.e2e

_TOKENS = ("--namespace=kube-system", "--field-selector=type=bootstrap.kubernetes.io/token")
_PUBLISHED = ("get", "configmap", "cluster-info", "--namespace=kube-public", "--output=jsonpath={.data}")


def small(document: dict[str, Any]) -> None:
    document["aws"]["zones"] = document["aws"]["zones"][:1]
    document["control_plane"]["count"] = document["pools"][0]["count"] = 1
    document["addons"] = {"metrics-server": {"enabled": False}}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    with own("badluck", 82, tmp_path_factory.mktemp("environment"), small) as environment:
        yield environment


def test_a_full_disk_here(environment: Own) -> None:
    environment.build.mkdir(parents=True)
    # The mount is seen by this one shell, and ends with it: what the run leaves there, only the shell can tell.
    small_disk = f"""
    mount -t tmpfs -o size=8m tmpfs {environment.build} || exit 99
    {shlex.join(environment.argv("apply"))}
    code=$?
    find {environment.build} -type f
    exit $code
    """
    done = ended(["unshare", "--mount", "sh", "-c", small_disk], 120)
    assert done.returncode == 11
    assert "2 machines need 6 GiB of disk, and 0.0 GiB are free" in done.stderr
    assert f"where: {environment.build}" in done.stderr
    left = [Path(line) for line in done.stdout.splitlines()]
    assert environment.build / "logs" / "pipeline.log" in left
    assert not [path for path in left if path.name.startswith(".")], "files are written whole, or not at all"


def test_a_port_in_use_and_a_full_disk_there(environment: Own) -> None:
    environment.killed("apply", "controller-0: answers SSH", "general-0: answers SSH")
    environment.ssh("general-0", "sudo systemd-run --quiet --unit=squatter python3 -m http.server 10250")
    environment.ssh("general-0", "sudo mount -t tmpfs -o size=1m tmpfs /var/lib")

    done = environment.pipeline("apply")
    environment.ssh("general-0", "sudo umount /var/lib; sudo systemctl stop squatter")
    assert done.returncode == 14
    assert "where: general-0" in done.stderr
    assert "0 GB are free under /var/lib" in done.stderr
    assert "ports that Kubernetes needs are taken: 10250 by python3 (process " in done.stderr
    assert "resume: make apply" in done.stderr
    assert f"log: {environment.build}/logs/" in done.stderr


def test_a_token_that_expires_before_a_slow_machine_joins(environment: Own) -> None:
    with environment.started("apply") as process:
        told(process, "general-0: Check the host and gather facts: ok")
        slow = "sudo systemd-run --quiet --unit=slow flock /run/kube-pipeline/kubeadm.lock sleep infinity"
        environment.ssh("general-0", slow)  # which its kubeadm waits for
        told(process, "controller-0: Make the credentials to join by:")
        environment.kubectl("delete", "secrets", *_TOKENS)
        deadline = time.monotonic() + 60
        while "jws-kubeconfig-" in environment.kubectl(*_PUBLISHED):  # a signature by each token, which new nodes check
            assert time.monotonic() < deadline, "the cluster still vouches for tokens that are gone"
            time.sleep(1)
        environment.ssh("general-0", "sudo systemctl stop slow")
        assert process.stderr is not None
        said = process.stderr.read()
        process.wait()
    assert process.returncode == 14
    assert "where: general-0" in said
    assert "the token had expired, or was deleted, before this host joined" in said
    assert "resume: make apply" in said


def test_a_users_pod_that_never_gets_ready_is_told_and_decides_nothing(environment: Own) -> None:
    environment.kubectl("run", "broken", "--namespace=kube-system", "--image=registry.invalid/none:v1")
    done = environment.pipeline("apply")  # the machine whose token had expired joins
    assert done.returncode == 0
    (told,) = [check["evidence"] for check in environment.report()["checks"] if check["name"] == "system_pods"]
    assert "general-0: Pod kube-system/broken" in told


def test_a_pod_of_the_pipeline_that_never_gets_ready(environment: Own) -> None:
    name, namespace = "local-path-provisioner", "local-path-storage"
    image = f"{name}=registry.invalid/none:v1"
    environment.kubectl("set", "image", f"--namespace={namespace}", f"deployment/{name}", image)
    done = environment.pipeline("verify")
    assert done.returncode == 15
    assert f"Pod {namespace}/{name}-" in done.stderr
    assert "ErrImagePull" in done.stderr or "ImagePullBackOff" in done.stderr
    assert "kubectl -n NAMESPACE describe pod NAME" in done.stderr
    failed = {check["name"] for check in environment.report()["checks"] if not check["passed"]}
    assert {"system_pods"} <= failed <= {"system_pods", f"addon-{name}"}


def test_a_machine_that_never_answers_ssh(environment: Own) -> None:
    leader = environment.leader("general-0")
    contract = environment.contract()
    # The stopped process takes connections and says nothing. Stopping the whole service might stop this command.
    stop = "sudo kill -STOP $(systemctl show --property=MainPID --value ssh)"
    try:
        environment.ssh("general-0", stop)
        with pytest.raises(AnsibleError, match=r"did not answer SSH within \d+ s") as raised:
            ssh.wait_until_reachable(contract, environment.build / "ssh_config", Silent(), "look at it", patience=5)
    finally:
        run(["nsenter", f"--target={leader}", "--all", "systemctl", "kill", "--signal=CONT", "ssh"], timeout=60)
    assert str(raised.value.where).startswith("general-0 (10.82.")
    assert "timed out" in str(raised.value.why)


def test_when_all_is_mended_an_apply_ends_well(environment: Own) -> None:
    environment.kubectl("delete", "pod", "broken", "--namespace=kube-system")
    assert environment.pipeline("apply").returncode == 0
    assert environment.report()["verdict"] == "passed"
    environment.destroy()
