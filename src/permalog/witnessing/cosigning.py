"""Cosigning: asks witnesses for their signatures of what was sealed, never in the transaction that seals.

Without a quorum nothing stops: writing and sealing go on, and the checkpoints count as unwitnessed until it is there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias
from uuid import UUID

from permalog.errors import NotProven, ProofCode, Refuted, WitnessUnreachable
from permalog.sql import query
from permalog.tlog.note import Note
from permalog.tlog.witness import AddCheckpoint, read_cosignature
from permalog.tlog.witness_policy import WitnessAddress, WitnessPolicy
from permalog.witnessing.anchoring import as_sealer
from permalog.witnessing.proofs import Tree

if TYPE_CHECKING:
    from permalog.postgres.database import Database

ATTEMPTS: Final = 3
"""A witness that stands elsewhere says where; another process may have asked it meanwhile. More is a quarrel."""
PATIENCE: Final = timedelta(minutes=5)
"""How long a checkpoint may wait for its quorum before the doctor minds."""
_OK: Final = 200
_CONFLICT: Final = 409
_SIZE: Final = re.compile(rb"(0|[1-9][0-9]{0,18})\n")


class Answer(NamedTuple):
    """What came back from a witness."""

    status: int
    body: bytes


Ask: TypeAlias = Callable[[str, bytes], Answer]
"""Sends a body to an address. Raises `WitnessUnreachable` where nothing came back in time."""


class Round(NamedTuple):
    """How it went with one witness."""

    witness: str
    cosigned: int
    """Checkpoints."""
    failures: list[str]
    """What went wrong, a sentence each; none names an owner."""


class Standing(NamedTuple):
    """How the trees stand under a policy."""

    trees: int
    unwitnessed: int
    """Those whose checkpoints have lacked a quorum for more than five minutes."""


class _Due(NamedTuple):
    log_id: UUID
    epoch: int
    size: int
    note: str
    old: int


def collect(database: Database, witness: WitnessAddress, ask: Ask) -> Round:
    """Asks a witness for all checkpoints that it has not cosigned: of each tree the newest.

    A witness that cannot be reached is asked once a round, and not once for every log.

    Raises:
        DatabaseProblem: the login is no member of permalog_sealer.
    """
    with as_sealer(database) as connection:
        rows = connection.execute(query("anchors", "to_witness"), {"witness": witness.key.name}).fetchall()
    cosigned, failures = 0, list[str]()
    for due in (_Due(*row) for row in rows):
        try:
            line = _cosigned(database, witness, ask, due)
        except WitnessUnreachable as error:
            failures.append(str(error))
            break
        except NotProven as error:
            failures.append(f"log {due.log_id}: {error}")
            continue
        row = {**due._asdict(), "witness": witness.key.name, "line": line}
        with as_sealer(database) as connection:
            connection.execute(query("anchors", "add_cosignature"), row)
        cosigned += 1
    return Round(witness.key.name, cosigned, failures)


def standing(database: Database, policy: WitnessPolicy, patience: timedelta = PATIENCE) -> Standing:
    """How many trees there are, and how many of them wait for a quorum for too long."""
    parameters = {
        "witnesses": [one.key.name for one in policy.witnesses],
        "quorum": policy.quorum,
        "patience": patience,
    }
    with as_sealer(database) as connection:
        row = connection.execute(query("anchors", "standing"), parameters).fetchone()
    return Standing(*row) if row else Standing(0, 0)


def _cosigned(database: Database, witness: WitnessAddress, ask: Ask, due: _Due) -> str:
    """The witness's line under a checkpoint; where it stands elsewhere than we thought, from there."""
    text, old = Note.parse(due.note.encode()).text, due.old
    for _ in range(ATTEMPTS):
        answer = ask(f"{witness.url}/add-checkpoint", _request(database, due, old))
        if answer.status == _OK:
            return read_cosignature(answer.body, text, witness.key).line()
        found = _SIZE.fullmatch(answer.body) if answer.status == _CONFLICT else None
        if found is None:
            raise WitnessUnreachable(f"{witness.key.name} answered {answer.status}")
        if int(found[1]) > due.size:
            raise _ahead(witness, int(found[1]), due.size)
        if int(found[1]) == old:
            raise _ahead(witness, old, due.size)
        old = int(found[1])
    raise WitnessUnreachable(f"{witness.key.name} stood elsewhere {ATTEMPTS} times")


def _request(database: Database, due: _Due, old: int) -> bytes:
    with as_sealer(database) as connection:
        proof = Tree(connection, due.log_id, due.epoch).consistency(old, due.size)
    return AddCheckpoint(old, tuple(proof), due.note.encode()).to_bytes()


def _ahead(witness: WitnessAddress, theirs: int, ours: int) -> NotProven:
    return Refuted(
        ProofCode.WITNESS_AHEAD,
        f"{witness.key.name} has cosigned {theirs} leaves, and not the tree of {ours} that is here: the database was"
        " restored or rewritten",
    )
