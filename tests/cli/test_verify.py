"""``permalog verify``: what was sealed is proven, what was altered named, and what cannot be read is neither."""

from pathlib import Path

import psycopg
import pytest

from calling import Command, LineMaker
from permalog.sealing.outside import SealedFolder
from permalog_server.cli import run
from tampering import unguarded

OWNER = ("--owner", "org:5a3c1e00-0000-4000-8000-00000000000a")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where what was signed last is noted."""
    return tmp_path / "data" / "sealed"


@pytest.fixture
def sealed(permalog: Command, line: LineMaker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """The command line, on a log of six events that the sealer has sealed."""
    monkeypatch.setenv("PERMALOG_SIGNING_KEY", str(tmp_path / "keys" / "signing.key"))
    monkeypatch.setenv("PERMALOG_DATA_DIR", str(tmp_path / "data"))
    assert permalog("key", "rotate").code == 0
    text = b"".join(line(occurred_at=f"2026-01-{n + 1:02}T10:00:00Z", event_key=f"k{n}") for n in range(6))
    assert permalog("import", "-", stdin=text).code == 0
    assert permalog("seal", "--once").code == 0
    return permalog


def alter(database: str, statement: str) -> None:
    with psycopg.connect(database) as connection, unguarded(connection):
        connection.execute(statement.encode())


def test_what_the_sealer_sealed_is_proven(sealed: Command) -> None:
    said = sealed("verify", "--json")
    assert said.code == 0, said.out
    assert (said.json["proven"], said.json["failures"]) == (True, 0)
    assert {one["code"] for one in said.json["findings"]} == {"late"}
    assert [one["size"] for one in said.json["logs"] if one["size"] == 6] == [6]
    assert sealed("verify", *OWNER).out.splitlines()[-1].startswith("proven: 1 log(s), 6 events read")


def test_what_was_altered_is_named(sealed: Command, database: str) -> None:
    alter(database, "UPDATE permalog.event SET outcome = 'denied' WHERE resource_type = 'security_finding'")
    first = sealed("verify", *OWNER, "--json")
    assert (first.code, first.json["proven"]) == (1, False)
    (finding,) = first.json["findings"]
    assert (finding["code"], finding["severity"], finding["leaf_index"]) == ("event.changed", "failure", 0)
    every = sealed("verify", *OWNER, "--keep-going", "--json")
    assert every.code == 1
    assert [one["leaf_index"] for one in every.json["findings"] if one["code"] == "event.changed"] == list(range(6))
    shown = sealed("verify", *OWNER)
    assert shown.code == 1
    assert shown.out.startswith(
        f"BROKEN  event.changed: the event is not as it was sealed (log {finding['log_id']}, leaf 0"
    )


def test_a_database_that_was_rolled_back_is_found_by_what_was_noted_outside(
    sealed: Command, line: LineMaker, folder: Path, tmp_path: Path
) -> None:
    log_id = sealed("verify", *OWNER, "--json").json["logs"][0]["log_id"]
    text = line(occurred_at="2026-02-01T10:00:00Z", event_key="later")
    (path,) = folder.glob(f"*/{log_id}")
    before = path.read_bytes()
    assert sealed("import", "-", stdin=text).code == 0
    assert sealed("seal", "--once").code == 0
    assert sealed("verify", *OWNER).code == 0
    # The state outside of a later moment than the database, as after a restore.
    other = tmp_path / "other" / log_id[:2]
    other.mkdir(parents=True)
    later = path.read_text().replace("\n7\n", "\n9\n")
    (other / log_id).write_text(later)
    said = sealed("verify", *OWNER, "--sealed", str(tmp_path / "other"), "--json")
    assert (said.code, said.json["findings"][0]["code"]) == (1, "outside.size")
    (other / log_id).write_bytes(before)
    assert sealed("verify", *OWNER, "--sealed", str(tmp_path / "other")).code == 0
    assert SealedFolder(folder).folder == folder


def test_another_key_than_the_logs_proves_nothing(sealed: Command) -> None:
    key = "audit.example.com+61974a17+ASVDuS/xCVURR2rcg2nbbdyTNmWhGXjdoUBO4QZsqVWd"
    said = sealed("verify", *OWNER, "--key", key, "--json")
    assert (said.code, said.json["findings"][0]["code"]) == (1, "checkpoint.malformed")


def test_it_begins_where_it_ended_and_notes_no_end_of_what_is_broken(
    sealed: Command, database: str, tmp_path: Path
) -> None:
    ends = tmp_path / "ends.json"
    assert sealed("verify", *OWNER, "--since", str(ends)).code == 0
    noted = ends.read_bytes()
    assert b'"size": 6' in noted
    assert sealed("verify", *OWNER, "--since", str(ends)).code == 0
    alter(database, "DELETE FROM permalog.event WHERE resource_type = 'security_finding'")
    assert sealed("verify", *OWNER, "--since", str(ends)).code == 1
    assert ends.read_bytes() == noted
    ends.write_text("[]")
    assert sealed("verify", *OWNER, "--since", str(ends)).code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("--owner", "nobody"),
        ("--key", "none"),
        ("--sealed", "/nonexistent"),
        ("--anchors", "/nonexistent"),
        ("--anchors", ".", *OWNER),
        ("--bundle", "/nonexistent"),
        ("--bundle", "/nonexistent", *OWNER),
        ("--witnessed", "/nonexistent"),
        ("--witness-policy", "/nonexistent"),
        ("--bundle", "/nonexistent", "--since", "/nonexistent"),
        ("--bundle", "/nonexistent", "--anchors", "/nonexistent"),
    ],
)
def test_what_cannot_be_checked_is_neither_proven_nor_broken(arguments: tuple[str, ...], sealed: Command) -> None:
    assert sealed("verify", *arguments).code == 2


def test_a_database_that_is_not_there_cannot_be_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERMALOG_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none?connect_timeout=1")
    assert run(["verify"]) == 2


def test_a_bundle_is_verified_by_itself(sealed: Command, tmp_path: Path) -> None:
    key = sealed("key", "show").out.strip()
    file = tmp_path / "audit.zip"
    assert sealed("evidence", *OWNER, "-o", str(file)).code == 0
    assert sealed("verify", "--bundle", str(file), "--key", key).code == 0
    data = file.read_bytes()
    file.write_bytes(data.replace(b"checkpoint.txt", b"checkpoint.txT"))
    assert sealed("verify", "--bundle", str(file), "--key", key).code == 1
    middle = len(data) // 2
    file.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    other = "audit.example.com+61974a17+ASVDuS/xCVURR2rcg2nbbdyTNmWhGXjdoUBO4QZsqVWd"
    first = sealed("verify", "--bundle", str(file), "--key", other, "--json")
    assert (first.code, [one["code"] for one in first.json["findings"]]) == (1, ["note.unsigned"])
    every = sealed("verify", "--bundle", str(file), "--key", other, "--json", "--keep-going")
    assert every.code == 1
    assert {one["code"] for one in every.json["findings"]} == {"note.unsigned", "bundle.member"}
    assert {one["severity"] for one in every.json["findings"]} == {"failure"}
    shown = sealed("verify", "--bundle", str(file), "--key", key)
    assert "BROKEN  bundle.member: the bytes of " in shown.out
