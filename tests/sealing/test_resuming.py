"""After a restore: a log is not signed any more, says so, and goes on in a new epoch, on record and proven."""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from actions import ACTIONS
from asking import value
from permalog import Actor, Event, Owner, Permalog, Resource
from permalog.errors import RefusedBecause
from permalog.evidence.verifier import verify_bundle
from permalog.postgres.database import Database
from permalog.reading.tail import Position, read_tail
from permalog.recording.store import Dated
from permalog.resuming import RESUMED, Resumed, resume_after_restore
from permalog.sealing.keys import KeyFile
from permalog.sealing.outside import SealedFolder
from permalog.sealing.sealer import seal_now
from permalog.sealing.signing import Signing, link
from permalog.tlog.canonical import EventRow, leaf_preimage
from permalog.tlog.checkpoint import Checkpoint, log_origin
from permalog.tlog.findings import VerifyCode
from permalog.tlog.merkle import leaf_hash
from permalog.verifying.database import Given, SignedState, Verification, verify_database
from permalog.witnessing.proofs import prove_event
from proving import ROWS, check_tree
from tampering import unguarded

ACME, NORTH = Owner.user("u_acme"), Owner.user("u_north")
OPERATOR = Actor.staff("s_1", name="Sam")


def record(log: Permalog, count: int, owner: Owner = ACME, start: int = 0) -> None:
    events = [
        Event(owner=owner, actor=Actor.user("u_1"), action="thing.made", resource=Resource("thing", f"t_{number}"))
        for number in range(start, start + count)
    ]
    writer = log.writer()
    try:
        assert all(one.status == "created" for one in writer.store([Dated.of(e, datetime.now(UTC)) for e in events]))
    finally:
        writer.close()


def resume(database: Database, signing: Signing, owner: Owner | None = None, *, dry_run: bool = False) -> Resumed:
    return resume_after_restore(database, signing, owner, actor=OPERATOR, source="cli", dry_run=dry_run)


def known(signing: Signing, owner: Owner = ACME, epoch: int = 1) -> Given:
    last = signing.outside.last(owner.log_id)
    assert last is not None
    outside = {(owner.log_id, epoch): SignedState(last.size, last.root)}
    return Given(keys=signing.keys.known(), prefix=signing.origin, outside=outside)


def check(database: Database, signing: Signing, epoch: int) -> Verification:
    return verify_database(database, ACME.log_id, known(signing, epoch=epoch), keep_going=True)


Restored = tuple[Permalog, str, Database, Signing]


@pytest.fixture
def at(new_database: Callable[[str], str], template: str, signing: Signing) -> Iterator[Restored]:
    """A log of 400 events, all signed, in a database that was put back to its first 300."""
    url = new_database(template)
    with opened(url) as (log, database):
        record(log, 300)
        seal_now(database, signing)
    restored = new_database(str(conninfo_to_dict(url)["dbname"]))
    with opened(url) as (log, database):
        record(log, 100, start=300)
        seal_now(database, signing)
    with opened(restored) as (log, database):
        yield log, restored, database, signing


@contextmanager
def opened(url: str) -> Generator[tuple[Permalog, Database]]:
    database = Database(url)
    with Permalog.connect(url, catalogue=ACTIONS) as log:
        yield log, database
    database.close()


def test_a_restored_log_is_refused_with_instructions_and_goes_on_in_a_new_epoch(at: Restored) -> None:
    log, url, database, signing = at
    last = signing.outside.last(ACME.log_id)
    record(log, 5, start=400)
    refused = seal_now(database, signing).refused
    assert "400 leaves were signed, and its tree in this database has 300" in refused[ACME.log_id]
    assert "permalog log resume --after-restore" in refused[ACME.log_id]

    (found,), well, failed = resume(database, signing)
    assert (found.because, found.last, found.size, found.epoch) == (RefusedBecause.SMALLER, last, 300, 2)
    assert (well, failed) == (0, {})
    stats = seal_now(database, signing)
    assert (stats.events, stats.refused) == (5, {})
    with psycopg.connect(url) as connection:
        leaves = check_tree(connection, ACME.log_id, epoch=2)
        rows = {row[1]: EventRow.read(row) for row in connection.execute(ROWS, (ACME.log_id,))}
        assert len(check_tree(connection, ACME.log_id)) == 300
    assert last is not None
    assert leaves[0] == (None, link(last))
    assert [leaf for _, leaf in leaves[1:]] == [leaf_hash(leaf_preimage(rows[one])) for one, _ in leaves[1:] if one]
    assert rows[leaves[1][0]].action == RESUMED  # pyright: ignore[reportArgumentType]
    assert len(leaves) == 7
    now = signing.outside.last(ACME.log_id)
    assert now is not None
    assert (now.origin, now.size) == (log_origin(signing.origin, ACME.log_id, 2), 7)

    result = check(database, signing, epoch=2)
    assert result.proven, result.findings
    assert [(one.epoch, one.size) for one in result.logs] == [(1, 300), (2, 7)]
    (notice,) = result.findings
    assert (notice.code, notice.epoch) == (VerifyCode.RESTORED, 2)
    assert "400 leaves were signed, and 300 are here" in notice.message
    assert "covers the 6 events since" in notice.message


