from __future__ import annotations

import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, ClassVar

import pytest
from module_utils import registration

if TYPE_CHECKING:
    from tests.unit.ansible.conftest import FakeProgram


class ApiServer(BaseHTTPRequestHandler):
    """Not ready until it is told so."""

    code: ClassVar[int]
    asked: ClassVar[int]

    def do_GET(self) -> None:
        type(self).asked += 1
        self.send_response(self.code if self.path == "/readyz" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def _api_server(host: Path) -> Iterator[None]:
    ApiServer.code, ApiServer.asked = 503, 0
    with ThreadingHTTPServer(("127.0.0.1", 0), ApiServer) as server:
        (host / "etc/kubernetes").mkdir(parents=True)
        (host / "etc/kubernetes/bootstrap-kubelet.conf").write_text(
            f"clusters:\n- cluster:\n    server: http://127.0.0.1:{server.server_port}\n  name: kubernetes\n"
        )
        Thread(target=server.serve_forever).start()
        yield
        server.shutdown()


def wait_until_asked() -> None:
    before, deadline = ApiServer.asked, time.monotonic() + 20
    while ApiServer.asked < before + 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_kubelet_is_restarted_once_and_only_when_its_api_server_is_ready(fake_program: FakeProgram) -> None:
    fake_program("systemctl", "true")
    with registration.prompt_registration():
        wait_until_asked()
        assert fake_program.calls() == []
        ApiServer.code = 200
        time.sleep(2)
    assert fake_program.calls() == ["systemctl restart kubelet.service"]


def test_a_kubelet_that_has_its_certificate_is_left_alone(host: Path, fake_program: FakeProgram) -> None:
    fake_program("systemctl", "true")
    with registration.prompt_registration():
        wait_until_asked()
        certificate = host / "var/lib/kubelet/pki/kubelet-client-current.pem"
        certificate.parent.mkdir(parents=True)
        certificate.touch()
        ApiServer.code = 200
        time.sleep(1)
    assert fake_program.calls() == []
