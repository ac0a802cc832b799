"""The registration of a joining control plane.

The host's kubelet asks the API server on the same host for a certificate, long before that API server answers.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .api import unready
from .system.commands import CommandError, run
from .system.paths import HOST


@contextmanager
def prompt_registration() -> Iterator[None]:
    """While the block runs, restart a kubelet that has no certificate yet when its API server gets ready.

    The kubelet asks again after 2, 4, 8, 16 s and so on; a restart saves the rest of that wait, up to half a minute.
    """
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(ended,))
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def api_server(kubeconfig: str) -> str | None:
    """Return the URL of the API server that a kubeconfig names."""
    found = re.search(r"^\s*server:\s*(\S+)\s*$", kubeconfig, flags=re.MULTILINE)
    return found.group(1) if found else None


def _watch(ended: threading.Event) -> None:
    while not ended.wait(0.5):
        if HOST.kubelet_certificate("client").exists():
            return
        if _ready():
            try:
                run(["systemctl", "restart", "kubelet.service"])
            except CommandError:
                continue
            return


def _ready() -> bool:
    """Tell whether the API server that the kubelet asks is ready."""
    try:
        server = api_server(HOST.bootstrap_kubeconfig.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    return server is not None and not unready(f"{server}/readyz")
