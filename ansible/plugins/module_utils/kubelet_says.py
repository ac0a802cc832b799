"""What a kubelet says of its settings, before anything depends on them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .system.commands import CommandError, run
from .system.paths import HOST

_TAKEN = re.compile(r"(unable to load|invalid) kubeconfig")  # the first thing that it lacks once its settings are right
_REFUSED = re.compile(r'"command failed" err="(?P<error>.*)"$|^panic: (?P<panic>.*)$', re.MULTILINE)


def refusal(settings: Mapping[str, Any], files: Mapping[str, str]) -> str | None:
    """Return why this host's kubelet would not start with the cluster's KubeletConfiguration; None if it would.

    `files` has by path what it reads beside it. A kubelet that is not installed yet, or cannot run, says nothing.
    """
    merged = dict(settings)
    for path, text in files.items():
        merged |= json.loads(text) if Path(path).parent == HOST.patches else {}
    HOST.runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
    with TemporaryDirectory(dir=HOST.runtime) as folder:
        config, said = Path(folder, "config.json"), Path(folder, "said")
        config.write_text(json.dumps(merged), encoding="utf-8")
        folders = (f"--kubeconfig={folder}/none", f"--root-dir={folder}", f"--cert-dir={folder}")
        try:
            run(["kubelet", f"--config={config}", *folders], timeout=30, log=said)
        except CommandError:
            text = said.read_text(encoding="utf-8") if said.exists() else ""
            refused = None if _TAKEN.search(text) else _REFUSED.search(text)
            return _plain(refused["error"] or refused["panic"]) if refused else None
    return None


def _plain(said: str) -> str:
    return said.replace('\\"', '"').replace(", path: &TypeMeta{Kind:,APIVersion:,}", "")