def test_the_resumption_is_on_record_and_opens_the_first_leaf(at: Restored) -> None:
    log, _, database, signing = at
    last = signing.outside.last(ACME.log_id)
    resume(database, signing)
    event = log.list(ACME, action=[RESUMED]).events[0]
    assert (event.actor_type, event.actor_id, event.source) == ("staff", "s_1", "cli")
    said = event.metadata["last"]
    assert Checkpoint(said["origin"], said["size"], bytes.fromhex(said["root"])) == last
    assert (event.metadata["epoch"], event.metadata["because"]) == (2, "smaller")
    assert (event.metadata["database"]["epoch"], event.metadata["database"]["size"]) == (1, 300)


def test_what_needs_no_resumption_is_left_alone(at: Restored) -> None:
    log, _, database, signing = at
    record(log, 3, NORTH)
    seal_now(database, signing)
    first = resume(database, signing)
    assert ([one.owner for one in first.logs], first.well) == ([ACME], 1)
    again = resume(database, signing)
    assert (again.logs, again.well, again.failed) == ([], 2, {})
    assert check(database, signing, epoch=2).proven


def test_a_dry_run_writes_nothing(at: Restored) -> None:
    log, _, database, signing = at
    last = signing.outside.last(ACME.log_id)
    (found,), _, _ = resume(database, signing, dry_run=True)
    assert (found.epoch, found.size) == (2, 300)
    assert signing.outside.last(ACME.log_id) == last
    assert not log.list(ACME, action=[RESUMED]).events
    record(log, 1, start=400)
    assert seal_now(database, signing).refused


def test_proofs_bundles_and_the_tail_keep_to_the_epoch_of_each_event(at: Restored) -> None:
    log, url, database, signing = at
    record(log, 5, start=400)
    resume(database, signing)
    seal_now(database, signing)
    newest = log.list(ACME, limit=5).events[0]
    oldest = log.list(ACME, resource_id="t_0").events[0]
    with psycopg.connect(url) as connection:
        rows = {str(row[1]): EventRow.read(row) for row in connection.execute(ROWS, (ACME.log_id,))}
    for event, epoch in ((newest, 2), (oldest, 1)):
        proof = prove_event(database, ACME, event.id)
        leaf = leaf_hash(leaf_preimage(rows[str(event.id)]))
        verified = proof.verify(leaf, log_origin(signing.origin, ACME.log_id, epoch), signing.keys.known())
        assert verified.checkpoint.size == (300 if epoch == 1 else 7)
        assert proof.leaf_index == event.leaf_index
        assert event.epoch == epoch
    for epoch, events in ((None, 6), (1, 300)):
        file = BytesIO()
        manifest = log.evidence(ACME, file, keys=signing.keys, epoch=epoch)
        verify_bundle(file, signing.keys.known())
        assert (manifest.epoch, manifest.counts.events) == (epoch or 2, events)
    position, seen = Position(1, -1), 0
    is_more = True
    while is_more:
        batch = read_tail(database, ACME, position)
        seen += len(batch.events)
        assert all(one.epoch == place.epoch for place, one in batch.events)
        position, is_more = batch.position, batch.is_more
    assert (seen, position) == (306, Position(2, 6))


def test_a_second_restore_begins_a_third_epoch_and_skips_what_was_lost(at: Restored) -> None:
    """The database is put back to before the first resumption: its second epoch is gone, but was signed."""
    log, url, database, signing = at
    resume(database, signing)
    with psycopg.connect(url) as connection, unguarded(connection):
        connection.execute("DELETE FROM permalog.head WHERE epoch = 2; DELETE FROM permalog.tile WHERE epoch = 2")
        connection.execute("DELETE FROM permalog.checkpoint WHERE epoch = 2")
        connection.execute("DELETE FROM permalog.event WHERE action = 'security.log.resumed'")
    (found,), _, _ = resume(database, signing)
    assert (found.because, found.epoch) == (RefusedBecause.SMALLER, 3)
    assert found.last.origin == log_origin(signing.origin, ACME.log_id, 2)
    record(log, 1, start=500)
    assert not seal_now(database, signing).refused
    with psycopg.connect(url) as connection:
        assert len(check_tree(connection, ACME.log_id, epoch=3)) == 3
        assert value(connection, "SELECT size FROM permalog.head WHERE epoch = 2") == 0


def test_a_place_outside_that_was_lost_begins_anew_from_what_the_database_holds(
    log: Permalog, sealed: Database, signing: Signing, tmp_path: Path
) -> None:
    record(log, 10)
    seal_now(sealed, signing)
    last = signing.outside.last(ACME.log_id)
    lost = Signing(signing.origin, signing.keys, SealedFolder(tmp_path / "new"))
    record(log, 1, start=10)
    assert "nothing is known of them" in seal_now(sealed, lost).refused[ACME.log_id]
    (found,), _, _ = resume(sealed, lost)
    assert (found.because, found.last, found.epoch) == (RefusedBecause.FORGOTTEN, last, 2)
    assert seal_now(sealed, lost).events == 1
    result = check(sealed, lost, epoch=2)
    assert (result.proven, result.findings) == (True, [])  # nothing is missing: the new epoch begins where the old ends


