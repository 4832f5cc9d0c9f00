"""What several files of this room use."""

from pathlib import Path

import pytest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where a recording is to be; there is none yet."""
    return tmp_path / "a.db"
