"""The add-ons of a cluster as data: each folder of `ansible/addons/` holds an `addon.yaml` and its manifests.

* `addon.yaml`: an `AddOn` as below
* `manifests.yaml.j2`: the objects that are applied, without namespaces, which `addon.yaml` lists
* the files that `host.conflist` and `health.probe.pod` name

All but the first are Ansible templates. Their variables are `values`, the user's values, and those of the inventory
that the argument spec of the role lists: `addons` for manifests, `container_runtime` for a conflist, `verify` for a
probe.
`cluster_images['NAME']` is the reference of the part NAME in lock.yaml. A probe's image is `cluster_images.agnhost`,
which every cluster has: `verify` has to work where an add-on was switched on but not yet applied.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import SchemaError

from bootstrap import data
from bootstrap.errors import ConfigurationError

FOLDER = Path(__file__).parents[1] / "ansible/addons"
MANIFESTS = "manifests.yaml.j2"

Name = Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]{0,30}[a-z0-9])?$")]
Text = Annotated[str, Field(min_length=1)]
Port = Annotated[int, Field(ge=1, le=65535)]
TYPES: Mapping[str, type] = {"boolean": bool, "integer": int, "string": str, "list": list, "mapping": dict}
_MOST = 15  # entries of a list
# The patterns are Python's: those of pydantic's own engine cannot leave a name out.
PATTERNS = ConfigDict(regex_engine="python-re")
Level = Literal["privileged", "baseline", "restricted"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _free(key: str) -> str:
    if hasattr(BaseModel, key):
        raise ValueError(f"a value cannot be named {key}: each model has an attribute of this name")
    return key


Key = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$"), AfterValidator(_free)]


class Value(_Strict):
    """A value that a user may set in the environment file.

    A string may have a pattern, an integer has limits. A list is one of strings, and a mapping one of such lists by
    names; `pattern` is then that of each string, and `keys` that of the names. `example` shows one that is not empty.
    """

    type: Literal["boolean", "integer", "string", "list", "mapping"]
    default: bool | int | str | list[str] | dict[str, list[str]]
    example: list[str] | dict[str, list[str]] | None = None
    keys: str | None = None
    description: Text
    pattern: str | None = None
    minimum: int | None = None
    maximum: int | None = None

    @model_validator(mode="after")
    def _fits(self) -> Value:
        if not isinstance(self.default, TYPES[self.type]) or isinstance(self.default, bool) != (self.type == "boolean"):
            raise ValueError(f"the default is not of the type {self.type}")
        if (self.type == "integer") != (self.minimum is not None) or (self.minimum is None) != (self.maximum is None):
            raise ValueError("write minimum and maximum for an integer, and only for one")
        if self.pattern is not None and self.type not in {"string", "list", "mapping"}:
            raise ValueError("only a string, and those of a list or mapping, have a pattern")
        if (self.type == "mapping") != (self.keys is not None):
            raise ValueError("write keys for a mapping, and only for one")
        if self.example is not None and self.type not in {"list", "mapping"}:
            raise ValueError("only a list or a mapping has an example; of the others, the default is one")
        self._refuse_wrong("default", self.default)
        self._refuse_wrong("example", self.shown)
        return self

    @property
    def shown(self) -> object:
        """The value that shows how it is written."""
        return self.default if self.example is None else self.example

    def field_type(self) -> object:
        """Return the type, with its limits, of the field in the environment file."""
        text = Annotated[str, Field(pattern=self.pattern)]
        if self.type == "list":
            return Annotated[list[text], Field(max_length=_MOST)]
        if self.type == "mapping":
            name, texts = Annotated[str, Field(pattern=self.keys)], Annotated[list[text], Field(min_length=1)]
            return GenericAlias(dict, (name, Annotated[texts, Field(max_length=_MOST)]))
        limits = {"pattern": self.pattern, "ge": self.minimum, "le": self.maximum}
        given: dict[str, Any] = {name: limit for name, limit in limits.items() if limit is not None}
        return Annotated[TYPES[self.type], Field(**given)]

    def _refuse_wrong(self, key: str, value: object) -> None:
        try:
            kind: Any = self.field_type()
            TypeAdapter(kind, config=PATTERNS).validate_python(value)
        except SchemaError as error:
            raise ValueError(f"the pattern is not one that can be used: {error}") from error
        except ValidationError as error:
            raise ValueError(f"the {key} is not valid: {error.errors()[0]['msg']}") from error


class Traffic(_Strict):
    """Traffic between nodes that the cluster's firewall lets through; `ports` are first and last."""

    name: Name
    protocol: Literal["tcp", "udp"]
    ports: Annotated[list[Port], Field(min_length=2, max_length=2)]
    why: str


