"""HTTP to the Kubernetes API, the health of its parts, etcd's JSON gateway and probe Pods, never through a proxy.

The caller chooses the server. Changes of the cluster go through `commands.kubectl`.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
import tempfile
from collections.abc import Mapping
from http.client import OK, HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

KUBELET_PORT = 10250
FAILURES = (OSError, HTTPException, ValueError)  # raised by questions to a broken cluster


class ApiError(ValueError):
    """The API answered, but with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"HTTP {status}: {message}")
        self.status = status
        self.message = message


def fetch(
    url: str,
    *,
    context: ssl.SSLContext | None = None,
    method: str = "GET",
    body: Mapping[str, Any] | None = None,
    timeout: float = 5,
) -> tuple[int, bytes]:
    """Make one request and return its status and body; `timeout` (seconds) is for each wait on the network.

    Raises:
        OSError, HTTPException: there was no answer.
    """
    parts = urlsplit(url)
    if not parts.hostname:
        raise ValueError(f"{url} names no host")
    connection = (
        HTTPSConnection(parts.hostname, parts.port, timeout=timeout, context=context)
        if parts.scheme == "https"
        else HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    )
    path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    try:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def unready(url: str, *, context: ssl.SSLContext | None = None) -> str:
    """Ask a health URL, such as an API server's /readyz; return why it is not ready, or nothing when it is.

    Without a context, any certificate is accepted: nothing but the status is believed.
    """
    try:
        status, body = fetch(url, context=context or trust_anyone())
    except FAILURES as error:
        return str(error) or type(error).__name__
    return "" if status == OK else f"HTTP {status}: {failed_parts(body)}"


def failed_parts(body: bytes) -> str:
    """Return those parts of the API server that /readyz marks as failed, or its last words where it marks none."""
    lines = body.decode("utf-8", "replace").strip().splitlines()
    return "; ".join(line for line in lines if line.startswith("[-]")) or " ".join(lines[-3:])


def speaks_tls(host: str, port: int) -> bool:
    """Tell whether something speaks TLS at an address; a load balancer without a healthy server does not."""
    try:
        with socket.create_connection((host, port), timeout=3) as plain, trust_anyone().wrap_socket(plain):
            return True
    except OSError:
        return False


class Api:
    """A JSON API behind one base URL. Every method raises ApiError, OSError, HTTPException or ValueError."""

    def __init__(self, base: str, context: ssl.SSLContext) -> None:
        self.base = base
        self.context = context

    def get(self, path: str) -> dict[str, Any]:
        """Return the document at `path`."""
        return self._call("GET", path, None)

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create, or ask with a body."""
        return self._call("POST", path, body)

    def delete(self, path: str) -> None:
        """Delete; what is gone already is fine."""
        try:
            self._call("DELETE", path, {"propagationPolicy": "Background"})
        except ApiError as error:
            if error.status != 404:
                raise

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        status, content = fetch(self.base + path, context=self.context, method=method, body=body, timeout=10)
        if status >= 400:
            raise ApiError(status, _message(content))
        document = json.loads(content)
        if not isinstance(document, dict):
            raise ApiError(status, f"{path} is no JSON object")
        return document


def _message(content: bytes) -> str:
    """Return the message of a Kubernetes Status, or the text as it came."""
    text = content.decode("utf-8", "replace").strip()
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text[:500]


def trust(authority: Path, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """Return a context that trusts an authority (file) and shows a client certificate (file, key in it or apart).

    Raises:
        FileNotFoundError: one of the files is missing, and the error names it.
    """
    for path in filter(None, (authority, certificate, key)):
        path.stat()  # the error of `ssl` names no file
    context = ssl.create_default_context(cafile=authority)
    if certificate:
        context.load_cert_chain(certificate, key)
    return context


def trust_anyone() -> ssl.SSLContext:
    """Return a context that accepts any certificate, for a question that sends no secret."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def trust_kubeconfig(document: Mapping[str, Any]) -> ssl.SSLContext:
    """Return the context of a kubeconfig (JSON of `kubectl config view --raw --flatten --minify`)."""
    user, cluster = document["users"][0]["user"], document["clusters"][0]["cluster"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode("ascii")
    context = ssl.create_default_context(cadata=authority)
    pair = b"\n".join(base64.b64decode(user[f"client-{part}-data"]) for part in ("certificate", "key"))
    handle, path = tempfile.mkstemp()  # mode 0600; OpenSSL takes a client's key only from a file
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(pair)
        context.load_cert_chain(path)
    finally:
        os.unlink(path)  # noqa: PTH108 - mkstemp returns a plain path
    return context
