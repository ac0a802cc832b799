"""Bad luck that needs no machines, met on the command line: each ends in its exit code and says what to do."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

import pipeline
from bootstrap import platforms, toolchain
from bootstrap.errors import InterruptedRunError
from bootstrap.progress import Silent
from infra import terraform, workspace
from infra.platforms import aws
from infra.platforms.lab import Lab
from infra.terraform import Terraform
from infra.workspace import Workspace
from tests.unit.test_terraform import configuration, wait_for

EXPIRED = """<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>
<Code>ExpiredToken</Code><Message>The security token included in the request is expired</Message></Error>
</ErrorResponse>
"""

Environment = Callable[..., str]


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    """Write an environment file with some keys changed, and return its path; `build` is beside it."""
    monkeypatch.setattr(workspace, "BUILD", tmp_path / "build")
    document = yaml.safe_load((Path(__file__).parents[2] / "environments" / "local.yaml").read_text())
    document["aws"]["machine_image"] = "ami-0123456789abcdef0"

    def written(**changes: object) -> str:
        file = tmp_path / "badluck.yaml"
        file.write_text(yaml.safe_dump(document | {"name": "badluck"} | changes))
        return str(file)

    return written


@pytest.fixture
def answering() -> Iterator[Callable[[int, str], str]]:
    """Start HTTP servers that give one answer to whatever they are asked; return the URL of each."""
    servers = []

    def start(status: int, body: str) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            do_POST = do_GET  # noqa: N815 - the base class looks for this name

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.05,), daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def failed(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> str:
    """Run a command that must end with this exit code; return what it said about that."""
    assert pipeline.main(arguments) == code
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said[said.index("error: ") :]


def test_a_missing_environment(environment: Environment, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = failed(capsys, 10, "apply", "prdo")
    assert "prdo" in said
    assert "local" in said, "it names those that exist"
    assert not (tmp_path / "build").exists()


def make_key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)


def no_key(path: Path) -> None:
    """Leave the file away."""


def text_for_a_key(path: Path) -> None:
    path.write_text("not a key\n")
    path.chmod(0o600)


def a_key_that_all_may_read(path: Path) -> None:
    make_key(path)
    path.chmod(0o644)


def a_key_with_a_passphrase(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", path], check=True)


def no_public_half(path: Path) -> None:
    make_key(path)
    path.with_suffix(".pub").unlink()


def the_public_half_of_another_key(path: Path) -> None:
    make_key(path)
    make_key(path.with_name("other"))
    path.with_name("other.pub").replace(path.with_suffix(".pub"))


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (no_key, "No such file"),
        (text_for_a_key, "the SSH private key cannot be used"),
        (a_key_that_all_may_read, "UNPROTECTED PRIVATE KEY FILE"),
        (a_key_with_a_passphrase, "incorrect passphrase"),
        (no_public_half, "has no public half beside it"),
        (the_public_half_of_another_key, "do not belong together"),
    ],
)
def test_a_key_that_cannot_be_used(
    spoil: Callable[[Path], None],
    why: str,
    environment: Environment,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    key = tmp_path / "key"
    spoil(key)
    said = failed(capsys, 11, "apply", environment(lab=False, ssh={"key": str(key)}))
    assert why in said
    assert str(key) in said
    assert "  do: " in said
    assert "resume: make apply" in said
    assert "FROM=preflight" in said, "it is found before anything is fetched or made"


def test_what_a_lab_and_every_environment_need_is_told_at_once(
    environment: Environment, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    said = failed(capsys, 11, "apply", environment(ssh={"key": str(tmp_path / "key")}))
    assert "error: 2 things are not ready\n- the embedded cloud needs root\n" in said
    assert "\n- the SSH private key cannot be used\n    where: " in said
    assert "\n  resume: make apply" in said, "it belongs to none of them"


def test_a_full_disk(environment: Environment, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "build" / "badluck" / "logs" / "pipeline.log"
    log.parent.mkdir(parents=True)
    log.symlink_to("/dev/full")
    said = failed(capsys, 11, "apply", environment())
    assert "No space left on device" in said
    assert "free some space, then run the same command again" in said


def test_a_checksum_that_does_not_fit(
    environment: Environment,
    answering: Callable[[int, str], str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    mirror = answering(200, "another file")
    said = failed(capsys, 11, "apply", environment(artifacts={"mirror": mirror}), "--from", "artifacts")
    assert "lock file" in said  # a file's or an image's error, whichever comes first
    assert f"where: {mirror}/" in said
    assert "FROM=artifacts" in said
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.parent.name != "locks"]


def test_an_expired_token_of_the_cloud(
    environment: Environment,
    answering: Callable[[int, str], str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "expired")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", answering(403, EXPIRED))
    said = failed(capsys, 11, "apply", environment(lab=False))
    assert "ExpiredToken" in said
    assert "do: log in again" in said


def test_a_state_whose_lock_another_run_holds(
    environment: Environment, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, started = tmp_path / "build" / "badluck", tmp_path / "started"
    folder.mkdir(parents=True)
    Workspace(folder).stack.write_text(configuration(slow=f"touch {started}; exec sleep 60"))
    tools = toolchain.resolve(Silent(), platforms.by_name("aws", lab=True).provider())
    other = Terraform(Workspace(folder), tools.terraform, tools.cli_config, aws.PLATFORM)
    other.plan(Silent())

    def apply() -> None:
        with pytest.raises(InterruptedRunError):
            other.apply(Silent())

    thread = threading.Thread(target=apply)
    thread.start()
    wait_for(started)
    monkeypatch.setattr(terraform, "_LOCK_PATIENCE", 1)
    monkeypatch.setattr(Lab, "running", lambda *_: True)
    try:
        said = failed(capsys, 12, "apply", environment(), "--from", "machines")
    finally:
        other.interrupt()
        thread.join(30)
    assert "Terraform's state is locked by" in said
    assert "within 1 s" in said
    by_hand = f"env TF_CLI_CONFIG_FILE={tools.cli_config} {tools.terraform} -chdir={folder}"
    assert f"unlock with: {by_hand} force-unlock" in said
    assert "FROM=machines" in said
    assert f"log: {folder}" in said
