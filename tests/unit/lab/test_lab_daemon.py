"""Nothing that goes wrong in one turn of the daemon's loop ends it: its end is that of all machines."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from bootstrap.errors import ConfigurationError
from infra.lab.daemon import Daemon
from infra.lab.layout import Layout


def failing(error: Exception) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (ConfigurationError("user data is not YAML"), "user data is not YAML"),
        (OSError(28, "No space left on device"), "OSError: [Errno 28] No space left on device"),
        (KeyError("nics"), "KeyError: 'nics'"),
    ],
)
def test_a_turn_that_fails_is_a_problem_and_no_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, error: Exception, problem: str
) -> None:
    daemon = Daemon(Layout(tmp_path), IPv4Network("10.79.0.0/16"), tmp_path)
    assert [daemon._attempt(failing(error)) for _ in range(2)] == [problem, problem]
    assert len(caplog.records) == 1, "it is logged once"
    assert daemon._attempt(lambda: None) == ""
