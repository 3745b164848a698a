"""How the tests call commands: in this process, since starting one costs a third of a second."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from calling import Command, LineMaker, Said
from permalog.postgres.migrate import migrate
from permalog_server import cli
from permalog_server.sql import steps
from permalog_server.wiring import ACTIONS

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def database(database: str) -> str:
    """A fresh database as the command line makes it: with the agent's actions and the service's accounts."""
    migrate(database, ACTIONS, further=steps())
    return database


@pytest.fixture
def permalog(database: str, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Command:
    """The command line, on a fresh database."""
    monkeypatch.setenv("PERMALOG_DATABASE_URL", database)
    return calling(monkeypatch, capsysbinary)


def calling(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[bytes]) -> Command:
    def call(*arguments: str, stdin: bytes = b"") -> Said:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        code = cli.run(arguments)
        out, err = capsys.readouterr()
        return Said(code, out.decode(), err.decode())

    return call


@pytest.fixture
def line() -> LineMaker:
    """One good event as a line of NDJSON, with members replaced; None leaves one out."""

    def make(**members: Any) -> bytes:
        event = {
            "owner": {"organization_id": "5a3c1e00-0000-4000-8000-00000000000a"},
            "action": "security.finding.created",
            "actor": {"type": "user", "id": "u_1", "email": "ada@tests.example", "name": "Ada"},
            "resource": {"type": "security_finding", "id": "f_1"},
            "occurred_at": "2026-01-31T09:00:00.123456Z",
            "metadata": {"package": "left-pad"},
            **members,
        }
        return json.dumps({k: v for k, v in event.items() if v is not None}).encode() + b"\n"

    return make


@pytest.fixture(scope="session")
def event_stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred thousand realistic events."""
    file = tmp_path_factory.mktemp("stream") / "events.ndjson"
    with file.open("wb") as output:
        subprocess.run([sys.executable, DATA / "event_stream.py", "--n", "100000"], check=True, stdout=output)
    return file
