from __future__ import annotations

from pathlib import Path

import pytest

from tests.roles.rendering import render


@pytest.fixture(scope="session")
def strong(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What hosts get that lack nothing."""
    return render(tmp_path_factory.mktemp("strong"), strong=True)


@pytest.fixture(scope="session")
def weak(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What hosts get that lack much."""
    return render(tmp_path_factory.mktemp("weak"), strong=False)
