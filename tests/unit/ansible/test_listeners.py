from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from module_utils.listeners import described, sockets, users
from module_utils.system.paths import HOST


def test_the_process_that_listens_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HOST, "root", Path("/"))
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        port = server.getsockname()[1]
        name = Path("/proc/self/comm").read_text().strip()
        assert users(port) == [f"{name} (process {os.getpid()})"]
        assert described(port, users(port)) == f"{port} by {name} (process {os.getpid()})"
    assert users(port) == []
    assert described(port, users(port)) == str(port)


def test_only_sockets_that_listen_count() -> None:
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    row = (
        "   0: 0100007F:280A 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 {inode} 1 0\n"
    )
    table = head + row.format(state="0A", inode=11) + row.format(state="01", inode=12)
    assert sockets(table, 10250) == {"11"}
    assert sockets(table, 10251) == set()
