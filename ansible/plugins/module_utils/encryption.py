"""The key with which the API servers encrypt Secrets."""

from __future__ import annotations

import base64
import json
import secrets

from .system.files import write
from .system.paths import HOST


def encryption_config() -> str:
    """Return an EncryptionConfiguration with a new key; its JSON is YAML too."""
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    providers = [{"secretbox": {"keys": [{"name": "key1", "secret": key}]}}, {"identity": {}}]
    document = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{"resources": ["secrets"], "providers": providers}],
    }
    return json.dumps(document, indent=1) + "\n"


def read_encryption() -> str | None:
    """Return this host's EncryptionConfiguration, None where there is none."""
    return HOST.encryption.read_text(encoding="utf-8") if HOST.encryption.exists() else None


def keep_encryption(content: str) -> None:
    """Write this host's EncryptionConfiguration."""
    write(HOST.encryption, content.encode(), 0o600)
