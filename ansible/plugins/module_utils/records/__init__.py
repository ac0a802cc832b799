"""Records that the project keeps in the cluster. Control planes get this package for the approver, too."""

from __future__ import annotations


class RecordError(Exception):
    """A ConfigMap that records something is damaged; the message names it and tells what to do."""
