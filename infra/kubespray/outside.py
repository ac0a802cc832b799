"""What becomes of the proxy by which an inventory's machines reach what is outside: the section `hosts.proxy`."""

from __future__ import annotations

from bootstrap.platforms.hosts.block import Proxy
from infra.kubespray.machines import fits
from infra.kubespray.shared import Shared
from infra.kubespray.values import words

_EXCEPTIONS = "additional_no_proxy"


def proxy(shared: Shared) -> dict[str, object]:
    """Return the section; empty where there is no proxy, or none that could be written."""
    found: dict[str, object] = {}
    for key in ("http", "https"):
        value = shared.take(f"{key}_proxy")
        if not value:
            continue
        if fits(Proxy, **{key: value}):
            found[key] = str(value)
        else:
            shared.tell(f"{key}_proxy", f"no URL of a proxy: write hosts.proxy.{key}")
    exceptions = words(shared.take(_EXCEPTIONS))
    if found and exceptions and fits(Proxy, exceptions=exceptions):
        found["exceptions"] = exceptions
    elif exceptions:
        shared.tell(_EXCEPTIONS, "write them as hosts.proxy.exceptions, one a list's entry")
    shared.tell("no_proxy", "hosts.proxy knows what is inside; write the rest as hosts.proxy.exceptions")
    shared.tell("https_proxy_cert_file", "add the authority to the machines' own certificates (update-ca-certificates)")
    return found
