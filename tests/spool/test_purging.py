"""After a person was erased their data stand in no spool and no quarantine, and nothing else is missing."""

from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from asking import ask, value
from permalog import Actor, Event, Owner, Personal, Resource
from permalog.client import Permalog
from permalog.errors import SpoolProblem
from permalog.recording.record import Failure
from spooling import Opened, event, everything_in, quarantined, run, segments, until

ORGANIZATION = UUID("7d1f8a52-6c0e-4a53-9f0e-2b1a5c3d4e5f")
COMPANYS = Owner.organization(ORGANIZATION)
ADA = Actor.user(
    "ada", email="Ada.Byron@acme.example", name="Ada Byron", ip_address="203.0.113.77", user_agent="Engine"
)
BOB = Actor.user("bob", email="bob@acme.example", name="Bob Hope")
TRACES = (b"ada.byron@acme.example", b"ada byron", b"203.0.113.77", b"engine", b"lady-ada", b"lovelace")
"""What tells of her; `lovelace` is known from her account only."""


def made(actor: Actor, number: int, owner: Owner = COMPANYS, **metadata: object) -> Event:
    thing = Resource("thing", f"t_{number}")
    return Event(owner=owner, actor=actor, action="thing.made", resource=thing, metadata=metadata)


EVENTS = [
    made(ADA, 1, handle=Personal("github_login", "lady-ada")),
    made(ADA, 2, Owner.user("ada"), plain="of her own log, ada byron"),
    made(BOB, 3, told=Personal("search", "mails to ADA.BYRON@acme.example?")),
    made(BOB, 4, told=Personal("display_name", " ada  BYRON ")),
    made(BOB, 5, told=Personal("display_name", "Countess Lovelace")),
    made(BOB, 6, told=Personal("email", "bob@acme.example"), count=7),
    made(ADA, 7),
]


@pytest.fixture
def filled(opened: Opened) -> Permalog:
    """A spool that holds all of them, and that nothing drains before `go`."""
    log = opened()
    log._recorder._start = lambda: None
    for one in EVENTS:
        log.record(one)
    return log


def go(log: Permalog) -> None:
    del log._recorder._start
    assert log.flush(30)


def traces_in(place: Path) -> list[bytes]:
    found = everything_in(place).lower()
    return [trace for trace in TRACES if trace in found]


def test_a_live_spool_is_purged_where_it_is_and_everything_else_arrives(
    filled: Permalog, database: str, place: Path, failures: list[Failure]
) -> None:
    assert traces_in(place) == list(TRACES)
    filled.bar_user("ada")
    assert filled.spools.purge_user("ada", ["Countess Lovelace"]) == 6
    assert traces_in(place) == []
    filled.record(made(BOB, 8))
    go(filled)
    with psycopg.connect(database) as connection:
        rows = ask(connection, "SELECT resource_id FROM permalog.event ORDER BY id")
        assert [name for (name,) in rows] == ["t_1", "t_3", "t_4", "t_5", "t_6", "t_7", "t_8"]
        kept = ask(
            connection, "SELECT coalesce(email, value) FROM permalog.identity WHERE erased_at IS NULL ORDER BY 1"
        )
        assert kept == [("bob@acme.example",), ("bob@acme.example",)]
        dangling = "SELECT count(*) FROM permalog.event AS e WHERE NOT EXISTS (SELECT FROM permalog.identity AS i"
        assert value(connection, dangling + " WHERE i.log_id = e.log_id AND i.commitment = e.identity)") == 0
        assert value(connection, "SELECT count(*) FROM permalog.identity WHERE erased_at IS NOT NULL") == 5
    assert failures == []
    assert filled.stats.waiting == 0


def test_who_is_purged_twice_is_gone_as_before(filled: Permalog, place: Path) -> None:
    filled.spools.purge_user("ada", ["Countess Lovelace"])
    before = everything_in(place)
    filled.spools.purge_user("ada", ["Countess Lovelace"])
    assert everything_in(place) == before


