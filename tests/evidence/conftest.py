"""What the tests of evidence work on."""

import pytest

from evidence_logs import Sealed, sealed_log
from permalog.client import Permalog


@pytest.fixture
def sealed(log: Permalog, database: str) -> Sealed:
    """Sixty events with their leaves, and one in the raw form that only another writer could store."""
    return sealed_log(log, database)


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tile a transaction, five events a round trip, three identities a query, four commitments in memory."""
    monkeypatch.setattr("permalog.evidence.gathering._TILES", 1)
    monkeypatch.setattr("permalog.evidence.gathering._FETCHED", 5)
    monkeypatch.setattr("permalog.evidence.gathering._OPENED", 3)
    monkeypatch.setattr("permalog.evidence.gathering._HELD", 4)
