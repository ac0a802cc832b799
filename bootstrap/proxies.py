"""Proxies, as the environment names them for downloads; an address that a user gives is checked before it is used."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

import idna

from bootstrap.errors import PreflightError


def fault(url: str) -> str | None:
    """Return why nothing can be reached at a URL of http or https, however it is written; None if it can be tried."""
    if " " in url or not url.isprintable():
        return "it holds a space or a character that cannot be printed"
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname or ""
        # The resolver's own encoding refuses labels that are empty or too long.
        _ = host.encode("idna") if host.isascii() else idna.encode(host)
    except ValueError as error:
        return str(error)
    if parts.scheme not in {"http", "https"}:
        return f"{parts.scheme} is neither http nor https" if "://" in url else "http:// is missing before it"
    if not host:
        return "it names no host"
    return "0 is no port" if port == 0 else None


def check() -> None:
    """Check the proxies that are in force.

    Raises:
        PreflightError: a variable is not the URL of an HTTP proxy.
    """
    in_force = getproxies_environment()
    schemes = ["http", "https"] if in_force.keys() >= {"http", "https"} else ["http", "https", "all"]
    # Programs differ in which of the two spellings they prefer.
    for name in (spelled for scheme in schemes for spelled in (f"{scheme}_proxy", f"{scheme}_proxy".upper())):
        value = os.environ.get(name)
        if value and (why := fault(_whole(value))):
            raise PreflightError(
                f"the variable {name} is not the URL of an HTTP proxy",
                where=re.sub(r"^(\w+://)?.*@", r"\1***@", value),  # a password is told to nobody
                why=why,
                todo=f"set it to one such as http://proxy.example.com:3128, or unset it: unset {name}",
            )


def of(url: str) -> str | None:
    """Return the proxy that the environment names for a URL, which `check` has passed; None for a direct connection."""
    named, parts = getproxies_environment(), urlsplit(url)
    proxy = named.get(parts.scheme) or named.get("all")
    excepted = _excepted(parts.hostname or "", parts.port, named.get("no", ""))
    return _whole(proxy) if proxy and not excepted else None


def _whole(proxy: str) -> str:
    """Return a proxy's URL; http is what a name without a scheme means everywhere."""
    return proxy if "://" in proxy else f"http://{proxy}"


def _excepted(host: str, port: int | None, listed: str) -> bool:
    """Tell whether NO_PROXY lists a host: by name, by a domain that it is in, or by a range of addresses."""
    words = [word.strip().removeprefix("*.").strip("[]") for word in listed.split(",")]
    for word in words:
        with suppress(ValueError):
            if ip_address(host) in ip_network(word, strict=False):
                return True
    return bool(proxy_bypass(f"{host}:{port}" if port else host, {"no": ",".join(words)}))
