"""``permalog log resume``: what an operator does after a restore."""

import io
import json
from pathlib import Path

import pytest
from typing_extensions import override

from calling import Command, LineMaker
from permalog import Owner
from permalog.sealing.outside import SealedFolder
from permalog.tlog.checkpoint import Checkpoint, log_origin

OWNER = Owner.parse("org:5a3c1e00-0000-4000-8000-00000000000a")


class Terminal(io.TextIOWrapper):
    """Standard input as at a terminal."""

    @override
    def isatty(self) -> bool:
        return True


@pytest.fixture
def refused(permalog: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: LineMaker) -> Command:
    """An installation whose log is smaller than what was signed."""
    monkeypatch.setenv("PERMALOG_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("PERMALOG_ORIGIN", "audit.example.com")
    monkeypatch.setenv("PERMALOG_SIGNING_KEY", str(tmp_path / "signing.key"))
    assert permalog("key", "rotate").code == 0
    assert permalog("import", "-", stdin=b"".join(line(event_key=f"k{n}") for n in range(3))).code == 0
    assert permalog("seal", "--once").code == 0
    origin = log_origin("audit.example.com", OWNER.log_id)
    SealedFolder(tmp_path / "sealed").note(OWNER.log_id, Checkpoint(origin, 9, b"\7" * 32))
    assert permalog("import", "-", stdin=line(event_key="k9")).code == 0
    said = permalog("seal", "--once")
    assert said.code == 1
    assert "permalog log resume --after-restore" in said.err
    return permalog


def test_a_refused_log_goes_on_in_a_new_epoch(refused: Command) -> None:
    said = refused("log", "resume", "--after-restore", "--json")
    assert said.code == 0
    (resumed,) = said.json["resumed"]
    assert resumed == {
        "log_id": str(OWNER.log_id), "owner": str(OWNER), "because": "smaller", "previous_size": 3,
        "last": {"origin": log_origin("audit.example.com", OWNER.log_id), "size": 9, "root": "07" * 32},
        "epoch": 2, "origin": log_origin("audit.example.com", OWNER.log_id, 2),
    }  # fmt: skip
    assert (said.json["well"], said.json["failed"], said.json["dry_run"]) == (1, [], False)  # the operator's own
    assert refused("seal", "--once").code == 0
    verified = refused("verify", "--json")
    assert verified.code == 0
    assert {one["code"] for one in verified.json["findings"]} == {"late", "restored"}
    event = refused("list", "--owner", str(OWNER), "--action", "security.log.resumed", "--json").json["events"][0]
    assert (event["epoch"], event["leaf_index"]) == (2, 1)
    shown = refused("show", event["id"], "--owner", str(OWNER))
    assert "epoch" in shown.out
    exported = refused("export", "--owner", str(OWNER), "--format", "ndjson").out
    assert [json.loads(one).get("epoch") for one in exported.splitlines()][-3:] == [None] * 3
    assert 2 in [json.loads(one).get("epoch") for one in exported.splitlines()]
    assert refused("import", "-", stdin=exported.encode()).code == 0


def test_it_must_be_said_that_it_was_a_restore(refused: Command) -> None:
    said = refused("log", "resume", "--json")
    assert (said.code, json.loads(said.err)["field"]) == (2, "after-restore")


def test_a_dry_run_says_what_would_be_done(refused: Command) -> None:
    said = refused("log", "resume", "--after-restore", "--dry-run")
    assert said.code == 0
    assert "9 leaves were signed, and its tree in this database has 3" in said.out
    assert "would go on as audit.example.com/log/" in said.out
    assert refused("seal", "--once").code == 1


def test_at_a_terminal_it_asks(refused: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(io, "TextIOWrapper", Terminal)
    said = refused("log", "resume", "--after-restore", "--owner", str(OWNER), stdin=b"n\n")
    assert said.code == 1
    assert "Go on in new epochs?" in said.err
    assert refused("seal", "--once").code == 1
    said = refused("log", "resume", "--after-restore", "--owner", str(OWNER), stdin=b"y\n")
    assert (said.code, "1 logs resumed" in said.out) == (0, True)