def test_an_id_too_long_for_its_place_moves_the_event(opened: Opened, database: str, place: Path) -> None:
    """A personal value that is shorter than the id of whom it tells of."""
    long = "x" * 250
    log = opened()
    log._recorder._start = lambda: None
    log.record(made(BOB, 1, told=Personal("email", "a@b.example")))
    log.bar_user(long)
    assert log.spools.purge_user(long, ["a@b.example"]) == 1
    go(log)
    log.close()
    other = opened()
    until(lambda: other.stats.adopted == 1)
    with psycopg.connect(database) as connection:
        assert value(connection, "SELECT count(*) FROM permalog.event") == 1
        assert value(connection, "SELECT count(*) FROM permalog.identity WHERE value IS NOT NULL") == 0
    assert b"a@b.example" not in everything_in(place)


def test_quarantine_and_what_is_damaged_are_purged_too(opened: Opened, database: str, place: Path) -> None:
    program = """
    log._recorder._start = lambda: None
    log.record(event(9).model_copy(update={"correlation_id": "lady-ada"}))
    log.record(event(10))
    os._exit(0)
    """
    run(database, place, program)
    (path,) = segments(place)
    data = bytearray(path.read_bytes())
    data[data.index(b"t_9")] ^= 1
    path.write_bytes(data)
    log = opened()
    for one in (*EVENTS, event(8)):
        log.record(one.model_copy(update={"source": "nowhere"}))
    assert log.flush()
    until(lambda: log.stats.damaged == 1 and log.stats.adopted == 1)
    log.close()
    assert traces_in(place) == list(TRACES)
    log.spools.purge_user("ada", ["Countess Lovelace"])
    assert traces_in(place) == []
    assert b"secret@acme.example" in everything_in(place), "who is somebody else stays"


def test_an_organisations_events_go_as_a_whole(filled: Permalog, database: str, place: Path) -> None:
    assert filled.spools.purge_organization(ORGANIZATION) == 6
    assert b"bob@acme.example" not in everything_in(place)
    go(filled)
    with psycopg.connect(database) as connection:
        assert ask(connection, "SELECT resource_id FROM permalog.event") == [("t_2",)]


def test_events_for_a_log_that_was_erased_leave_nothing_behind(
    opened: Opened, place: Path, failures: list[Failure]
) -> None:
    log = opened()
    log.erase_user("ada")
    log.record(EVENTS[1])
    assert log.flush()
    assert len(failures) == 1
    assert quarantined(place) == []


def test_erasing_purges_by_itself(filled: Permalog, place: Path) -> None:
    filled.erase_user("ada", also=["Countess Lovelace"])
    assert traces_in(place) == []
    filled.erase_organization(ORGANIZATION)
    assert b"bob@acme.example" not in everything_in(place)


def test_what_is_on_its_way_to_the_database_is_not_passed_by(opened: Opened, database: str, place: Path) -> None:
    """It was read before the purge, and would be stored as it was behind the erasure."""
    log = opened()
    with psycopg.connect(database) as lock:
        lock.execute("LOCK TABLE permalog.event IN ACCESS EXCLUSIVE MODE")
        log.record(EVENTS[2])
        waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'permalog.event'::regclass"
        until(lambda: value(lock, waits) == 1)
        with pytest.raises(SpoolProblem, match="on its way"):
            log.spools.purge_user("ada", [str(ADA.email)], wait=0.05)
    assert log.flush(30)
    log.spools.purge_user("ada", [str(ADA.email)])
    assert traces_in(place) == []


def test_a_batch_on_its_way_is_waited_for(filled: Permalog) -> None:
    with (
        filled._recorder._parts()[0].sources[0].home.working(),
        pytest.raises(SpoolProblem, match="on its way"),
    ):
        filled.spools.purge_user("ada", wait=0.05)
