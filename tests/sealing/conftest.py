"""What the tests of sealing work with: a signing, and what a tree is by the naive implementation."""

from pathlib import Path

import pytest

from permalog.database import Database
from permalog.keys import KeyFile
from permalog.outside import SealedFolder
from permalog.signing import Signing

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
