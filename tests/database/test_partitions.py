"""Partitions are made ahead, cut by volume and indexed once closed: by themselves, once, and in nobody's way."""

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any
from uuid import UUID

import psycopg
import pytest

from actions import ACTIONS
from asking import ask, value
from model import event_of
from permalog import Action, Catalogue, Owner
from permalog.client import Permalog
from permalog.errors import DatabaseProblem
from permalog.postgres.database import Database
from permalog.postgres.health import Check, examine
from permalog.postgres.keeping import Keeper, KeepingThread
from permalog.postgres.migrate import migrate
from permalog.recording.store import Dated, Writer
from permalog.tlog.findings import Finding
from permalog.verifying.schema import check_schema

OWNER = Owner.user("u_1")
LONG_AGO = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
"""In the partition that holds what happened before the first month: closed from the beginning."""
LEAST = 1_000
"""Events from which on the database cuts at all."""


@pytest.fixture
def superuser(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


def store(log: Permalog, count: int, owner: Owner = OWNER, **members: Any) -> list[UUID]:
    """Events of the last moments, the oldest first."""
    now = datetime.now(UTC)
    writer = Writer(log.database, "permalog_importer")
    dated = [
        Dated.of(event_of(owner, **{"occurred_at": now - timedelta(milliseconds=count - n)} | members), now)
        for n in range(count)
    ]
    assert {outcome.status for outcome in writer.store(dated)} == {"created"}
    writer.close()
    return [one.id for one in dated]


def keeper_of(log: Permalog) -> Keeper:
    return Keeper(log.database, largest=LEAST, total=3 * LEAST)


def look_until(keeper: Keeper, is_done: Callable[[], bool], *, at_once: bool = False) -> None:
    """As often as it takes: autovacuum may have a lock."""
    while not is_done():
        keeper.look(at_once=at_once)


def await_cut(connection: psycopg.Connection) -> None:
    """Until the last cut is past: it lies less than two seconds ahead."""
    while parts(connection)[-13][1] > value(connection, "SELECT permalog.id_floor(clock_timestamp())"):
        time.sleep(0.05)


def parts(connection: psycopg.Connection) -> list[tuple[str, UUID | None, UUID, bool]]:
    return ask(connection, "SELECT * FROM permalog.partitions() ORDER BY next_id")


def pieces(connection: psycopg.Connection) -> list[str]:
    """The partitions that are not whole months, and what they were cut from."""
    names = [name for name, *_ in parts(connection)]
    months = {name[:12] for name in names if len(name) > 12}
    return [name for name in names if name[:12] in months and name != "event_before"]


def ids(log: Permalog, owner: Owner = OWNER) -> list[UUID]:
    """All events of a log, page by page, the oldest first."""
    pages = [log.list(owner, limit=100)]
    while pages[-1].next_cursor is not None:
        pages.append(log.list(owner, before=pages[-1].next_cursor, limit=100))
    return [event.id for page in pages for event in page.events][::-1]


def findings(connection: psycopg.Connection) -> list[Finding]:
    found: list[Finding] = []
    with connection.transaction():
        check_schema(connection, found.append, has_roles=True)
    return found


def test_a_partition_that_holds_enough_of_one_log_is_cut_and_then_indexed(
    log: Permalog, superuser: psycopg.Connection
) -> None:
    early = store(log, LEAST - 1)
    keeper = keeper_of(log)
    keeper.look()
    assert keeper.stats.cut == 0
    early += store(log, 1)
    look_until(keeper, lambda: keeper.stats.cut == 1)
    old, new = pieces(superuser)
    assert (len(old), new) == (12, f"{old}_02")
    await_cut(superuser)
    late = store(log, 5, occurred_at=datetime.now(UTC))
    assert value(superuser, f"SELECT count(*) FROM permalog.{old}") == LEAST
    assert value(superuser, f"SELECT count(*) FROM permalog.{new}") == 5
    assert ids(log) == early + late
    assert keeper.stats.indexed == 0, "it may still be written to"
    look_until(keeper, lambda: keeper.stats.indexed == 1)
    assert [name for name, _, _, is_searchable in parts(superuser) if is_searchable] == [old]
    assert findings(superuser) == []
    assert ids(log) == early + late


def test_a_partition_that_holds_enough_of_all_logs_is_cut(log: Permalog, superuser: psycopg.Connection) -> None:
    for n in range(4):
        store(log, LEAST - 100, Owner.user(f"u_{n}"))
    keeper = keeper_of(log)
    look_until(keeper, lambda: keeper.stats.cut == 1)
    assert len(pieces(superuser)) == 2


def test_one_cut_again_and_again_has_numbers(log: Permalog, superuser: psycopg.Connection) -> None:
    keeper = keeper_of(log)
    kept: list[UUID] = []
    for n in range(1, 4):
        await_cut(superuser)
        kept += store(log, LEAST, occurred_at=datetime.now(UTC))
        look_until(keeper, lambda n=n: keeper.stats.cut == n)
    assert [name[12:] for name in pieces(superuser)] == ["", "_02", "_03", "_04"]
    assert value(superuser, "SELECT count(*) FROM permalog.event") == len(kept)
    assert findings(superuser) == []


def test_what_is_cut_off_keeps_its_guards_and_follows_the_catalogue(
    log: Permalog, database: str, superuser: psycopg.Connection
) -> None:
    store(log, LEAST)
    keeper = keeper_of(log)
    look_until(keeper, lambda: keeper.stats.cut == 1)
    for name in pieces(superuser):
        for statement in ("UPDATE permalog.{name} SET action = 'x'", "DELETE FROM permalog.{name}"):
            if value(superuser, f"SELECT count(*) FROM permalog.{name}"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
                    ask(superuser, statement, name=name)
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
            ask(superuser, "TRUNCATE permalog.{name}", name=name)
    further = Action("thing.polished", "thing", "Polished")
    migrate(database, Catalogue([*ACTIONS, further]))
    assert findings(superuser) == []
    with Permalog.connect(database, catalogue=Catalogue([*ACTIONS, further])) as opened:
        store(opened, 3, action="thing.polished", occurred_at=datetime.now(UTC) - timedelta(seconds=5))
        assert len(opened.list(OWNER, action="thing.polished").events) == 3


def test_any_number_may_look_at_once(log: Permalog, superuser: psycopg.Connection) -> None:
    store(log, LEAST)
    keepers = [keeper_of(log) for _ in range(4)]
    together = Barrier(4)

    def look(keeper: Keeper) -> None:
        together.wait()
        keeper.look(at_once=True)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(look, keepers))
    look_until(keepers[0], lambda: sum(keeper.stats.cut for keeper in keepers) >= 1)
    assert len(pieces(superuser)) == 2
    assert sum(keeper.stats.cut for keeper in keepers) == 1
    keeper_of(log).look(at_once=True)
    assert sum(is_searchable for *_, is_searchable in parts(superuser)) <= 1
    assert findings(superuser) == []


def test_a_lock_that_is_taken_keeps_nobody_waiting_and_the_next_look_goes_on(
    log: Permalog, database: str, superuser: psycopg.Connection
) -> None:
    store(log, LEAST)
    keeper = keeper_of(log)
    with psycopg.connect(database) as writing:
        writing.execute("LOCK TABLE permalog.event IN ROW EXCLUSIVE MODE")
        keeper.look()
        assert keeper.stats.postponed >= 1
        assert keeper.stats.cut == 0
    look_until(keeper, lambda: keeper.stats.cut == 1)
    assert findings(superuser) == []


@pytest.mark.parametrize("step", ["cut_partition(1000)", "index_partition('event_before')"])
def test_a_step_that_is_broken_off_leaves_what_was_there(
    log: Permalog, database: str, superuser: psycopg.Connection, step: str
) -> None:
    store(log, 10, Owner.user("u_2"), occurred_at=LONG_AGO)
    known = store(log, LEAST)
    before = parts(superuser)
    with psycopg.connect(database) as working:
        ask(working, f"SELECT permalog.{step}")
        ask(superuser, "SELECT pg_terminate_backend(%s)", [working.info.backend_pid])
        with pytest.raises(psycopg.OperationalError):
            working.execute("SELECT 1")
    assert parts(superuser) == before
    assert findings(superuser) == []
    assert ids(log) == known


def test_an_index_by_other_rules_counts_as_none_and_is_built_anew(log: Permalog, superuser: psycopg.Connection) -> None:
    store(log, 3, occurred_at=LONG_AGO)
    keeper = keeper_of(log)
    look_until(keeper, lambda: keeper.stats.indexed == 1, at_once=True)
    indexed = [name for name, _, _, is_searchable in parts(superuser) if is_searchable]
    assert indexed == ["event_before"]
    for name in indexed:
        ask(superuser, "COMMENT ON INDEX permalog.{name} IS '14 de_DE.utf8 c 2.31 0'", name=f"{name}_search")
    assert not any(is_searchable for *_, is_searchable in parts(superuser))
    look_until(keeper, lambda: keeper.stats.indexed == 2, at_once=True)
    assert [name for name, _, _, is_searchable in parts(superuser) if is_searchable] == indexed


def test_a_partition_that_is_written_to_waits_for_its_index(log: Permalog, superuser: psycopg.Connection) -> None:
    store(log, 3, occurred_at=LONG_AGO)
    keeper = Keeper(log.database)
    keeper.look()
    store(log, 2_000, occurred_at=LONG_AGO)
    keeper.look()
    assert (keeper.stats.indexed, keeper.stats.unindexed) == (0, 1)
    look_until(keeper, lambda: keeper.stats.indexed == 1)
    assert keeper.stats.unindexed == 0
    store(log, 3, occurred_at=LONG_AGO)
    assert len(ids(log)) == 2_006
    assert findings(superuser) == []


def test_the_months_ahead_are_made(log: Permalog, superuser: psycopg.Connection) -> None:
    last = parts(superuser)[-1][0]
    assert re.fullmatch(r"event_[0-9]{6}", last)
    ask(superuser, "DROP TABLE permalog.{name}", name=last)
    keeper = Keeper(log.database)
    keeper.look()
    assert keeper.stats.made == 1
    assert parts(superuser)[-1][0] == last
    assert findings(superuser) == []


def test_a_login_that_may_seal_needs_no_further_right(log: Permalog, login: Callable[..., str]) -> None:
    store(log, LEAST)
    sealer = Database(login("permalog_sealer"))
    keeper = Keeper(sealer, largest=LEAST)
    look_until(keeper, lambda: keeper.stats.cut == 1, at_once=True)
    sealer.close()
    reader = Database(login("permalog_reader"))
    with pytest.raises(DatabaseProblem, match="permalog_sealer"):
        Keeper(reader).look()
    reader.close()


def test_a_thread_looks_by_itself_and_ends_when_told(log: Permalog, superuser: psycopg.Connection) -> None:
    ask(superuser, "DROP TABLE permalog.{name}", name=parts(superuser)[-1][0])
    thread = KeepingThread(log.database)
    while thread.stats.made == 0:
        assert thread.stats.errors == 0
    thread.close()


def test_the_doctor_tells_of_partitions_that_no_search_index_helps(log: Permalog, database: str) -> None:
    def told() -> Check:
        return next(check for check in examine(database, ACTIONS) if check.name == "search")

    assert told().status == "ok"
    store(log, 3, occurred_at=LONG_AGO)
    assert told().status == "less"
    keeper = keeper_of(log)
    look_until(keeper, lambda: keeper.stats.indexed == 1, at_once=True)
    assert told().status == "ok"
