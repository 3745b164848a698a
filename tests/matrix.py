"""The tamper matrix at work: attacks, what is known from outside, and what a verifier who knows it finds."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

import psycopg

from asking import ask, composed
from attacks import ATTACKS, COLUMNS, Attack, altered
from permalog.postgres.database import Database
from permalog.tlog.anchor import Anchor, anchor_leaf, anchor_origin
from permalog.tlog.checkpoint import Checkpoint
from permalog.tlog.findings import Finding, VerifyCode
from permalog.tlog.merkle import Frontier
from permalog.tlog.note import Cosigner, Note
from permalog.verifying.database import Given, SignedState, verify_database
from tampering import ACME, PREFIX, SIGNER, Connection, Within, unguarded

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
    "identity.erased_at": ("identity", "identity_erased_is_blank"),
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
    return {one.code for one in failures(connection, given) if isinstance(one.code, VerifyCode)}


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
