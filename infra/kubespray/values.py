"""The values of an inventory's variables: which are plain, which are secret, and how one is shown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

VAULT = "__ansible_vault"  # key of what Ansible could not decrypt, as ansible-inventory prints it
_UNSAFE = "__ansible_unsafe"  # key of a text that Ansible must not take for a template
_SECRET = re.compile(r"pass|pwd|secret|token|credential|htpasswd|psk|(^|_)(auth|private)(_|$)|_key$|^vault_")
_NO_SECRET = re.compile(r"_(dir|path|file|enabled|version|mode)$")  # names of what leads to one, or speaks of it
_SECRET_TEXT = re.compile(r"-----BEGIN|sshpass|//[^/@\s]*:[^/@\s]*@|^\$ANSIBLE_VAULT")
_TEMPLATE = re.compile(r"\{\{|\{%|\{#")
_HIDDEN = "(not shown)"
_LONGEST = 60  # characters


@dataclass(frozen=True)
class Note:
    """A variable that is not taken over as it stands, and why. `hosts` are those that have it, where not all have."""

    variable: str
    value: str
    why: str
    hosts: tuple[str, ...] = ()

    def __str__(self) -> str:
        of = f" ({', '.join(self.hosts)})" if self.hosts else ""
        value = f": {self.value}" if self.value else ""
        return f"- {self.variable}{value}{of}\n    {self.why}"


def plain(value: object) -> object:
    """Return a value as it is meant, without ansible-inventory's mark of texts that are no templates."""
    if isinstance(value, Mapping):
        return plain(value[_UNSAFE]) if set(value) == {_UNSAFE} else {str(key): plain(of) for key, of in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def obstacle(name: str, value: object) -> str | None:
    """Return why a value may not be read: it is a secret, or stands for what Ansible would compute; else None."""
    if secret(name, value):
        return "a secret: no file of an environment holds one"
    if templated(value):
        return "it holds a template, which is not evaluated: write the value that it stands for"
    return None


def templated(value: object) -> bool:
    """Tell whether a value is, or holds, what Ansible would compute."""
    return any(_TEMPLATE.search(text) for text in _texts(value))


def secret(name: str, value: object) -> bool:
    """Tell whether a value is a secret, or holds one, by its name and its look. A switch or a number is none."""
    texts = [text for text in _texts(value) if flag(text) is None]
    return bool(texts) and (_named(name) or any(_SECRET_TEXT.search(text) for text in texts) or _sealed(value))


def shown(name: str, value: object) -> str:
    """Return a value in one short line, without the secrets in it."""
    masked = _masked(name, value)
    text = masked if isinstance(masked, str) else json.dumps(masked, ensure_ascii=False)
    text = "".join(character if character.isprintable() else " " for character in text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def flag(value: object) -> bool | None:
    """Return what a switch says, also as an ini file has it; None where it says nothing."""
    text = str(value).strip().lower()
    return True if text in {"true", "yes", "on", "1"} else False if text in {"false", "no", "off", "0"} else None


def words(value: object) -> list[str]:
    """Return a list of texts, also where an inventory has it as one text with commas."""
    items = value if isinstance(value, list) else str(value).split(",") if value is not None else []
    return [text for item in items if (text := str(item).strip())]


def empty(value: object) -> bool:
    """Tell whether a value says nothing, or switches something off."""
    if isinstance(value, Mapping) and flag(value.get("enabled")) is False:
        return True
    return value in (None, "", [], {}) or value is False or (isinstance(value, str) and flag(value) is False)


def _masked(name: str, value: object) -> object:
    if isinstance(value, Mapping) and VAULT not in value:
        return {key: _masked(str(key), of) for key, of in value.items()} if not _named(name) else _HIDDEN
    if isinstance(value, list) and not _named(name):
        return [_masked("", item) for item in value]
    return _HIDDEN if secret(name, value) else value


def _named(name: str) -> bool:
    return bool(_SECRET.search(name.lower())) and not _NO_SECRET.search(name.lower())


def _sealed(value: object) -> bool:
    if isinstance(value, Mapping):
        return VAULT in value or any(secret(str(key), of) for key, of in value.items())
    return isinstance(value, list) and any(_sealed(item) for item in value)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from (text for item in value.items() for part in item for text in _texts(part))
    elif isinstance(value, list):
        yield from (text for item in value for text in _texts(item))
    elif isinstance(value, str) and value:
        yield value
