"""How the epochs of a log hang together: what the event of a resumption says, held to the trees around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import orjson

from permalog.errors import NotProven
from permalog.sql import query
from permalog.tlog.checkpoint import Checkpoint
from permalog.tlog.findings import VerifyCode
from permalog.tlog.merkle import HASH_BYTES, leaf_hash
from permalog.verifying.rules import Claim, Place, Source

if TYPE_CHECKING:
    from uuid import UUID

    from permalog.postgres.database import Connection
    from permalog.tlog.findings import Report


class Resumed(NamedTuple):
    """The event that an epoch begins with, behind its first leaf (`permalog.resuming`)."""

    last: Checkpoint
    """What was signed last before it, of which the first leaf is."""
    ended: int
    """The epoch that this database had then."""
    claim: Claim
    """How that one ends: so much of it is covered by this event, whether a checkpoint reaches so far or not."""


def resumptions(connection: Connection, log_id: UUID, report: Report) -> dict[int, Resumed]:
    """Of each epoch that begins with a resumption, what that says. Its leaf is verified with all others."""
    found: dict[int, Resumed] = {}
    rows = connection.execute(query("verify", "resumptions"), {"log": log_id}, binary=True).fetchall()
    for epoch, first, metadata in rows:
        place = Place(log_id, epoch)
        try:
            one = _read(orjson.loads(metadata))
        except (NotProven, ValueError, KeyError, TypeError) as error:
            message = f"the event of the resumption does not say from what the epoch goes on: {error}"
            report(place.found(VerifyCode.EPOCH_BROKEN, message, leaf_index=1))
            continue
        if first != leaf_hash(one.last.text().encode()):
            message = "the epoch begins with another checkpoint than the event of its resumption says"
            report(place.found(VerifyCode.EPOCH_BROKEN, message, leaf_index=0))
        found[epoch] = one
    return found


def ends(found: dict[int, Resumed]) -> dict[int, Claim]:
    """How epochs end, that are followed by another: the latest word on each."""
    return {one.ended: one.claim for _, one in sorted(found.items())}


def _read(metadata: dict[str, dict[str, str]]) -> Resumed:
    last, database = metadata["last"], metadata["database"]
    root = bytes.fromhex(database["root"])
    if len(root) != HASH_BYTES:
        raise ValueError("the root is none")
    checkpoint = Checkpoint(last["origin"], int(last["size"]), bytes.fromhex(last["root"]))
    checkpoint.text()
    return Resumed(checkpoint, int(database["epoch"]), Claim(int(database["size"]), root, Source.RESUMPTION))
