"""Leaves: how many events a core canonicalises, hashes and appends to a tree in a second."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Final

import orjson

from benchmarks.figures import LIMIT, PERMALOG, Report, say
from benchmarks.place import query
from permalog.tlog.canonical import EventRow, leaf_hash, leaf_preimage
from permalog.tlog.merkle import Frontier

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.place import Place

MOST: Final = 50_000
_BATCH: Final = 5_000


def leaves(place: Place, report: Report, repetitions: int) -> None:
    """Rows in memory; the limit is orjson and SHA-256 over members that were parsed beforehand."""
    found = place.ours.execute(query("permalog", "rows"), {"most": MOST}).fetchall()
    rows = [EventRow.read(row) for row in found]
    members = [orjson.loads(leaf_preimage(row)) for row in rows]
    hashes = [leaf_hash(row) for row in rows]
    group = f"Leaves: {len(rows):,} events of {sum(map(len, map(leaf_preimage, rows))) // len(rows):,} bytes, one core"
    hashed = report.figure(group, "canonicalised and hashed", "events/s")
    grown = report.figure(group, f"appended to a tree, {_BATCH:,} at a time", "leaves/s")
    say("hashing leaves")
    for _ in range(repetitions):
        hashed.add(PERMALOG, _rate(len(rows), lambda: [leaf_hash(row) for row in rows]))
        hashed.add(LIMIT, _rate(len(rows), lambda: [_bare(one) for one in members]))
        grown.add(PERMALOG, _rate(len(rows), lambda: _grow(hashes)))


def _bare(members: object) -> bytes:
    return hashlib.sha256(b"\x00" + orjson.dumps(members, option=orjson.OPT_SORT_KEYS)).digest()


def _grow(hashes: list[bytes]) -> None:
    frontier = Frontier()
    for at in range(0, len(hashes), _BATCH):
        frontier = frontier.grown(hashes[at : at + _BATCH]).frontier


def _rate(count: int, work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)
