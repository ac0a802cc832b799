"""Images of a container registry, pulled through its HTTP API as OCI archives; each piece is checked by digest."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import httpx
from pydantic import BaseModel, Field, ValidationError

from bootstrap.artifacts.download import Source
from bootstrap.artifacts.image import Blob, write_archive
from bootstrap.errors import PreflightError

_MANIFESTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)


class _Piece(BaseModel):
    """An entry of a manifest: a layer, a configuration, or another manifest."""

    media_type: str = Field("", alias="mediaType")
    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")  # used as a file name
    platform: dict[str, Any] = {}


class _Manifest(BaseModel):
    """The manifest of an image, or the index of the manifests of its architectures."""

    manifests: tuple[_Piece, ...] = ()
    config: _Piece | None = None
    layers: tuple[_Piece, ...] = ()


class Repository:
    """A repository of a registry, such as etcd of registry.k8s.io."""

    def __init__(self, source: Source, reference: str) -> None:
        host, _, rest = reference.partition("/")
        self.reference = reference
        self.name, _, self.tag = rest.rpartition(":")
        self._source = source
        self._base = f"https://{host}/v2/{self.name}"
        self._headers: dict[str, str] = {"Accept": ", ".join(_MANIFESTS)}

    def pull(self, architecture: str, digest: str | None, target: Path) -> str:
        """Write the image for one architecture as an OCI archive and return the address of its manifest.

        `digest` is the pinned digest of the index of the image; without it the tag is pulled over TLS.

        Raises:
            Unreachable: no connection can be made.
            PreflightError: the registry refuses access, or a piece does not match its digest.
        """
        index, image = self._manifest(digest or self.tag, digest)
        manifest = index
        if image.manifests:
            manifest, image = self._for(image.manifests, architecture)
        pieces = [*([image.config] if image.config else []), *image.layers]
        blobs = [self._blob(piece, target.parent) for piece in pieces]
        write_archive(target, self.reference, architecture, manifest, blobs)
        return f"{self._base}/manifests/sha256:{index.sha256}"

    def digest(self) -> str:
        """Return the current digest of the tag: that of the index of the image.

        Raises:
            Unreachable: no connection can be made.
            PreflightError: the registry refuses access, or has no such image.
        """
        index, _ = self._manifest(self.tag, None)
        return f"sha256:{index.sha256}"

    def _for(self, manifests: tuple[_Piece, ...], architecture: str) -> tuple[Blob, _Manifest]:
        for listed in manifests:
            if (listed.platform.get("os"), listed.platform.get("architecture")) == ("linux", architecture):
                return self._manifest(listed.digest, listed.digest)
        raise PreflightError(
            f"{self.reference} is not published for {architecture}",
            where=self._base,
            why="a mirror may hold this image for another architecture only",
            todo="copy the image with all of its architectures, or set artifacts.mirror to another source",
        )

    def _manifest(self, name: str, digest: str | None) -> tuple[Blob, _Manifest]:
        response = self._get(f"{self._base}/manifests/{name}")
        sha256 = hashlib.sha256(response.content).hexdigest()
        if digest and digest != f"sha256:{sha256}":
            raise PreflightError(
                f"{self.reference} does not have the digest of the lock file",
                where=str(response.url),
                why=f"expected {digest}, got sha256:{sha256}",
                todo="find out which of the two is right; the image is not built instead",
            )
        media_type = response.headers.get("content-type", "").partition(";")[0]
        blob = Blob(media_type, sha256, len(response.content), response.content)
        if media_type not in _MANIFESTS:
            raise self._no_registry(response)
        try:
            manifest = _Manifest.model_validate(self._document(response))
        except ValidationError as error:
            raise self._no_registry(response) from error
        if not manifest.manifests and not manifest.config:
            raise self._no_registry(response)
        return blob, manifest

    def _blob(self, listed: _Piece, folder: Path) -> Blob:
        sha256 = listed.digest.removeprefix("sha256:")
        path = folder / sha256
        address = f"{self._base}/blobs/sha256:{sha256}"
        self._source.file(self.reference, address, sha256, path, self._headers)
        return Blob(listed.media_type, sha256, path.stat().st_size, path)

    def _get(self, url: str) -> httpx.Response:
        response = self._source.get(url, self._headers)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            self._headers["Authorization"] = f"Bearer {self._token(response)}"
            response = self._source.get(url, self._headers)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            raise self._refused(url)
        return response

    def _token(self, refused: httpx.Response) -> str:
        challenge = dict(re.findall(r'(\w+)="([^"]*)"', refused.headers.get("www-authenticate", "")))
        realm = challenge.pop("realm", None)
        if not realm:
            raise self._refused(str(refused.url))
        answer = self._document(self._source.get(str(httpx.URL(realm, params=challenge)), {}))
        return str(answer.get("token") or answer.get("access_token"))

    @staticmethod
    def _refused(url: str) -> PreflightError:
        return PreflightError(
            "the registry refuses anonymous access",
            where=url,
            todo="allow anonymous pulls, or set artifacts.mirror to another source",
        )

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
            f"{self.reference}: the server that answers is not a container registry",
            where=str(response.url),
            why=f"the answer is {response.headers.get('content-type') or 'of no media type'}, not a JSON document:"
            " most likely the login page of a proxy",
            todo="open the address in a browser, or set artifacts.mirror to another source",
        )
