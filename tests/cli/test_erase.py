"""``permalog erase-user``, with what an import has rejected, and ``erase --replay``."""

import json
from pathlib import Path

import pytest

from calling import Command, LineMaker


@pytest.fixture(autouse=True)
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where erasures are noted."""
    file = tmp_path / "erasures.ndjson"
    monkeypatch.setenv("PERMALOG_ERASURE_JOURNAL", str(file))
    return file


def test_a_person_goes_from_the_log_and_from_rejected_lines(
    permalog: Command, line: LineMaker, tmp_path: Path, journal: Path
) -> None:
    rejects = tmp_path / "rejects.ndjson"
    lines = line() + line(action="no.such") + line(action="no.such", actor={"type": "user", "id": "u_2"})
    assert permalog("import", "-", "--reject", str(rejects), stdin=lines).code == 1
    assert "ada@tests.example" in rejects.read_text()
    arguments = ("erase-user", "u_1", "--reject", str(rejects), "--json")
    dry = permalog(*arguments, "--dry-run").json
    assert "ada@tests.example" in rejects.read_text()
    assert not journal.exists()
    done = permalog(*arguments)
    assert (done.code, done.json) == (0, dry | {"dry_run": False})
    assert (done.json["rejected_lines"], sum(log["identities"] for log in done.json["logs"])) == (1, 1)
    assert "ada@tests.example" not in rejects.read_text()
    assert len(rejects.read_text().splitlines()) == 1
    assert json.loads(journal.read_text())["id"] == "u_1"
    assert "ada@tests.example" not in permalog("list", "--owner", "org:5a3c1e00-0000-4000-8000-00000000000a").out
    assert permalog(*arguments).code == 1
    assert permalog("erase", "--replay", str(journal), "--json").json == {"replayed": 0}


def test_rejected_lines_that_are_not_there_stop_everything(permalog: Command, line: LineMaker, journal: Path) -> None:
    permalog("import", "-", stdin=line())
    said = permalog("erase-user", "u_1", "--reject", "/nowhere/rejects")
    assert said.code == 2
    assert "reject: rejects cannot be purged" in said.err
    assert not journal.exists()
