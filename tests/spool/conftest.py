"""What the tests of the spool share."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from actions import ACTIONS
from permalog.client import Permalog
from permalog.recording.record import Failure
from permalog.recording.spool_settings import SpoolSettings
from spooling import Opened


@pytest.fixture
def failures() -> list[Failure]:
    return []


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder for spools."""
    return tmp_path / "spools"


@pytest.fixture
def opened(database: str, place: Path, failures: list[Failure]) -> Iterator[Opened]:
    """Opens the library on the database with a spool in `place`, as often as asked; closed after the test."""
    logs: list[Permalog] = []

    def opener(url: str = database, **members: object) -> Permalog:
        spool = SpoolSettings(place, **members)  # pyright: ignore[reportArgumentType]  the test's own
        log = Permalog.connect(url, catalogue=ACTIONS, on_failure=failures.append, spool=spool)
        logs.append(log)
        return log

    yield opener
    for log in logs:
        log.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Spools of the dead are looked for all the time."""
    monkeypatch.setattr("permalog.recording.drain.ADOPT_SECONDS", 0.0)
    return lambda: None
