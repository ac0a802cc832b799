"""A joining control plane's kubelet asks its own API server for a certificate, long before that one answers."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import OK
from pathlib import Path

from .checks.client import FAILURES, fetch, trust_anyone
from .commands import CommandError, run

_BOOTSTRAP = Path("/etc/kubernetes/bootstrap-kubelet.conf")
_CERTIFICATE = Path("/var/lib/kubelet/pki/kubelet-client-current.pem")


@contextmanager
def prompt_registration() -> Iterator[None]:
    """While the block runs, restart a kubelet that has no certificate yet when its API server gets ready.

    It asks again after 2, 4, 8, 16 s, ...: without this, up to half a minute is spent waiting for the next time.
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
        if _CERTIFICATE.exists():
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
        server = api_server(_BOOTSTRAP.read_text(encoding="utf-8"))
        return server is not None and fetch(f"{server}/readyz", context=trust_anyone(), timeout=3)[0] == OK
    except FAILURES:
        return False
