"""Firewalls of a host that would drop the traffic of a cluster."""

from __future__ import annotations

import json
import re
import shutil

from .firewall import TABLE
from .system.commands import CommandError, run
from .system.paths import HOST, PROGRAMS
from .system.units import show

_VERDICTS = {"accept", "drop", "reject"}
_REMARKS = {"counter", "log", *_VERDICTS}  # what a rule for all packets is made of
_CLOSED = (
    f"traffic that no rule accepts: open it, and the file it comes from, such as {HOST.etc}/nftables.conf or"
    f" {HOST.etc}/iptables/rules.v4; Docker closes FORWARD: remove it"
)


def obstacles() -> list[str]:
    """Return a sentence, with what to do, for each firewall that is closed or cannot be read."""
    managed = []
    ufw = HOST.etc / "ufw/ufw.conf"
    if ufw.exists() and ufw_enabled(ufw.read_text(encoding="utf-8")) and show("ufw.service").active:
        managed.append("the firewall ufw is on: turn it off by `ufw disable`")
    if show("firewalld.service").active:
        managed.append("the firewall firewalld runs: turn it off by `systemctl disable --now firewalld`")
    nft = shutil.which("nft", path=PROGRAMS)
    if managed or not nft:
        return managed
    try:
        # chain by chain: Debian 12's nft crashes where it lists the rules that an earlier kube-proxy left
        chains = [" ".join(place) for place in entrances(_list(nft, "chains")) if closed(_list(nft, "chain", *place))]
    except CommandError as error:
        return [f"the rules of its firewall cannot be read: {error}"]
    return [f"the chain {chain} of its firewall drops {_CLOSED}" for chain in chains]


def ufw_enabled(settings: str) -> bool:
    """Read ufw.conf: ufw's service is active whether or not ufw does anything."""
    return re.search(r"^\s*ENABLED\s*=\s*[\"']?yes", settings, re.MULTILINE | re.IGNORECASE) is not None


def entrances(listed: str) -> list[tuple[str, str, str]]:
    """Return (family, table, name) of the chains for what comes in or passes through (`nft --json list chains`).

    The firewall of this project is left out: it lets the cluster's traffic in.
    """
    chains = [item["chain"] for item in json.loads(listed)["nftables"] if "chain" in item]
    return [
        (chain["family"], chain["table"], chain["name"])
        for chain in chains
        if chain["family"] in {"ip", "inet"}
        and chain.get("hook") in {"input", "forward"}
        and f"{chain['family']} {chain['table']}" != TABLE
    ]


def closed(listed: str) -> bool:
    """Tell from `nft --json list chain` whether a chain drops what none of its rules lets through.

    The first rule for all packets decides, before the chain's policy.
    """
    items = json.loads(listed)["nftables"]
    verdict = next((item["chain"].get("policy", "accept") for item in items if "chain" in item), "accept")
    for parts in ({key for part in item["rule"]["expr"] for key in part} for item in items if "rule" in item):
        if parts <= _REMARKS and parts & _VERDICTS:
            return "accept" not in parts
    return bool(verdict != "accept")


def _list(nft: str, *what: str) -> str:
    return run([nft, "--json", "list", *what])
