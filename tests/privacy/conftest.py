"""What the tests of privacy work on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from services import Service, serving


@pytest.fixture
def service(database: str, tmp_path: Path) -> Iterator[Service]:
    """The service on a fresh database."""
    with serving(database, tmp_path / "erasures.ndjson") as running:
        yield running
