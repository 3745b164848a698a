"""Lists, summaries and exports say the same as a plain model of the log, for random events and random filters."""

import csv
import io
import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from model import Lower, ModelLog, event_of, lower_of, summed
from permalog import Actor, Event, Owner, Resource
from permalog.client import Permalog
from permalog.reading.cursor import cursor_at
from permalog.reading.export import export
from permalog.reading.export_formats import COLUMNS, restored
from permalog.reading.filters import Filters
from permalog.reading.query import Page, get_event, list_events
from permalog.reading.summary import summary
from permalog.recording.store import Dated, Writer

START = datetime(2026, 3, 1, tzinfo=UTC)
# Few letters, so that texts meet: cases, a sigma, what LIKE and JSON treat apart, what spreadsheets run.
LETTERS = "aAbBnN σςΣİıßéÉ\N{GRINNING FACE}%_\\\"\n\t\u0001'=+-@,$10."
texts = st.text(LETTERS, min_size=1, max_size=4)
numbers = st.integers(-20, 20) | st.sampled_from([0.1, 1.5, 1e-7, 1e22, 101, 1.0, 2**53 - 1])
payloads = st.dictionaries(
    texts,
    st.recursive(
        texts | numbers | st.booleans() | st.none(),
        lambda inside: st.lists(inside, max_size=3) | st.dictionaries(texts, inside, max_size=2),
        max_leaves=5,
    ),
    max_size=3,
)
emails = st.sampled_from(["ada@acme.example", "ADA@acme.example", "éva@acme.example", "ÉVA@ACME.example"])
names = st.sampled_from(["Ada", "Éva", "=1+1", 'O\'Neil, "Jo"'])
actors = st.one_of(
    st.builds(Actor.user, st.sampled_from(["u_1", "u_2", "s_1"]), email=st.none() | emails, name=st.none() | names),
    st.builds(Actor.staff, st.sampled_from(["s_1", "s_2"]), email=st.none() | emails, name=st.none() | names),
    st.builds(Actor.api_key, st.just("k_1"), name=names),
    st.builds(Actor.system, st.none() | st.just("cron")),
)
moments = st.sampled_from([START + timedelta(hours=h) for h in (0, 5, 23, 24, 49)]) | st.datetimes(
    START.replace(tzinfo=None), (START + timedelta(days=3)).replace(tzinfo=None), timezones=st.just(UTC)
)
ACTION_NAMES = ["thing.made", "thing.changed", "security.audit_log.exported"]
members = st.fixed_dictionaries(
    {
        "actor": actors,
        "action": st.sampled_from(ACTION_NAMES),
        "resource": st.builds(Resource, st.sampled_from(["thing", "other"]), texts),
        "occurred_at": moments,
    },
    optional={
        "outcome": st.sampled_from(["success", "failure", "denied"]),
        "metadata": payloads,
        "before_state": payloads,
        "after_state": st.none() | payloads,
        "correlation_id": texts,
        "source": st.sampled_from(["web", "api"]),
    },
)
filters = st.builds(
    Filters,
    action=st.lists(st.sampled_from([*ACTION_NAMES, "thing.lost"]), max_size=2),
    actor_id=st.none() | st.sampled_from(["u_1", "s_1", "cron", "nobody"]),
    actor_email=st.none() | emails | st.just("nobody@acme.example"),
    resource_type=st.none() | st.sampled_from(["thing", "other"]),
    resource_id=st.none() | texts,
    outcome=st.none() | st.sampled_from(["success", "failure", "denied"]),
    correlation_id=st.none() | texts,
    source=st.none() | st.sampled_from(["web", "api"]),
    search=st.none() | texts,
    start=st.none() | st.sampled_from([START, START + timedelta(hours=5)]),
    end=st.none() | st.sampled_from([START + timedelta(hours=24), START + timedelta(hours=49)]),
)


def some_of(chosen: Filters, given: set[str]) -> Filters:
    return Filters(**{name: getattr(chosen, name) for name in given})


# Most events pass a filter or two; all eleven at once would let nothing pass.
few_filters = st.builds(some_of, filters, st.sets(st.sampled_from(list(Filters.__dataclass_fields__)), max_size=2))
searches = st.builds(Filters, search=texts)


@pytest.fixture
def reading(database: str) -> Iterator[tuple[Permalog, Writer, Lower]]:
    """The library, something to write with, and the database's lower()."""
    with Permalog.connect(database, importing=True) as log, psycopg.connect(database, autocommit=True) as connection:
        writer = log.writer()
        yield log, writer, lower_of(connection)
        writer.close()


def stored(writer: Writer, owner: Owner, events: list[dict[str, Any]]) -> list[Dated]:
    dated = [Dated.of(event_of(owner, **one), START) for one in events]
    assert {outcome.status for outcome in writer.store(dated)} <= {"created"}
    return dated


def walked(log: Permalog, owner: Owner, chosen: Filters, limit: int) -> list[Page]:
    """All pages from the newest to the oldest, and each of them once more on the way back."""
    pages = [list_events(log.database, owner, chosen, limit=limit)]
    assert not pages[0].has_previous
    while (cursor := pages[-1].next_cursor) is not None:
        pages.append(list_events(log.database, owner, chosen, before=cursor, limit=limit))
        assert pages[-1].has_previous
    for newer, older in pairwise(pages):
        back = list_events(log.database, owner, chosen, after=older.previous_cursor, limit=limit)
        assert [event.id for event in back.events] == [event.id for event in newer.events]
        assert back.has_next
        assert back.has_previous == newer.has_previous
    return pages


