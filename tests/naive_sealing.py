"""Sealing as plainly as it can be done, for tests of what reads a sealed log: all at once, as a superuser."""

from typing import Any
from uuid import UUID

import psycopg

from permalog.tlog.canonical import EventRow, leaf_hash
from permalog.tlog.checkpoint import Checkpoint, log_origin
from permalog.tlog.merkle import Frontier
from permalog.tlog.note import Cosigner, Ed25519Signer

COLUMNS = (
    "log_id::text, id::text, to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'),"
    " to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), recorded_by, action, outcome,"
    " actor_type, actor_id, identity, resource_type, resource_id, correlation_id, source, schema_version,"
    " before_state::text, after_state::text, metadata::text"
)


def seal(
    connection: psycopg.Connection[Any],
    log_id: UUID,
    signer: Ed25519Signer,
    *,
    epoch: int = 1,
    first: bytes | None = None,
    witness: Cosigner | None = None,
) -> Checkpoint:
    """Every waiting event gets its leaf, in the order of `recorded_at`; `first` is a leaf that is no event."""
    old = connection.execute(
        "SELECT index, hashes, event_ids FROM permalog.tile WHERE log_id = %s AND epoch = %s AND level = 0"
        " ORDER BY index",
        (log_id, epoch),
    ).fetchall()
    leaves: list[bytes] = [hashes[at : at + 32] for _, hashes, _ in old for at in range(0, len(hashes), 32)]
    ids: list[UUID | None] = [one for _, _, several in old for one in several]
    if first is not None and not leaves:
        leaves, ids = [first], [None]
    rows = connection.execute(
        f"SELECT {COLUMNS} FROM permalog.event AS e WHERE log_id = %s"
        " AND EXISTS (SELECT FROM permalog.unsealed AS u WHERE u.log_id = e.log_id AND u.id = e.id)"
        " ORDER BY recorded_at, id",
        (log_id,),
    ).fetchall()
    for row in rows:
        leaves.append(leaf_hash(EventRow(*row)))
        ids.append(UUID(row[1]))
    growth = Frontier().grown(leaves)
    for level, hashes in enumerate(growth.rows):
        for index in range(0, len(hashes), 256):
            some = ids[index : index + 256] if level == 0 else None
            known = sorted(one for one in some or [] if one)
            connection.execute(
                "INSERT INTO permalog.tile (log_id, epoch, level, index, hashes, event_ids, first_id, last_id)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (log_id, epoch, level, index) DO UPDATE SET"
                " hashes = excluded.hashes, event_ids = excluded.event_ids, first_id = excluded.first_id,"
                " last_id = excluded.last_id",
                (
                    log_id, epoch, level, index // 256, b"".join(hashes[index : index + 256]), some,
                    known[0] if known else None, known[-1] if known else None,
                ),
            )  # fmt: skip
    connection.execute(
        "INSERT INTO permalog.head (log_id, epoch, size, frontier) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (log_id, epoch) DO UPDATE SET size = excluded.size, frontier = excluded.frontier",
        (log_id, epoch, len(leaves), growth.frontier.to_bytes()),
    )
    connection.execute("DELETE FROM permalog.unsealed WHERE log_id = %s", (log_id,))
    checkpoint = Checkpoint(log_origin(signer.key.name, log_id, epoch), len(leaves), growth.frontier.root())
    note = checkpoint.signed(signer)
    connection.execute(
        "INSERT INTO permalog.checkpoint (log_id, epoch, size, root, note) VALUES (%s, %s, %s, %s, %s)",
        (log_id, epoch, checkpoint.size, checkpoint.root, note.to_bytes().decode()),
    )
    if witness is not None:
        connection.execute(
            "INSERT INTO permalog.cosignature (log_id, epoch, size, witness, line) VALUES (%s, %s, %s, %s, %s)",
            (log_id, epoch, checkpoint.size, witness.key.name, witness.cosign(note.text, 1_769_850_000).line()),
        )
    return checkpoint
