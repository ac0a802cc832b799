from __future__ import annotations

import base64
import json

from module_utils.encryption import encryption_config


def test_each_encryption_key_is_new_and_long_enough() -> None:
    keys = []
    for _ in range(2):
        document = json.loads(encryption_config())
        (resource,) = document["resources"]
        assert resource["resources"] == ["secrets"]
        assert list(resource["providers"][0]) == ["secretbox"]  # the first one writes
        keys.append(resource["providers"][0]["secretbox"]["keys"][0]["secret"])
    assert len(base64.b64decode(keys[0])) == 32
    assert keys[0] != keys[1]
