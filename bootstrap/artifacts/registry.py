"""Images from a registry by its HTTP API, as OCI archives: every piece is checked against its digest."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from bootstrap.artifacts.download import Source
from bootstrap.artifacts.image import Blob, write_archive
from infra.errors import PreflightError

_MANIFESTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)


class Repository:
    """One repository of a registry, such as coredns/coredns of registry.k8s.io."""

    def __init__(self, source: Source, reference: str) -> None:
        host, _, rest = reference.partition("/")
        self.reference = reference
        self.name, _, self.tag = rest.rpartition(":")
        self._source = source
        self._base = f"https://{host}/v2/{self.name}"
        self._headers: dict[str, str] = {"Accept": ", ".join(_MANIFESTS)}

    def pull(self, architecture: str, digest: str | None, target: Path) -> str:
        """Write the image for one architecture as an OCI archive and return the address of its manifest.

        `digest` is the pinned digest of the image's index; without it the tag is taken over TLS.

        Raises:
            Unreachable: no connection can be made.
            PreflightError: the registry refuses, or a piece does not fit its digest.
        """
        index, document = self._manifest(digest or self.tag, digest)
        manifest = index
        if "manifests" in document:
            manifest, document = self._for(document["manifests"], architecture)
        blobs = [self._blob(piece, target.parent) for piece in (document["config"], *document["layers"])]
        write_archive(target, self.reference, architecture, manifest, blobs)
        return f"{self._base}/manifests/sha256:{index.sha256}"

    def _for(self, manifests: list[dict[str, Any]], architecture: str) -> tuple[Blob, dict[str, Any]]:
        for listed in manifests:
            platform = listed.get("platform", {})
            if platform.get("os") == "linux" and platform.get("architecture") == architecture:
                return self._manifest(listed["digest"], listed["digest"])
        raise PreflightError(f"{self.reference} is not published for {architecture}", where=self._base)

    def _manifest(self, name: str, digest: str | None) -> tuple[Blob, dict[str, Any]]:
        response = self._get(f"{self._base}/manifests/{name}")
        sha256 = hashlib.sha256(response.content).hexdigest()
        if digest and digest != f"sha256:{sha256}":
            raise PreflightError(
                f"{self.reference} is not the image in the lock file",
                where=str(response.url),
                why=f"expected {digest}, got sha256:{sha256}",
                todo="find out which is right; nothing is built or installed in its place",
            )
        media_type = response.headers.get("content-type", "").partition(";")[0]
        blob = Blob(media_type, sha256, len(response.content), response.content)
        if media_type not in _MANIFESTS:
            raise self._no_registry(response)
        return blob, self._document(response)

    def _blob(self, listed: Mapping[str, Any], folder: Path) -> Blob:
        sha256 = str(listed["digest"]).removeprefix("sha256:")
        path = folder / sha256
        address = f"{self._base}/blobs/sha256:{sha256}"
        self._source.file(self.reference, address, sha256, path, self._headers)
        return Blob(str(listed["mediaType"]), sha256, path.stat().st_size, path)

    def _get(self, url: str) -> httpx.Response:
        response = self._source.get(url, self._headers)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            self._headers["Authorization"] = f"Bearer {self._token(response)}"
            response = self._source.get(url, self._headers)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            raise PreflightError("the registry refuses anonymous access", where=url)
        return response

    def _token(self, refused: httpx.Response) -> str:
        challenge = dict(re.findall(r'(\w+)="([^"]*)"', refused.headers.get("www-authenticate", "")))
        realm = challenge.pop("realm", None)
        if not realm:
            raise PreflightError("the registry refuses anonymous access", where=str(refused.url))
        answer = self._document(self._source.get(str(httpx.URL(realm, params=challenge)), {}))
        return str(answer.get("token") or answer.get("access_token"))

    def _document(self, response: httpx.Response) -> dict[str, Any]:
        try:
            document = response.json()
        except ValueError as error:
            raise self._no_registry(response) from error
        if not isinstance(document, dict):
            raise self._no_registry(response)
        return document

    def _no_registry(self, response: httpx.Response) -> PreflightError:
        return PreflightError(
            f"{self.reference}: what answers is no registry",
            where=str(response.url),
            why=f"it sends {response.headers.get('content-type') or 'no media type'} where a JSON document should be;"
            " a proxy's login page, perhaps",
            todo="open the address in a browser, or set artifacts.mirror to another source",
        )
