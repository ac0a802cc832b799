"""The lab's API answers its own user only."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from werkzeug.serving import make_server
from werkzeug.wrappers import Response

from infra.lab.api_access import OnlyUser, owner

CLIENT, SERVER = ("127.0.0.1", 40000), ("127.0.0.1", 5000)
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
REST = "00000000:00000000 00:00000000 00000000"


@contextmanager
def api(user: int) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, OnlyUser(user, Response("instances")), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(("user", "answer"), [(os.geteuid(), 200), (os.geteuid() + 1, 403)])
def test_a_request_is_answered_to_one_user(user: int, answer: int) -> None:
    with api(user) as url:
        assert httpx.get(url).status_code == answer


@pytest.mark.parametrize(("state", "user"), [("01", 1000), ("04", None), ("06", None)])
def test_a_connection_that_its_user_has_closed_is_nobodys(state: str, user: int | None) -> None:
    ends = [f"{int.from_bytes(bytes([127, 0, 0, 1]), sys.byteorder):08X}:{port:04X}" for port in (40000, 5000)]
    line = f"   0: {ends[0]} {ends[1]} {state} {REST}  1000        0 12345 1\n"
    other = f"   1: {ends[1]} {ends[0]} 01 {REST}     0        0 12346 1\n"
    assert owner(HEAD + other + line, CLIENT, SERVER) == user
