"""What readers see of sealing: leaf indices in lists, single events and exports, and counts that are exact."""

import io
import json
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from permalog import Actor, Event, Owner, Permalog, Resource
from permalog.postgres.database import Database
from permalog.reading.filters import EVERYTHING, Filters
from permalog.reading.summary import Summary, summary
from permalog.recording.store import Dated
from permalog.sealing.sealer import seal_now
from permalog.sealing.signing import Signing
from permalog.viewer import Viewer
from proving import leaves_of

ACME, NORTH = Owner.user("u_acme"), Owner.user("u_north")
DAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=5)
A_SCAN = Filters(start="1970-01-01")
"""Selects everything, and is a filter: what it counts comes from a scan."""


def event(number: int, owner: Owner = ACME, actor: int = 0) -> Event:
    actors = (
        Actor.user("u_1", name="Ada", email="ada@acme.example"), Actor.user("u_2"), Actor.staff("s_1", name="Sam"),
        Actor.staff("s_2", name="Sue"), Actor.api_key("k_1", name="robot"), Actor.system("sync"), Actor.system(),
    )  # fmt: skip
    return Event(
        owner=owner,
        actor=actors[actor],
        action=("thing.made", "thing.changed")[number % 2],
        resource=Resource("thing", f"t_{number}"),
        outcome="failure" if number % 50 == 0 else "success",
        occurred_at=DAY + timedelta(minutes=7 * number),
    )


def store(log: Permalog, events: list[Event]) -> None:
    writer = log.writer()
    try:
        outcomes = writer.store([Dated.of(one, datetime.now(UTC)) for one in events])
    finally:
        writer.close()
    assert all(one.error is None for one in outcomes)


def test_every_way_of_reading_gives_the_leaf_index(
    log: Permalog, database: str, sealed: Database, signing: Signing
) -> None:
    """Old events that come late, other logs, and events that wait: near together and far apart."""
    for start, end in ((300, 700), (0, 20), (700, 730), (20, 300)):
        store(log, [event(number) for number in range(start, end)])
        store(log, [event(start, NORTH)])
        seal_now(sealed, signing)
    store(log, [event(number) for number in (730, 740)])
    with psycopg.connect(database) as connection:
        leaves = {event_id: index for index, (event_id, _) in enumerate(leaves_of(connection, ACME.log_id))}
    assert len(leaves) == 730

    seen = {}
    cursor = None
    while True:
        page = log.list(ACME, before=cursor, limit=100)
        seen |= {one.id: one.leaf_index for one in page.events}
        if not page.has_next:
            break
        cursor = page.next_cursor
    assert len(seen) == 732
    assert {one: index for one, index in seen.items() if index is not None} == leaves
    few = log.list(ACME, outcome="failure", limit=100).events  # far apart
    assert [one.leaf_index for one in few] == [leaves[one.id] for one in few]
    for one in (few[0], few[-1]):
        assert log.get(ACME, one.id).leaf_index == leaves[one.id]
    for viewer in Viewer:
        file = io.BytesIO()
        log.export(ACME, "ndjson", file, viewer=viewer)
        exported = [json.loads(line) for line in file.getvalue().splitlines()]
        found = {one["id"]: one["leaf_index"] for one in exported if one["action"].startswith("thing")}
        assert found == {str(one): index for one, index in seen.items()}
    started = log.list(ACME, action="security.audit_log.exported").events[-1]
    assert started.metadata["tree_size"] == 730


@settings(
    max_examples=10,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    batches=st.lists(
        st.tuples(st.lists(st.tuples(st.integers(0, 900), st.integers(0, 6)), max_size=30), st.booleans()),
        min_size=1, max_size=4,
    )
)  # fmt: skip
def test_the_counts_of_everything_are_those_of_a_scan(
    log: Permalog, sealed: Database, batches: list[tuple[list[tuple[int, int]], bool]]
) -> None:
    """With some events sealed, and some waiting; to staff and to others. The log grows from example to example."""
    for events, is_sealed in batches:
        store(log, [event(number, actor=actor) for number, actor in events])
        if is_sealed:
            seal_now(sealed, None)
    for viewer in Viewer:
        everything = summary(sealed, ACME, EVERYTHING, viewer)
        assert everything == summary(sealed, ACME, A_SCAN, viewer)
    assert summary(sealed, NORTH, EVERYTHING) == Summary(0, None, None, (), (), ())


@pytest.mark.parametrize("is_sealed", [True, False])
def test_counts_of_everything_do_not_tell_members_of_staff_apart(
    log: Permalog, sealed: Database, *, is_sealed: bool
) -> None:
    store(log, [event(1, actor=2), event(2, actor=3)])
    if is_sealed:
        seal_now(sealed, None)
    for viewer in Viewer:
        (staff,) = summary(sealed, ACME, EVERYTHING, viewer).by_actor
        assert (staff.type, staff.id, staff.name, staff.count) == ("staff", None, "Support", 2)
