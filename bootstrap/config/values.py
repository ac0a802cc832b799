"""Values of an environment file: what is allowed in one, and what to say about one that is not."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from ipaddress import IPv4Network, ip_network
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, WithJsonSchema
from pydantic_core import PydanticCustomError

from bootstrap.proxies import fault

PRIVATE = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")))

_WORD = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,30}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
# Others give nodes these labels and take other values back: kubelets, kubeadm, and this project.
_GIVEN_LABEL = re.compile(
    r"kube-pipeline/.*|(beta\.)?kubernetes\.io/(arch|os|hostname)|(failure-domain\.beta|topology)\.kubernetes\.io/.*"
    r"|(beta\.kubernetes|node\.kubernetes)\.io/instance-type|node-role\.kubernetes\.io/control-plane"
)
# The node controller gives and takes these taints by the state of a node.
_GIVEN_TAINT = re.compile(r"kube-pipeline/.*|node\.(cloudprovider\.)?kubernetes\.io/.*")


class Section(BaseModel):
    """A mapping of an environment file: frozen, and without keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def wrong(what: str, todo: str) -> PydanticCustomError:
    """Return the error of a validator: `what` follows the key in the message, `todo` says what would be right."""
    return PydanticCustomError("wrong", "{what}", {"what": what, "todo": todo})


def is_name(value: object) -> bool:
    """Tell whether something can be the name of a machine, a pool or an environment."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _name(value: str) -> str:
    if not is_name(value):
        likely = re.sub(r"[^a-z0-9]+", "-", value.partition(".")[0].lower())[:32].lstrip("-0123456789").rstrip("-")
        such = f", such as {likely}" if is_name(likely) else ""
        todo = f"write up to 32 lower-case letters, digits and dashes that begin with a letter{such}"
        raise wrong(f"{json.dumps(value, ensure_ascii=False)} is no name here", todo)
    return value


def _cidr(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        network = ip_network(value, strict=False)
    except ValueError as error:
        raise wrong(f"{value} is not an address range", "write ADDRESS/LENGTH, such as 10.20.0.0/16") from error
    if not isinstance(network, IPv4Network):
        raise wrong(f"{value} is an IPv6 range", "write an IPv4 range, such as 10.20.0.0/16")
    if "/" not in value:
        raise wrong(f"{value} is an address without a length", f"write {value}/32 for this address alone")
    if str(network.network_address) != value.partition("/")[0]:
        raise wrong(f"{value} has host bits set", f"write {network}, the range that this address is in")
    return value


def _url(value: str) -> str:
    if why := fault(value):
        raise wrong(f"{value} is not a URL: {why}", "write one such as https://mirror.example.com/kubernetes")
    parts = urlsplit(value)
    if parts.scheme == "http" and parts.hostname not in {"localhost", "127.0.0.1"}:
        raise wrong(f"{value} is not encrypted", "write an https:// URL: what has no pinned checksum is taken over TLS")
    if parts.username or parts.password:
        raise wrong("the URL holds a user or a password", "take it out: no secret belongs into this file")
    return value.rstrip("/")


def _label_key(value: str) -> str:
    prefix, slash, name = value.rpartition("/")
    if not _WORD.fullmatch(name) or (slash and not _SUBDOMAIN.fullmatch(prefix)):
        raise wrong(
            f"{value!r} is not a Kubernetes label key",
            "write NAME or DOMAIN/NAME: up to 63 letters, digits, '-', '_', '.', with a letter or digit at both ends",
        )
    return value


def _free(given: re.Pattern[str]) -> Callable[[str], str]:
    """Return the validator of a key that only what runs the cluster sets."""

    def refuse(value: str) -> str:
        if given.fullmatch(value):
            name = value.rpartition("/")[2]
            raise wrong(f"{value} is set by the cluster itself", f"write another key, such as example.com/{name}")
        return value

    return refuse


def _label_value(value: str) -> str:
    if value and not _WORD.fullmatch(value):
        raise wrong(
            f"{value!r} is not a Kubernetes label value",
            "write up to 63 letters, digits, '-', '_', '.', with a letter or digit at both ends, or nothing",
        )
    return value


Name = Annotated[str, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": f"^{_NAME.pattern}$"})]
Cidr = Annotated[
    IPv4Network,
    BeforeValidator(_cidr),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}$"}),
]
Url = Annotated[str, AfterValidator(_url), WithJsonSchema({"type": "string", "pattern": "^https?://"})]
LabelKey = Annotated[str, AfterValidator(_label_key), AfterValidator(_free(_GIVEN_LABEL))]
TaintKey = Annotated[str, AfterValidator(_label_key), AfterValidator(_free(_GIVEN_TAINT))]
LabelValue = Annotated[str, AfterValidator(_label_value)]
