"""The tamper matrix: each attack by whoever may do everything in the database, and what finds it.

The table in docs/threat-model.md is made here. `UPDATE_DOCUMENTS=1` in the environment writes it anew.
"""

import os
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest

from asking import ask, composed
from attacks import ATTACKS, COLUMNS, Attack, altered, filled
from permalog.anchor import Anchor, anchor_leaf, anchor_origin
from permalog.checkpoint import Checkpoint
from permalog.database import Database
from permalog.findings import Finding, VerifyCode
from permalog.merkle import Frontier
from permalog.note import Cosigner, Note
from permalog.verify_database import Given, SignedState, verify_database
from tampering import ACME, BETA, PREFIX, SIGNER, Connection, Within, unguarded

DOCUMENT = Path(__file__).parents[2] / "docs" / "threat-model.md"
MARKS = ("<!-- tamper matrix: made by tests/tamper/test_matrix.py -->", "<!-- end of the tamper matrix -->")
WITNESS = Cosigner("witness.example/w1", bytes(range(32)))
ALL = [*(altered(name) for name, column in COLUMNS.items() if not isinstance(column, str)), *ATTACKS]
BY = ("outside", "anchor", "witness")
# What an attacker has to take away first, and what is put back so far as it goes.
DROPPED = {
    "event.occurred_at": ("event", "event_id"),
    "log.log_id": ("log", "log_id_is_the_owners"),
    "log.organization_id": ("log", "log_id_is_the_owners"),
    "log.user_id": ("log", "log_id_is_the_owners"),
    "head.size": ("head", "head_check"),
}


class Known:
    """What is known from outside, before anything was tampered with."""

    def __init__(self, connection: Connection) -> None:
        stored = ask(
            connection,
            "SELECT log_id, size, root, note FROM permalog.checkpoint WHERE size <= 256 ORDER BY size, log_id",
        )
        leaves = [anchor_leaf(Checkpoint.parse(Note.parse(note.encode()).text)) for *_, note in stored]
        frontier = Frontier().grown(leaves).frontier
        signed = Checkpoint(anchor_origin(PREFIX), frontier.size, frontier.root()).signed(SIGNER).to_bytes()
        self.anchors = {1: [Anchor(0, tuple(leaves), signed).to_bytes()]}
        self.outside = self.state(connection)
        (note,) = (note for log, size, _, note in stored if (log, size) == (ACME.log_id, 256))
        parsed = Note.parse(note.encode())
        line = WITNESS.cosign(parsed.text, 1_769_850_000)
        self.witnessed = [Note(parsed.text, (*parsed.signatures, line)).to_bytes()]
        connection.execute(
            "INSERT INTO permalog.cosignature (log_id, size, witness, line) VALUES (%s, 256, %s, %s)",
            (ACME.log_id, WITNESS.key.name, line.line()),
        )

    def spoil(self, what: str) -> None:
        """Alters what is kept outside: a leaf of an anchor, or what a witness's signature is of."""
        if what == "anchors":
            ((text,),) = self.anchors.values()
            anchor = Anchor.parse(text)
            leaves = (bytes(32), *anchor.leaves[1:])
            self.anchors = {1: [anchor._replace(leaves=leaves).to_bytes()]}
        elif what == "witnessed":
            (note,) = map(Note.parse, self.witnessed)
            self.witnessed = [note._replace(text=note.text.replace("\n256\n", "\n255\n")).to_bytes()]

    @staticmethod
    def state(connection: Connection) -> dict[Any, SignedState]:
        """What was signed last of each log."""
        newest = ask(
            connection,
            "SELECT DISTINCT ON (log_id) log_id, size, root FROM permalog.checkpoint ORDER BY log_id, size DESC",
        )
        return {(log, 1): SignedState(size, root) for log, size, root in newest}

    def given(self, by: str) -> Given:
        """What a verifier is given who knows this beside the keys."""
        return Given(
            keys=[SIGNER.key], prefix=PREFIX, witnesses=[WITNESS.key],
            outside=self.outside if by == "outside" else {},
            anchors=self.anchors if by == "anchor" else {},
            witnessed=self.witnessed if by == "witness" else (),
        )  # fmt: skip


@contextmanager
def prepared(url: str) -> Generator[tuple[Connection, Known]]:
    with psycopg.connect(url) as connection:
        yield connection, Known(connection)
        connection.rollback()


