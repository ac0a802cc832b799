"""Write the files of `environments/` that follow from the model: `python -m bootstrap.config`."""

from __future__ import annotations

import json

from bootstrap import shell
from bootstrap.config.loader import ENVIRONMENTS
from bootstrap.config.model import Environment
from bootstrap.config.reference import NAME, reference
from bootstrap.files import write_atomically


def schema() -> str:
    """Return the text of `environments/schema.json`, the JSON schema of an environment file, for editors."""
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Environment.model_json_schema()}
    return json.dumps(document, indent=2) + "\n"


if __name__ == "__main__":
    shell.settle()
    write_atomically(ENVIRONMENTS / "schema.json", schema())
    write_atomically(ENVIRONMENTS / f"{NAME}.yaml", reference())