class Leaves(_Strict):
    """What an add-on makes on a host by itself: folders, links of the network, and tables of nftables, all by name."""

    folders: list[str] = []
    links: list[str] = []
    tables: list[str] = []


class Host(_Strict):
    """The needs of an add-on on each host: kernel modules, and a CNI configuration list (the name of its template).

    bridge: the bridge that it puts Pods at. lease: the file in which it keeps the host's range of Pods, as a variable
    whose name ends in SUBNET. A network that has them is mended when its Node is made anew with another range.

    leaves: what it makes on a host, which goes when the host is reset. keeps: the value that names the folder of Pods'
    data; a host that is reset loses the volumes in it.

    kube-proxy runs in every cluster. A field that leaves it out comes with the first CNI that replaces it.
    """

    modules: list[str] = []
    conflist: str | None = None
    bridge: str | None = None
    lease: str | None = None
    leaves: Leaves = Leaves()
    keeps: str | None = None

    @model_validator(mode="after")
    def _together(self) -> Host:
        if (self.bridge is None) != (self.lease is None):
            raise ValueError("write both of bridge and lease, or none")
        return self


class Workload(_Strict):
    """A Deployment or a DaemonSet; the add-on is ready when all of its Pods are."""

    kind: Literal["Deployment", "DaemonSet"]
    namespace: str
    name: str


class Probe(_Strict):
    """The proof that an add-on does its work, one of three.

    check: name of the check of verification that fails without the add-on. node_list: path in the API of a list that
    has an entry for each node. pod: template of a Pod named `probe`, which ends with success, and of its claims; they
    are created in the namespace of verification.
    """

    check: str | None = None
    node_list: str | None = None
    pod: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Probe:
        if len(self.model_fields_set) != 1:
            raise ValueError("write one of check, node_list and pod")
        return self


class Health(_Strict):
    """The conditions of a healthy add-on; `hint` says where to look when one does not hold."""

    workloads: Annotated[list[Workload], Field(min_length=1)]
    probe: Probe
    hint: str


class Data(_Strict):
    """Objects that hold users' data and need the add-on, which is not removed while there is one.

    `resource` is the plural name in the API; the objects are those with all of these annotations.
    """

    resource: str
    annotations: dict[str, str]


class AddOn(_Strict):
    """An add-on, as its `addon.yaml` describes it.

    default: required (there is no switch), on, off, or missing (on where the platform has no service of this kind).
    A cluster has one add-on of kind cni, which `kubernetes.cni` names; where it names none, the one that is on.
    components: by the name in the lock file, `release` (the version that belongs to the release of Kubernetes) or a
    version. namespaces: those that are the add-on's own, with their level of Pod Security. requires, conflicts: other
    add-ons by name.
    """

    kind: Name
    description: Text
    default: Literal["required", "on", "off", "missing"]
    components: dict[str, str] = {}
    values: dict[Key, Value] = {}
    namespaces: dict[str, Level] = {}
    firewall: list[Traffic] = []
    host: Host = Host()
    requires: list[str] = []
    conflicts: list[str] = []
    health: Health
    data: Data | None = None


@functools.cache
def catalogue(folder: Path = FOLDER) -> Mapping[str, AddOn]:
    """Read every add-on of a folder, by name and sorted by it.

    Raises:
        ConfigurationError: an `addon.yaml` is missing, cannot be read, or a key in it is wrong; or not exactly one
            add-on of kind cni is on.
    """
    found = {path.name: _read(path / "addon.yaml") for path in sorted(folder.iterdir()) if path.is_dir()}
    on = [name for name, addon in found.items() if addon.kind == "cni" and addon.default == "on"]
    if len(on) != 1:
        raise ConfigurationError(
            f"{len(on)} add-ons of kind cni have `default: on`, and one is needed",
            where=str(folder),
            why=", ".join(on) or None,
            todo="write `default: on` in the addon.yaml of the network that clusters get by default",
        )
    return found


def _read(file: Path) -> AddOn:
    todo = "see bootstrap/addons.py for the keys of an addon.yaml"
    try:
        return AddOn.model_validate(data.read(file))
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, detail['loc'])) or 'the file'}: {detail['msg']}" for detail in error.errors()]
        raise ConfigurationError(
            "the description of an add-on is not valid", where=str(file), why="\n".join(lines), todo=todo
        ) from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigurationError("an add-on cannot be read", where=str(file), why=str(error), todo=todo) from error
