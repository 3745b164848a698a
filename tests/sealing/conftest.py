"""What the tests of sealing work with: a signing, and what a tree is by the naive implementation."""

from pathlib import Path

import pytest

from permalog.postgres.database import Database
from permalog.sealing.keys import KeyFile
from permalog.sealing.outside import SealedFolder
from permalog.sealing.signing import Signing

ORIGIN = "audit.example.com"


@pytest.fixture
def signing(tmp_path: Path) -> Signing:
    """A key of this test's own, and an empty place outside."""
    keys = KeyFile(tmp_path / "signing.key", ORIGIN)
    keys.make()
    return Signing(ORIGIN, keys, SealedFolder(tmp_path / "sealed"))


@pytest.fixture
def sealed(database: str) -> Database:
    """The fresh database, as a sealer takes it."""
    return Database(database)
