"""Print what the tree would do with an environment file: run in it with the file and a contract."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

from bootstrap.artifacts.lock import load as lock
from bootstrap.config.__main__ import schema
from bootstrap.config.components import versions
from bootstrap.config.loader import load
from bootstrap.firewall import rules
from infra import inventory
from infra.contract import Contract

environment = load(sys.argv[1])
contract = Contract.model_validate(json.loads(sys.argv[2]))
release = lock().release(environment.kubernetes.version)
json.dump(
    {
        "schema": json.loads(schema())["$defs"]["Addons"]["properties"],
        "versions": versions(environment, {**release, "agnhost": "9.9.9"}),
        "rules": [dataclasses.astuple(rule) for rule in rules(environment)],
        "inventory": inventory.build(contract, environment, [], Path("/ssh_config")),
    },
    sys.stdout,
)
