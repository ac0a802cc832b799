"""The section `addons` of an environment file, generated from each `addon.yaml`, and the add-ons that a cluster has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ConfigDict, Field, create_model

from bootstrap.addons import PATTERNS, AddOn, Value, catalogue
from bootstrap.config.values import Section

_CNIS = tuple(name for name, addon in catalogue().items() if addon.kind == "cni")
DEFAULT_CNI = next(name for name in _CNIS if catalogue()[name].default == "on")


class _Model(Section):
    model_config = ConfigDict(validate_default=True, **PATTERNS)


class _Switches(_Model):
    def of(self, name: str) -> Any:  # noqa: ANN401 - its model is generated, so no type names it
        """Return the section of an add-on; None for an add-on that has neither a switch nor values."""
        return getattr(self, _field(name), None)


@dataclass(frozen=True)
class Chosen:
    """An add-on of a cluster, with its values."""

    name: str
    addon: AddOn
    values: Mapping[str, Any]  # of JSON's types


def chosen(cni: str, switches: _Switches, lacks: Set[str]) -> tuple[Chosen, ...]:
    """Return the add-ons of a cluster, the network between Pods first.

    `lacks` are the kinds of add-ons that the platform has no service for.
    """
    found = []
    for name, addon in catalogue().items():
        switch = switches.of(name)
        enabled = getattr(switch, "enabled", None)
        if name == cni if addon.kind == "cni" else (_default(addon, lacks) if enabled is None else enabled):
            values = switch.values.model_dump() if addon.values else {}
            found.append(Chosen(name, addon, values))
    return tuple(sorted(found, key=lambda item: item.addon.kind != "cni"))


def filled(switches: Addons, lacks: Set[str]) -> Addons:
    """Return the section with the default filled in for every switch that the file leaves out."""
    update = {}
    for name, addon in catalogue().items():
        switch = switches.of(name)
        if _switchable(addon) and switch.enabled is None:
            update[_field(name)] = switch.model_copy(update={"enabled": _default(addon, lacks)})
    return switches.model_copy(update=update)


def _default(addon: AddOn, lacks: Set[str]) -> bool:
    return addon.default in {"required", "on"} or (addon.default == "missing" and addon.kind in lacks)


def _switchable(addon: AddOn) -> bool:
    return addon.kind != "cni" and addon.default != "required"


def _field(name: str) -> str:
    return name.replace("-", "_")


def _title(name: str, part: str = "") -> str:
    return "".join(word.capitalize() for word in name.split("-")) + part


def _value(value: Value) -> tuple[Any, Any]:
    return value.field_type(), Field(value.default, description=value.description, examples=[value.shown])


def _switch(name: str, addon: AddOn) -> tuple[Any, Any] | None:
    fields: dict[str, Any] = {}
    if _switchable(addon):
        on = {"on": True, "off": False}.get(addon.default)
        default = "; default: true where the platform has no such service of its own" if on is None else ""
        kind, shown = (bool, on) if on is not None else (bool | None, True)
        fields["enabled"] = kind, Field(on, description=f"whether it is installed{default}", examples=[shown])
    if addon.values:
        inner: dict[str, Any] = {key: _value(value) for key, value in addon.values.items()}
        values = create_model(_title(name, "Values"), __base__=_Model, __doc__=f"Values of {name}.", **inner)
        defaults = {key: value.shown for key, value in addon.values.items()}
        fields["values"] = values, Field(values(), description="how it is set up", examples=[defaults])
    if not fields:
        return None
    told = f"{addon.description[0].upper()}{addon.description[1:]}."
    model = create_model(_title(name), __base__=_Model, __doc__=told, **fields)
    example = {key: field.examples[0] for key, (_, field) in fields.items()}
    return model, Field(model(), alias=name, description=addon.description, examples=[example])


def _switchboard() -> Iterator[tuple[str, tuple[Any, Any]]]:
    for name, addon in catalogue().items():
        if switch := _switch(name, addon):
            yield _field(name), switch


EXAMPLE = {
    name: {"enabled": True} for name, addon in catalogue().items() if addon.default == "on" and _switchable(addon)
}

if TYPE_CHECKING:
    Cni = str

    class Addons(_Switches):
        """A model with a field for each folder of an add-on."""
else:
    Cni = Literal[_CNIS]
    Addons = create_model(
        "Addons", __base__=_Switches, __doc__="Cluster modules beyond the bare cluster.", **dict(_switchboard())
    )