def test_a_database_whose_checkpoint_was_signed_by_nobody_is_not_believed(
    log: Permalog, sealed: Database, signing: Signing, tmp_path: Path
) -> None:
    record(log, 10)
    seal_now(sealed, signing)
    other = KeyFile(tmp_path / "other.key", signing.origin)
    other.make()
    result = resume(sealed, Signing(signing.origin, other, SealedFolder(tmp_path / "new")))
    assert "none of the known keys has signed" in result.failed[ACME.log_id]
    assert not log.list(ACME, action=[RESUMED]).events


def test_another_origin_is_another_epoch(log: Permalog, sealed: Database, signing: Signing, tmp_path: Path) -> None:
    record(log, 10)
    seal_now(sealed, signing)
    KeyFile(tmp_path / "signing.key", "log.example.net").rotate()
    moved = Signing("log.example.net", KeyFile(tmp_path / "signing.key", "log.example.net"), signing.outside)
    record(log, 1, start=10)
    assert "it was last signed as audit.example.com/log/" in seal_now(sealed, moved).refused[ACME.log_id]
    (found,), _, _ = resume(sealed, moved)
    assert (found.because, found.epoch) == (RefusedBecause.RENAMED, 2)
    assert not seal_now(sealed, moved).refused
    now = signing.outside.last(ACME.log_id)
    assert now is not None
    assert now.origin == log_origin("log.example.net", ACME.log_id, 2)


def test_a_log_that_was_opened_after_the_backup_goes_on_when_its_owner_is_named(
    log: Permalog, sealed: Database, signing: Signing
) -> None:
    signing.outside.note(NORTH.log_id, Checkpoint(log_origin(signing.origin, NORTH.log_id), 7, b"\7" * 32))
    assert resume(sealed, signing).logs == []
    (found,), _, _ = resume(sealed, signing, NORTH)
    assert (found.size, found.epoch, found.last.size) == (0, 2, 7)
    record(log, 3, NORTH)
    assert seal_now(sealed, signing).refused == {}


@pytest.mark.parametrize("step", ["epoch", "tiles", "head", "activity", "unsealed", "commit", "begun", "note", "store"])
def test_a_resumption_that_crashes_anywhere_is_repeated(step: str, at: Restored) -> None:
    log, _, database, signing = at

    def crash(here: str) -> None:
        if here == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        resume_after_restore(database, signing, actor=OPERATOR, step=crash)
    resume(database, signing)
    record(log, 5, start=400)
    assert not seal_now(database, signing).refused
    result = check(database, signing, epoch=2)
    assert result.proven, result.findings
    assert [(one.epoch, one.size) for one in result.logs] == [(1, 300), (2, 7)]


def test_leaves_of_the_old_epoch_that_nobody_had_signed_are_covered_by_the_resumption(at: Restored) -> None:
    """The backup was taken between sealing and signing."""
    _, url, database, signing = at
    with psycopg.connect(url) as connection, unguarded(connection):
        connection.execute("DELETE FROM permalog.checkpoint")
        connection.execute("UPDATE permalog.head SET sealed_at = sealed_at - interval '1 day'")
    resume(database, signing)
    result = check(database, signing, epoch=2)
    assert result.proven, result.findings
    with psycopg.connect(url) as connection, unguarded(connection):  # and no others are
        connection.execute(
            "UPDATE permalog.tile SET hashes = overlay(hashes PLACING decode(repeat('00', 32), 'hex') FROM 1)"
            " WHERE epoch = 1 AND level = 0 AND index = 1"
        )
    assert VerifyCode.EPOCH_BROKEN in {one.code for one in check(database, signing, epoch=2).findings}


@pytest.mark.parametrize(
    ("metadata", "leaf_index"),
    [
        ("jsonb_set(metadata, '{last, size}', '399')", 0),
        ("jsonb_set(metadata, '{last, root}', '\"00\"')", 1),
        ("metadata - 'database'", 1),
    ],
)
def test_an_event_of_a_resumption_that_says_something_else_is_found(
    metadata: LiteralString, leaf_index: int, at: Restored
) -> None:
    """As it is by its leaf: but this is said of the epoch, too."""
    _, url, database, signing = at
    resume(database, signing)
    with psycopg.connect(url) as connection, unguarded(connection):
        connection.execute(f"UPDATE permalog.event SET metadata = {metadata} WHERE action = 'security.log.resumed'")
    found = {(one.code, one.leaf_index) for one in check(database, signing, epoch=2).findings}
    assert {(VerifyCode.EPOCH_BROKEN, leaf_index), (VerifyCode.EVENT_CHANGED, 1)} <= found
