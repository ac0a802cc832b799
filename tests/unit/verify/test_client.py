import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from module_utils.api import Api, ApiError, fetch


class _Kubernetes(BaseHTTPRequestHandler):
    """Answers as the API does: a document, a Status with a message, or (for a path that is gone) 404."""

    def do_GET(self) -> None:
        self._answer(200, {"path": self.path})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(403, {"kind": "Status", "message": f"{body['metadata']['name']} is forbidden"})

    def do_DELETE(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(404 if self.path == "/gone" else 500, {})

    def _answer(self, status: int, document: object) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(document).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def base() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Kubernetes)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_query_reaches_the_server_and_no_proxy_is_asked(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    status, body = fetch(f"{base}/dial?host=10.0.0.1")
    assert (status, json.loads(body)) == (200, {"path": "/dial?host=10.0.0.1"})


def test_an_error_carries_the_apis_own_message(base: str) -> None:
    api = Api(base, ssl.create_default_context())
    with pytest.raises(ApiError, match="HTTP 403: probe is forbidden"):
        api.post("/pods", {"metadata": {"name": "probe"}})


def test_deleting_what_is_gone_is_fine_and_other_errors_are_not(base: str) -> None:
    api = Api(base, ssl.create_default_context())
    api.delete("/gone")
    with pytest.raises(ApiError, match="HTTP 500"):
        api.delete("/stuck")
