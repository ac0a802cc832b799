"""A joining control plane's kubelet asks its own API server for a certificate, long before that one answers."""

from __future__ import annotations

import re
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is sent; the kubelet itself checks
    try:
        server = api_server(_BOOTSTRAP.read_text(encoding="utf-8"))
        if server is None:
            return False
        with urllib.request.urlopen(f"{server}/readyz", timeout=3, context=context):  # noqa: S310 - kubeadm's own file
            return True
    except (OSError, ValueError):
        return False
