"""Firewalls of a host that would drop the cluster's traffic."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .units import show

_UFW = Path("/etc/ufw/ufw.conf")
_VERDICTS = ("accept", "drop", "reject")
_REMARKS = {"counter", "log", *_VERDICTS}  # what a rule for all packets is made of


def obstacles() -> list[str]:
    """Return a sentence, with what to do, for each firewall that is closed or cannot be read."""
    managed = []
    if _UFW.exists() and ufw_enabled(_UFW.read_text(encoding="utf-8")) and show("ufw.service").active:
        managed.append("its firewall ufw is on: turn it off by `ufw disable`")
    if show("firewalld.service").active:
        managed.append("its firewall firewalld runs: turn it off by `systemctl disable --now firewalld`")
    nft = shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if managed or not nft:
        return managed
    listed = subprocess.run([nft, "--json", "list", "ruleset"], capture_output=True, text=True, check=False, timeout=30)
    if listed.returncode:
        return [f"the rules of its firewall cannot be read: {listed.stderr.strip()}: see to `nft list ruleset`"]
    return [
        f"the chain {chain} of its firewall drops what no rule of it lets through: empty it, and the file it comes from"
        " (/etc/nftables.conf or /etc/iptables/rules.v4)"
        for chain in closed(listed.stdout)
    ]


def ufw_enabled(settings: str) -> bool:
    """Read ufw.conf: ufw's service is active whether or not ufw does anything."""
    return re.search(r"^\s*ENABLED\s*=\s*[\"']?yes", settings, re.MULTILINE | re.IGNORECASE) is not None


def closed(ruleset: str) -> list[str]:
    """Return the chains that drop most of what comes in or passes through, from `nft --json list ruleset`.

    Not the FORWARD of iptables, which Docker closes: networks of Pods let their traffic through there by themselves.
    """
    items: list[dict[str, Any]] = json.loads(ruleset)["nftables"]
    chains = [item["chain"] for item in items if "chain" in item]
    rules = [item["rule"] for item in items if "rule" in item]
    return [
        f"{chain['family']} {chain['table']} {chain['name']}"
        for chain in chains
        if chain["family"] in {"ip", "inet"}
        and chain.get("hook") in {"input", "forward"}
        and (chain["table"], chain["name"]) != ("filter", "FORWARD")
        and next(_final(chain, rules), chain.get("policy", "accept")) != "accept"
    ]


def _final(chain: Mapping[str, Any], rules: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the verdicts of a chain's rules that hold for all packets; the first one decides, before the policy."""
    place = (chain["family"], chain["table"], chain["name"])
    for rule in rules:
        parts = {key for part in rule["expr"] for key in part}
        if (rule["family"], rule["table"], rule["chain"]) == place and parts <= _REMARKS:
            yield from (verdict for verdict in _VERDICTS if verdict in parts)