def failures(connection: Connection, given: Given) -> list[Finding]:
    database = cast("Database", cast("object", Within(connection)))
    found = verify_database(database, None, given, keep_going=True).findings
    return [one for one in found if one.severity == "failure"]


def codes(connection: Connection, given: Given) -> set[VerifyCode]:
    return {one.code for one in failures(connection, given)}


@pytest.fixture
def tampered(sealed: str) -> Iterator[tuple[Connection, Known]]:
    with prepared(sealed) as found:
        yield found


def test_what_nobody_has_tampered_with_is_proven_whatever_is_known(tampered: tuple[Connection, Known]) -> None:
    connection, known = tampered
    with unguarded(connection):
        pass
    for by in ("verify", *BY):
        assert failures(connection, known.given(by)) == []


def attack(connection: Connection, one: Attack) -> None:
    name = one.name.removeprefix("change `").removesuffix("`")
    dropped = DROPPED.get(name)
    if one.is_on_guards:
        one.run(connection)
        return
    with unguarded(connection):
        if dropped is not None:
            table, constraint = dropped
            connection.execute(composed(f"ALTER TABLE permalog.{table} DROP CONSTRAINT {constraint}"))
        one.run(connection)


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_an_attack_is_found_by_what_the_table_says(one: Attack, tampered: tuple[Connection, Known]) -> None:
    connection, known = tampered
    before = ask(connection, filled("SELECT count(*) FROM permalog.event WHERE log_id = {A}"))
    assert before == [(310,)]
    attack(connection, one)
    known.spoil(one.spoils)
    if one.outside_too:
        known.outside = known.state(connection)
    found = codes(connection, known.given("verify"))
    if "verify" in one.found:
        assert one.found["verify"] in found
        return
    assert found == set()
    for by in BY:
        found = codes(connection, known.given(by))
        assert found >= {one.found[by]} if by in one.found else found == set(), by


def test_every_column_has_an_attack_or_a_reason(database: str) -> None:
    """A new column without a row in the matrix fails here."""
    with psycopg.connect(database) as connection:
        columns = ask(
            connection,
            "SELECT c.relname || '.' || a.attname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid"
            " WHERE c.relnamespace = 'permalog'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
            " AND a.attnum > 0 AND NOT a.attisdropped",
        )
    assert {name for (name,) in columns} == set(COLUMNS)


def table() -> str:
    """The matrix as it stands in the document."""
    lines = [
        "| attack | `verify` alone | state outside | anchor | witness | code |",
        "|---|---|---|---|---|---|",
    ]
    for one in ALL:
        if "verify" in one.found:
            cells = ["found"] + ["" for _ in BY]
        else:
            cells = ["—", *("found" if by in one.found else "—" for by in BY)]
        told = ", ".join(f"`{code}`" for code in dict.fromkeys(one.found.values())) or f"**not found** {one.window}"
        lines.append(f"| {one.name.strip()} | {' | '.join(cells)} | {told} |")
    lines += ["", "Columns that no row above changes:", ""]
    reasons: dict[str, list[str]] = {}
    for name, column in COLUMNS.items():
        if isinstance(column, str):
            reasons.setdefault(column, []).append(f"`{name}`")
    lines += [f"- {', '.join(names)}: {reason}." for reason, names in reasons.items()]
    return "\n".join(lines)


def test_the_document_has_the_table() -> None:
    text = DOCUMENT.read_text()
    pattern = re.compile(f"{re.escape(MARKS[0])}\n(.*?)\n{re.escape(MARKS[1])}", re.DOTALL)
    if os.environ.get("UPDATE_DOCUMENTS"):
        text = pattern.sub(lambda _: f"{MARKS[0]}\n{table()}\n{MARKS[1]}", text)
        DOCUMENT.write_text(text)
    found = pattern.search(text)
    assert found is not None
    assert found[1] == table()


def test_both_logs_are_looked_at(tampered: tuple[Connection, Known]) -> None:
    connection, known = tampered
    with unguarded(connection):
        connection.execute("UPDATE permalog.event SET outcome = 'denied' WHERE log_id = %s", (BETA.log_id,))
    assert {one.log_id for one in failures(connection, known.given("verify"))} == {BETA.log_id}
