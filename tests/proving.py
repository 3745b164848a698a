"""What sealing must lead to, by second implementations: each event one leaf, trees and tiles as RFC 6962 has them."""

import hashlib
from itertools import pairwise
from typing import LiteralString
from uuid import UUID

import psycopg
from pymerkle import InmemoryTree  # pyright: ignore[reportMissingTypeStubs]

import naive
from asking import ask
from permalog.tlog.canonical import EventRow, leaf_preimage
from permalog.tlog.checkpoint import log_origin, verify_checkpoint
from permalog.tlog.note import VerifierKey

ROWS: LiteralString = """
    SELECT log_id, id, occurred_at, recorded_at, recorded_by, action, outcome, actor_type, actor_id, identity,
           resource_type, resource_id, correlation_id, source, schema_version, before_state::text, after_state::text,
           metadata::text
    FROM permalog.event WHERE log_id = %s
"""


def leaves_of(connection: psycopg.Connection, log_id: UUID, epoch: int = 1) -> list[tuple[UUID | None, bytes]]:
    """Every leaf of a tree with its event, in order."""
    tiles = connection.execute(
        "SELECT index, hashes, event_ids FROM permalog.tile WHERE log_id = %s AND epoch = %s AND level = 0"
        " ORDER BY index",
        (log_id, epoch),
    ).fetchall()
    assert [index for index, *_ in tiles] == list(range(len(tiles)))
    found: list[tuple[UUID | None, bytes]] = []
    for index, hashes, ids in tiles:
        each = [hashes[at : at + 32] for at in range(0, len(hashes), 32)]
        assert len(each) == len(ids)
        assert len(each) == 256 or index == len(tiles) - 1
        found += zip(ids, each, strict=True)
    return found


def check_tree(connection: psycopg.Connection, log_id: UUID, epoch: int = 1) -> list[tuple[UUID | None, bytes]]:
    """The tree of one epoch hangs together: head, tiles of all levels, first and last ids. Returns its leaves."""
    leaves = leaves_of(connection, log_id, epoch)
    hashes = [leaf for _, leaf in leaves]
    ((size, frontier),) = connection.execute(
        "SELECT size, frontier FROM permalog.head WHERE log_id = %s AND epoch = %s", (log_id, epoch)
    ).fetchall()
    assert size == len(leaves) == int.from_bytes(frontier[:8], "big")
    level, expected = 0, hashes
    while expected:
        stored = connection.execute(
            "SELECT hashes FROM permalog.tile WHERE log_id = %s AND epoch = %s AND level = %s ORDER BY index",
            (log_id, epoch, level),
        ).fetchall()
        assert b"".join(one for (one,) in stored) == b"".join(expected)
        level, expected = level + 1, [naive.root(part) for part in batched256(expected) if len(part) == 256]
    bounds = connection.execute(
        "SELECT event_ids, first_id, last_id FROM permalog.tile WHERE log_id = %s AND epoch = %s AND level = 0",
        (log_id, epoch),
    ).fetchall()
    for ids, first, last in bounds:
        events = [one for one in ids if one is not None]
        assert (first, last) == (min(events, default=None), max(events, default=None))
    return leaves


def batched256(hashes: list[bytes]) -> list[list[bytes]]:
    return [hashes[at : at + 256] for at in range(0, len(hashes), 256)]


def check_log(
    url: str, log_id: UUID, *, keys: list[VerifierKey] | None = None, origin: str = "audit.example.com"
) -> int:
    """Every event of a log has exactly one leaf, and it is its own; all that was signed agrees. Returns the size."""
    with psycopg.connect(url) as connection:
        leaves = check_tree(connection, log_id)
        rows = {row[1]: EventRow.read(row) for row in connection.execute(ROWS, (log_id,))}
        waiting = {one for (one,) in ask(connection, "SELECT id FROM permalog.unsealed WHERE log_id = %s", [log_id])}
        assert len({event_id for event_id, _ in leaves}) == len(leaves)
        assert {event_id for event_id, _ in leaves} | waiting == set(rows)
        assert not {event_id for event_id, _ in leaves} & waiting
        tree = InmemoryTree(algorithm="sha256")
        for event_id, leaf in leaves:
            assert event_id is not None
            preimage = leaf_preimage(rows[event_id])
            assert leaf == hashlib.sha256(b"\0" + preimage).digest()
            tree.append_entry(preimage)
        signed = connection.execute(
            "SELECT size, root, note FROM permalog.checkpoint WHERE log_id = %s AND epoch = 1 ORDER BY size", (log_id,)
        ).fetchall()
        hashes = [leaf for _, leaf in leaves]
        for size, root, note in signed:
            assert root == naive.root(hashes[:size])
            assert root == tree.get_root(size)
            if keys is not None:
                found = verify_checkpoint(note.encode(), log_origin(origin, log_id), keys).checkpoint
                assert (found.size, found.root) == (size, root)
        for (old, old_root, _), (new, new_root, _) in pairwise(signed):
            assert naive.consistent(old, old_root, new, new_root, naive.proof(old, hashes[:new]))
        check_activity(connection, log_id)
        return len(leaves)


def check_activity(connection: psycopg.Connection, log_id: UUID) -> None:
    """The counts are those of the sealed events, counted by one plain scan."""
    kept = connection.execute(
        "SELECT part, day::text, action, actor_type, actor_id, events, first_id::text, last_id::text"
        " FROM permalog.activity WHERE log_id = %s",
        (log_id,),
    ).fetchall()
    scanned = connection.execute(
        """
        WITH e AS (SELECT id::text COLLATE "C" AS id, (occurred_at AT TIME ZONE 'UTC')::date::text AS day, action,
                          actor_type, coalesce(actor_id, '') AS actor_id
                   FROM permalog.event AS e WHERE log_id = %(log)s
                     AND NOT EXISTS (SELECT FROM permalog.unsealed AS u WHERE u.log_id = e.log_id AND u.id = e.id))
        SELECT 'all', '-infinity', '', '', '', count(*), min(id), max(id) FROM e HAVING count(*) > 0
        UNION ALL SELECT 'action', '-infinity', action, '', '', count(*), min(id), max(id) FROM e GROUP BY action
        UNION ALL SELECT 'actor', '-infinity', '', actor_type, actor_id, count(*), min(id), max(id) FROM e
                  GROUP BY actor_type, actor_id
        UNION ALL SELECT 'day', day, '', '', '', count(*), min(id), max(id) FROM e GROUP BY day
        UNION ALL SELECT 'day_action', day, action, '', '', count(*), min(id), max(id) FROM e GROUP BY day, action
        """,
        {"log": log_id},
    ).fetchall()
    assert sorted(kept) == sorted(scanned)
