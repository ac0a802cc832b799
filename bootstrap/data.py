"""The project's own data files, in YAML: add-ons, the lock file, the kubelet's fields."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

# The parser in C, where PyYAML has it: some files are long, and each command reads them first.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(path: Path) -> Any:  # noqa: ANN401 - each caller validates it, or knows the shape of its own file
    """Return the document in a file.

    Raises:
        OSError, ValueError, yaml.YAMLError: the file cannot be read, or holds something else than one document.
    """
    return _LOADER(path.read_text(encoding="utf-8")).get_single_data()