def without_the_databases_own(event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in {"recorded_at", "recorded_by"}}


def exported(log: Permalog, owner: Owner, form: Any, chosen: Filters) -> bytes:
    chunks: list[bytes] = []
    export(log.database, owner, form, chunks.append, chosen, record=lambda _: None, actor=Actor.system())
    return b"".join(chunks)


@given(events=st.lists(members, max_size=12), chosen=few_filters | searches, limit=st.integers(1, 5))
# Examples are small from the start; making them smaller would take minutes of a database.
@settings(
    max_examples=60,
    deadline=None,
    phases=[Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_list_summary_and_exports_agree_with_the_model(
    reading: tuple[Permalog, Writer, Lower], events: list[dict[str, Any]], chosen: Filters, limit: int
) -> None:
    log, writer, lower = reading
    owner = Owner.organization(uuid.uuid4())
    dated = stored(writer, owner, events)
    expected = ModelLog(owner, dated, lower).select(chosen)

    listed = [event.as_json() for page in walked(log, owner, chosen, limit) for event in page.events]
    assert [without_the_databases_own(event) for event in listed] == expected
    assert summary(log.database, owner, chosen).as_json() == summed(expected)
    assert json.loads(exported(log, owner, "json", chosen)) == listed
    assert_csv_says(exported(log, owner, "csv", chosen), listed)
    by_id = {one.id: one.event for one in dated}
    for line in exported(log, owner, "ndjson", chosen).splitlines():
        back = Event.from_json(line)
        assert back.id is not None
        assert back == by_id[back.id].model_copy(update={"id": back.id})
        assert get_event(log.database, owner, back.id).as_json() in listed


def assert_csv_says(content: bytes, listed: list[dict[str, Any]]) -> None:
    header, *rows = csv.reader(io.StringIO(content.decode(), newline=""))
    assert tuple(header) == COLUMNS
    assert content.count(b"\r\n") >= len(rows) + 1
    found = [dict(zip(COLUMNS, (restored(cell) or None for cell in row), strict=True)) for row in rows]
    for row, event in zip(found, listed, strict=True):
        said: dict[str, Any] = {**row}
        actor, resource = event["actor"], event["resource"]
        flat = {name: event.get(name) for name in COLUMNS} | {
            "actor_type": actor["type"], "actor_id": actor["id"], "actor_email": actor["email"],
            "actor_name": actor["name"], "resource_type": resource["type"], "resource_id": resource["id"],
        }  # fmt: skip
        for name in ("before_state", "after_state", "metadata"):
            said[name] = said[name] and json.loads(said[name])
        assert said == flat
    assert not [cell for row in rows for cell in row if cell[:1] in set("=+-@\t\r")]


def test_hundreds_of_events_in_one_microsecond_are_each_listed_once(reading: tuple[Permalog, Writer, Lower]) -> None:
    log, writer, _ = reading
    owner = Owner.user("u_1")
    dated = stored(writer, owner, [{"occurred_at": START}] * 300)
    pages = walked(log, owner, Filters(), 7)
    assert [event.id for page in pages for event in page.events] == sorted((one.id for one in dated), reverse=True)


def test_walking_both_ways_while_events_arrive_yields_each_event_once(
    reading: tuple[Permalog, Writer, Lower],
) -> None:
    """New events come at the top while a reader walks down, and in front of a reader who walks up."""
    log, writer, _ = reading
    owner = Owner.user("u_1")
    minute = timedelta(minutes=1)
    first = stored(writer, owner, [{"occurred_at": START + n * minute} for n in range(25)])
    page = list_events(log.database, owner, limit=4)
    down, late = [*page.events], 0
    while page.next_cursor is not None:
        stored(writer, owner, [{"occurred_at": START + (100 + late) * minute}])
        late += 1
        page = list_events(log.database, owner, before=page.next_cursor, limit=4)
        down += page.events
    assert [event.id for event in down] == [one.id for one in reversed(first)]

    up = [*page.events]
    while page.previous_cursor is not None:
        if late < 15:
            stored(writer, owner, [{"occurred_at": START + (100 + late) * minute}])
            late += 1
        page = list_events(log.database, owner, after=page.previous_cursor, limit=4)
        up = [*page.events, *up]
    assert len(up) == 25 + late == len({event.id for event in up})
    assert [event.id for event in up] == sorted((event.id for event in up), reverse=True)


def test_an_empty_page_after_the_newest_leads_back_to_everything_older(
    reading: tuple[Permalog, Writer, Lower],
) -> None:
    log, writer, _ = reading
    owner = Owner.user("u_1")
    stored(writer, owner, [{"occurred_at": START + timedelta(minutes=n)} for n in range(3)])
    older = list_events(log.database, owner, before=list_events(log.database, owner, limit=1).next_cursor, limit=1)
    newest = list_events(log.database, owner, after=older.previous_cursor, limit=1)
    assert newest.previous_cursor is None
    stored(writer, owner, [{"occurred_at": START + timedelta(hours=1)}])
    newest = list_events(log.database, owner, after=older.previous_cursor, limit=1)
    assert newest.previous_cursor is not None
    last = list_events(log.database, owner, after=newest.previous_cursor, limit=1)
    assert (len(last.events), last.has_previous) == (1, False)
    # Where a reader stands who has seen it and waits for more.
    beyond = list_events(log.database, owner, after=cursor_at(last.events[0].id, owner.log_id, Filters()), limit=2)
    assert (beyond.events, beyond.has_previous, beyond.has_next) == ((), False, True)
    assert list_events(log.database, owner, before=beyond.next_cursor, limit=1).events == last.events
