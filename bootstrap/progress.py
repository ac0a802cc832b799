"""The reports of a long step while it works. The command line draws it; a library caller may ignore it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives the state of each item (host, resource, artifact) that a step works on."""

    def update(self, item: str, state: str, *, passing: bool = False, done: bool = False) -> None:
        """Tell what `item` does now, in a few words: "creating", "downloading 12/58 MB", "done in 3.2 s".

        A `passing` state is one of the moment only: a live view shows it, a log of lines does without. An item that
        is `done` waits for nothing any more.
        """


class Silent:
    """A Progress that shows nothing."""

    def update(self, item: str, state: str, *, passing: bool = False, done: bool = False) -> None:
        """Ignore it."""
