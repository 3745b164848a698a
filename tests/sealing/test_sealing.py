"""Sealing: each committed event becomes exactly one leaf, in trees and checkpoints that others can follow."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from asking import ask, value
from permalog import Actor, Event, Owner, Permalog, Resource
from permalog.postgres.database import Database
from permalog.recording.store import Dated
from permalog.sealing.sealer import Sealer, SealingThread, backlog, seal_now
from permalog.sealing.signing import Signing
from permalog.tlog.canonical import EventRow, leaf_preimage
from proving import check_log, leaves_of

ACME, NORTH = Owner.user("u_acme"), Owner.user("u_north")


def made(owner: Owner = ACME, number: int = 0, **members: object) -> Event:
    given: dict[str, object] = {
        "owner": owner,
        "actor": Actor.user(f"u_{number % 7}", email="ada@acme.example"),
        "action": ("thing.made", "thing.changed")[number % 2],
        "resource": Resource("thing", f"t_{number}"),
        "metadata": {"number": number},
    }
    return Event(**(given | members))


def record(log: Permalog, count: int, owner: Owner = ACME, start: int = 0) -> None:
    writer = log.writer()
    try:
        events = [made(owner, number) for number in range(start, start + count)]
        assert all(one.status == "created" for one in writer.store([Dated.of(e, datetime.now(UTC)) for e in events]))
    finally:
        writer.close()


@pytest.mark.parametrize("sizes", [[1], [255], [256], [257], [1, 1, 254, 1, 300], [700, 3]], ids=str)
def test_each_event_becomes_one_leaf_of_a_tree_that_others_compute_alike(
    sizes: list[int], log: Permalog, database: str, sealed: Database, signing: Signing
) -> None:
    total = 0
    for count in sizes:
        record(log, count, start=total)
        total += count
        stats = seal_now(sealed, signing)
        assert (stats.events, stats.errors, stats.refused) == (count, 0, {})
        assert check_log(database, ACME.log_id, keys=signing.keys.known()) == total
    with psycopg.connect(database) as connection:
        sealed_sizes = connection.execute("SELECT size FROM permalog.checkpoint ORDER BY size").fetchall()
    assert [size for (size,) in sealed_sizes] == [sum(sizes[: n + 1]) for n in range(len(sizes))]


def test_a_log_is_sealed_in_batches_and_each_log_for_itself(
    log: Permalog, database: str, sealed: Database, signing: Signing
) -> None:
    record(log, 300)
    record(log, 100, NORTH)
    sealer = Sealer(sealed, signing, rows=70)
    while sealer.pass_over():
        pass
    sealer.close()
    assert sealer.stats.batches == 5 + 2
    assert check_log(database, ACME.log_id) == 300
    assert check_log(database, NORTH.log_id) == 100
    assert backlog(sealed) == (0, None)


def test_nothing_waits_and_nothing_is_signed_twice(
    log: Permalog, database: str, sealed: Database, signing: Signing
) -> None:
    record(log, 5)
    assert seal_now(sealed, signing).checkpoints == 1
    again = seal_now(sealed, signing)
    assert (again.events, again.checkpoints, again.errors) == (0, 0, 0)
    assert check_log(database, ACME.log_id) == 5


def test_an_event_that_commits_late_gets_the_next_leaf(
    log: Permalog, database: str, sealed: Database, signing: Signing
) -> None:
    with psycopg.connect(database) as slow:
        log.record(made(number=1, occurred_at=datetime.now(UTC) - timedelta(days=1)), connection=slow)
        record(log, 300, start=2)
        assert seal_now(sealed, signing).events == 300
    assert seal_now(sealed, signing).events == 1
    with psycopg.connect(database) as connection:
        late, _ = leaves_of(connection, ACME.log_id)[300]
        assert value(connection, "SELECT resource_id FROM permalog.event WHERE id = %s", [late]) == "t_1"
    assert check_log(database, ACME.log_id) == 301


def test_without_a_key_events_are_sealed_and_signed_later(
    log: Permalog, database: str, sealed: Database, signing: Signing
) -> None:
    record(log, 3)
    assert seal_now(sealed, None).checkpoints == 0
    assert check_log(database, ACME.log_id) == 3
    assert seal_now(sealed, signing).checkpoints == 1
    assert check_log(database, ACME.log_id, keys=signing.keys.known()) == 3


def test_an_event_that_has_no_exact_form_is_sealed_raw_and_holds_up_no_other(
    log: Permalog, database: str, sealed: Database, signing: Signing, caplog: pytest.LogCaptureFixture
) -> None:
    record(log, 2)
    with psycopg.connect(database) as connection:
        connection.execute(
            "INSERT INTO permalog.event"
            " (log_id, id, occurred_at, action, actor_type, resource_type, resource_id, metadata)"
            " SELECT %s, permalog.new_id(t), t, 'thing.made', 'system', 'thing', 'odd',"
            " '{\"n\": 0.10000000000000000001}' FROM date_trunc('milliseconds', now()) AS t",
            (ACME.log_id,),
        )
    record(log, 2, start=2)
    stats = seal_now(sealed, signing)
    assert (stats.events, stats.raw, stats.errors) == (5, 1, 0)
    assert check_log(database, ACME.log_id) == 5
    assert "raw form" in caplog.text


def test_an_event_of_which_no_leaf_can_be_made_waits_and_is_reported(
    log: Permalog, database: str, sealed: Database, signing: Signing, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """There is none such; but should there be, no other may wait for it."""

    def picky(row: EventRow) -> bytes:
        if row.resource_id == "t_3":
            raise RecursionError("too deep")
        return leaf_preimage(row)

    record(log, 10)
    with monkeypatch.context() as patch:
        patch.setattr("permalog.sealing.growing.leaf_preimage", picky)
        sealer = Sealer(sealed, signing, rows=4)
        while sealer.pass_over():
            pass
        sealer.close()
    assert (sealer.stats.events, sealer.stats.errors) == (9, 1)
    assert "too deep" in caplog.text
    assert check_log(database, ACME.log_id) == 9
    assert seal_now(sealed, signing).events == 1
    assert check_log(database, ACME.log_id) == 10


def test_a_listed_event_that_is_not_there_is_reported_and_holds_up_no_other(
    log: Permalog, database: str, sealed: Database, signing: Signing, caplog: pytest.LogCaptureFixture
) -> None:
    record(log, 1)
    with psycopg.connect(database) as connection:
        connection.execute(
            "INSERT INTO permalog.unsealed SELECT %s, permalog.new_id('2026-01-01'::timestamptz + n * interval '1 s')"
            " FROM generate_series(1, 9) AS n",
            (ACME.log_id,),
        )
    sealer = Sealer(sealed, signing, rows=3)
    while sealer.pass_over():
        pass
    sealer.close()
    assert (sealer.stats.events, sealer.stats.errors) == (1, 9)
    assert "is not there" in caplog.text


def test_an_error_in_one_log_stops_no_other(log: Permalog, database: str, sealed: Database, signing: Signing) -> None:
    record(log, 3)
    seal_now(sealed, signing)
    with psycopg.connect(database) as connection:  # as a superuser may
        connection.execute("ALTER TABLE permalog.tile DISABLE TRIGGER ALL; DELETE FROM permalog.tile")
        connection.execute("ALTER TABLE permalog.tile ENABLE ALWAYS TRIGGER refuse_loss")
    record(log, 3, start=3)
    record(log, 3, NORTH)
    stats = seal_now(sealed, signing)
    assert set(stats.refused) == {ACME.log_id}
    assert "tiles are not as its head says" in stats.refused[ACME.log_id]
    assert stats.errors >= 1
    assert check_log(database, NORTH.log_id) == 3
    assert backlog(sealed)[0] == 3


def test_two_sealers_share_the_logs_and_never_a_log(
    log: Permalog, database: str, sealed: Database, signing: Signing
) -> None:
    """While one is inside a log, the other leaves it alone, and does the others."""
    record(log, 10)
    record(log, 10, NORTH)
    with psycopg.connect(database) as connection:
        connection.execute("INSERT INTO permalog.head VALUES (%s, 1, 0, int8send(0))", (ACME.log_id,))
    with psycopg.connect(database) as other:
        other.execute("SELECT FROM permalog.head WHERE log_id = %s FOR UPDATE", (ACME.log_id,))
        assert seal_now(sealed, signing).events == 10
    assert seal_now(sealed, signing).events == 10
    assert check_log(database, ACME.log_id) == check_log(database, NORTH.log_id) == 10


def test_a_thread_seals_what_comes_and_survives_the_loss_of_its_connection(
    log: Permalog, database: str, sealed: Database, signing: Signing
) -> None:
    thread = SealingThread(sealed, signing)
    try:
        record(log, 3)
        wait_for(lambda: thread.stats.events == 3)
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND query LIKE '%waiting%' AND pid <> pg_backend_pid()"
            )
        record(log, 3, start=3)
        wait_for(lambda: thread.stats.events == 6)
    finally:
        thread.close()
    assert check_log(database, ACME.log_id, keys=signing.keys.known()) == 6


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "it did not happen within half a minute"
        time.sleep(0.02)


def test_an_erased_owner_keeps_checkpoints_and_head_and_nothing_else(
    log: Permalog, database: str, sealed: Database, signing: Signing
) -> None:
    record(log, 300)
    seal_now(sealed, signing)
    record(log, 1, start=300)
    log.erase_user("u_acme")
    assert seal_now(sealed, signing).errors == 0
    left = {"head": 1, "checkpoint": 1, "tile": 0, "activity": 0, "event": 0, "unsealed": 0}
    with psycopg.connect(database) as connection:
        for table, count in left.items():
            assert ask(connection, "SELECT count(*) FROM permalog.{table}", table=table) == [(count,)]
