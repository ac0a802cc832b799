"""Print the JSON schema of an environment file: `python -m bootstrap.config > environments/schema.json`."""

from __future__ import annotations

import json
import sys

from bootstrap.config.model import Environment


def schema() -> str:
    """Return the text of `environments/schema.json`."""
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Environment.model_json_schema()}
    return json.dumps(document, indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema())
