"""An export is streamed in pages, up to the newest event at its start, and on record from before its first byte."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from model import event_of
from permalog import Actor, Event, Owner, Personal
from permalog.client import Permalog
from permalog.errors import InvalidQuery
from permalog.reading import export as exports
from permalog.reading import stored
from permalog.reading.cursor import OLDEST
from permalog.reading.export import Exported, export, stream
from permalog.reading.filters import Filters
from permalog.reading.query import list_events
from permalog.recording.store import Dated

ADA = Actor.user("u_1", email="ada@acme.example")
NOW = datetime.now(UTC)


@pytest.fixture
def owner(log: Permalog) -> Owner:
    """The owner of a log of 25 events, the newest of them three minutes ahead of this machine's clock."""
    made = Owner.organization(uuid.uuid4())
    store(log, made, [NOW + timedelta(minutes=3 - n) for n in range(25)])
    return made


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of ten events, written three at a time."""
    monkeypatch.setattr(exports, "PAGE_ROWS", 10)
    monkeypatch.setattr(exports, "FETCHED", 4)
    monkeypatch.setattr(exports, "CHUNK", 1_200)


def store(log: Permalog, owner: Owner, moments: list[datetime], **members: object) -> list[Dated]:
    writer = log.writer()
    dated = [Dated.of(event_of(owner, occurred_at=moment, **members), NOW) for moment in moments]
    assert {one.status for one in writer.store(dated)} <= {"created"}
    writer.close()
    return dated


class Recording:
    """Records events as an application does: committed at once."""

    def __init__(self, log: Permalog) -> None:
        self.log = log
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        writer = self.log.writer()
        (outcome,) = writer.store([Dated.of(event, datetime.now(UTC))])
        writer.close()
        assert outcome.status == "created"

    @property
    def phases(self) -> list[Any]:
        return [event.metadata["phase"] for event in self.events]


class BrokenPipe:
    """Takes some chunks, and then no more."""

    def __init__(self, error: BaseException, after: int) -> None:
        self.error = error
        self.left = after
        self.taken = b""

    def __call__(self, chunk: bytes) -> None:
        if self.left == 0:
            raise self.error
        self.left -= 1
        self.taken += chunk


def test_all_pages_are_written_in_order_and_its_own_records_are_not_among_them(log: Permalog, owner: Owner) -> None:
    record, chunks = Recording(log), list[bytes]()
    result = export(log.database, owner, "json", chunks.append, record=record, actor=ADA)
    events = json.loads(b"".join(chunks))
    assert len(chunks) > 8
    assert [event["id"] for event in events] == sorted((event["id"] for event in events), reverse=True)
    assert (result.rows, result.complete) == (25, True)
    assert (str(result.first_id), str(result.last_id)) == (events[0]["id"], events[-1]["id"])
    assert {event["action"] for event in events} == {"thing.made"}
    listed = list_events(log.database, owner, Filters(action="security.audit_log.exported"))
    assert len(listed.events) == 2


def test_what_arrives_meanwhile_is_left_out(log: Permalog, owner: Owner) -> None:
    chunks: list[bytes] = []

    def write(chunk: bytes) -> None:
        if not chunks:
            store(log, owner, [NOW + timedelta(minutes=4)])
        chunks.append(chunk)

    export(log.database, owner, "ndjson", write, record=Recording(log), actor=ADA)
    assert len(b"".join(chunks).splitlines()) == 25


def test_two_records_tell_of_it_and_the_first_is_there_before_the_first_byte(log: Permalog, owner: Owner) -> None:
    record = Recording(log)
    seen: list[int] = []

    def write(_: bytes) -> None:
        seen.append(len(list_events(log.database, owner, Filters(action="security.audit_log.exported")).events))

    chosen = Filters(
        action=["thing.made"],
        actor_id="u_1",
        actor_email="Ada@acme.example",
        search="t_1",
        start=NOW - timedelta(days=1),
    )
    result = export(log.database, owner, "csv", write, chosen, record=record, actor=ADA, source="cli")
    assert set(seen) == {1}
    started, finished = record.events
    assert started.metadata == {
        "phase": "started",
        "format": "csv",
        "filters": {
            "action": ["thing.made"],
            "actor_id": "u_1",
            "actor_email": Personal("email", "Ada@acme.example"),
            "search": Personal("search", "t_1"),
            "start": (NOW - timedelta(days=1)).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        },
        "tree_size": None,
    }
    assert finished.metadata == {
        "phase": "finished",
        "format": "csv",
        "rows": 25,
        "first_id": str(result.first_id),
        "last_id": str(result.last_id),
        "complete": True,
    }
    for event in (started, finished):
        assert (event.action, event.resource.type) == ("security.audit_log.exported", "audit_log")
        assert event.resource.id == str(owner.log_id)
        assert (event.actor, event.source, event.owner) == (ADA, "cli", owner)
    assert started.correlation_id == finished.correlation_id is not None


@pytest.mark.parametrize("error", [BrokenPipeError(), KeyboardInterrupt(), SystemExit()])
def test_a_write_that_fails_is_recorded_and_raised(log: Permalog, owner: Owner, error: BaseException) -> None:
    record, pipe = Recording(log), BrokenPipe(error, after=4)
    with pytest.raises(type(error)):
        export(log.database, owner, "ndjson", pipe, record=record, actor=ADA)
    lines = [json.loads(line) for line in pipe.taken.splitlines()]
    finished = record.events[1]
    assert record.phases == ["started", "finished"]
    assert finished.outcome == "failure"
    assert 0 < len(lines) < 25
    assert {name: finished.metadata[name] for name in ("rows", "first_id", "last_id", "complete")} == {
        "rows": len(lines),
        "first_id": lines[0]["id"],
        "last_id": lines[-1]["id"],
        "complete": False,
    }


def test_a_stream_that_is_left_is_recorded_as_incomplete(log: Permalog, owner: Owner) -> None:
    record, exported = Recording(log), Exported()
    chunks = stream(log.database, owner, "json", record=record, actor=ADA, exported=exported)
    assert record.phases == []
    assert next(chunks) == b"["
    assert record.phases == ["started"]
    next(chunks)
    chunks.close()
    assert record.phases == ["started", "finished"]
    assert (exported.rows, exported.complete, record.events[1].metadata["complete"]) == (0, False, False)


def test_where_the_end_cannot_be_recorded_the_first_error_is_raised(log: Permalog, owner: Owner) -> None:
    calls: list[Event] = []

    def record(event: Event) -> None:
        calls.append(event)
        if len(calls) > 1:
            raise ConnectionError("gone")

    with pytest.raises(BrokenPipeError) as raised:
        export(log.database, owner, "csv", BrokenPipe(BrokenPipeError(), after=1), record=record, actor=ADA)
    assert raised.value.__notes__ == ["the end of the export could not be recorded: gone"]
    calls.clear()
    with pytest.raises(ConnectionError):
        export(log.database, owner, "csv", lambda _: None, record=record, actor=ADA)


def test_nothing_is_written_where_the_start_cannot_be_recorded(log: Permalog, owner: Owner) -> None:
    def record(_: Event) -> None:
        raise ConnectionError

    chunks: list[bytes] = []
    with pytest.raises(ConnectionError):
        export(log.database, owner, "csv", chunks.append, record=record, actor=ADA)
    assert chunks == []


def test_a_bad_query_is_refused_before_anything_is_recorded(log: Permalog, owner: Owner) -> None:
    record = Recording(log)
    for form, chosen, field in [("xml", Filters(), "format"), ("csv", Filters(action="no.such"), "action")]:
        with pytest.raises(InvalidQuery) as refused:
            stream(log.database, owner, form, chosen, record=record, actor=ADA)  # pyright: ignore[reportArgumentType]
        assert refused.value.field == field
    assert record.events == []


def test_an_unopened_log_is_exported_as_nothing(log: Permalog) -> None:
    chunks: list[bytes] = []
    result = export(log.database, Owner.user("nobody"), "json", chunks.append, record=lambda _: None, actor=ADA)
    assert json.loads(b"".join(chunks)) == []
    assert result == Exported(complete=True)
    assert OLDEST.int == 0


def test_pages_end_where_events_are_large(log: Permalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """What bounds the memory is the size of events, not their number alone."""
    owner = Owner.user("u_1")
    store(log, owner, [NOW - timedelta(seconds=n) for n in range(30)], metadata={"text": "x" * 60_000})
    monkeypatch.setattr(exports, "PAGE_ROWS", 1_000)
    monkeypatch.setattr(exports, "PAGE_SIZE", 200_000)
    sizes: list[int] = []
    whole = stored.as_seen

    def counting(connection: Any, rows: Any, *others: Any) -> Any:
        sizes.append(len(rows))
        return whole(connection, rows, *others)

    monkeypatch.setattr(exports, "as_seen", counting)
    result = export(log.database, owner, "ndjson", lambda _: None, record=lambda _: None, actor=ADA)
    assert result.rows == 30
    assert max(sizes) == 4


def test_a_search_is_exported_in_steps_that_end_where_it_finds_nothing(
    log: Permalog, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "LOOKED_THROUGH", 4)
    found = [NOW - timedelta(days=1, minutes=n) for n in (3, 4, 40)]
    rare = store(log, owner, found, metadata={"note": "a needle"})
    store(log, owner, [NOW - timedelta(days=1, minutes=n, seconds=30) for n in range(60)])
    for text in ("needle", "ne", "nowhere", "thing"):
        chosen = Filters(search=text)
        written: list[bytes] = []
        result = export(log.database, owner, "ndjson", written.append, chosen, record=Recording(log), actor=ADA)
        ids = [json.loads(line)["id"] for line in b"".join(written).splitlines()]
        if "ne" in text and text != "nowhere":
            assert ids == [str(one.id) for one in rare]
        assert len(ids) == result.rows == {"needle": 3, "ne": 3, "nowhere": 0, "thing": 88}[text]


def test_an_export_holds_neither_a_lock_nor_a_snapshot_while_its_reader_is_slow(
    log: Permalog, owner: Owner, database: str
) -> None:
    """It fetches one page ahead, and no transaction is open then, whatever the reader does; others go on writing."""
    chunks = stream(log.database, owner, "ndjson", record=Recording(log), actor=ADA)
    written = 0
    with psycopg.connect(database, autocommit=True) as other:
        other.execute("SET lock_timeout = '30s'")
        for _chunk in chunks:
            # It waits for whoever holds any lock on the events, and so for every snapshot that reads them.
            with other.transaction():
                other.execute("LOCK TABLE permalog.event IN ACCESS EXCLUSIVE MODE")
            store(log, owner, [datetime.now(UTC)])
            written += 1
    assert written > 3
