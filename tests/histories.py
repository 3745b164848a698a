"""Histories of logs, and what a reader can ask about them: for tests that two histories cannot be told apart.

Events are given their ids and times, and the database a fixed `recorded_at`, so that nothing differs but what the test
means to differ.
"""

import io
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString, cast
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from permalog import Actor, Event, Owner, Personal, Resource
from permalog.ids import IdMaker, id_time, microseconds
from permalog.sql import query
from permalog.viewer import Viewer
from permalog_server.importing import Rejected, import_lines
from permalog_server.ndjson import lines_of
from services import Service

SOON = datetime.now(UTC).replace(microsecond=0) - timedelta(days=2)
"""When histories begin: recent enough for every way in."""
END = SOON + timedelta(days=1, hours=12)
"""And when they are over."""
MADE = IdMaker()
a_few = settings(
    max_examples=10, deadline=None, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    phases=[Phase.generate],  # an example takes a second: to shrink one would take minutes
)  # fmt: skip
WAYS = ("statement", "recorder", "http", "import")


@dataclass(frozen=True)
class Step:
    """One event of a history, but for who did it."""

    way: str
    owner: Owner
    id: UUID
    at: datetime
    action: str
    outcome: Any
    source: Any
    correlation_id: str | None
    resource_id: str
    tells: str
    """What its metadata says of its actor: nothing, or a personal value."""

    def event(self, actor: Actor, login: str) -> Event:
        """The event, done by somebody."""
        told: dict[str, Any] = {"note": "routine"}
        if self.tells == "login":
            told["by"] = Personal("github_login", login)
        elif self.tells == "address":
            told["filters"] = {"actor_email": Personal("email", actor.email or "nobody@nowhere.example")}
        return Event(
            owner=self.owner, actor=actor, action=self.action, outcome=self.outcome, source=self.source, id=self.id,
            correlation_id=self.correlation_id, resource=Resource("thing", self.resource_id), metadata=told,
            after_state={"who": Personal("name", actor.name)} if self.tells == "name" else None,
        )  # fmt: skip


@st.composite
def steps(draw: st.DrawFn, owners: Sequence[Owner]) -> Step:
    """A step; many share their microsecond, their operation and their resource."""
    at = SOON + timedelta(microseconds=draw(st.sampled_from([0, 1, 1000, 10**6, 86_400 * 10**6])))
    return Step(
        way=draw(st.sampled_from(WAYS)),
        owner=draw(st.sampled_from(owners)),
        id=MADE.make(microseconds(at)),
        at=at,
        action=draw(st.sampled_from(["thing.made", "thing.changed"])),
        outcome=draw(st.sampled_from(["success", "failure", "denied"])),
        source=draw(st.sampled_from(["web", "api", None])),
        correlation_id=draw(st.sampled_from(["op_1", "op_2", None])),
        resource_id=draw(st.sampled_from(["t_1", "t_2", "abcdef"])),
        tells=draw(st.sampled_from(["nothing", "login", "address", "name"])),
    )


def write(service: Service, writer: dict[str, str], events: Iterable[tuple[str, Event]]) -> None:
    """Brings events in, each by its way."""
    for way, event in events:
        if way == "statement":
            with psycopg.connect(service.url) as connection:
                service.log.record(event, connection=connection)
        elif way == "recorder":
            service.log.record(event)
            assert service.log.flush()
        elif way == "http":
            body = {"events": [json.loads(event.to_json())]}
            answer = service.client.post("/v1/audit-log/events", json=body, headers=writer)
            assert answer.json()["results"][0]["status"] == "created", answer.text
        else:
            lines = lines_of(io.BytesIO(event.to_json() + b"\n"))
            rejected: list[Rejected] = []
            tally = import_lines(service.log, lines, reject=rejected.append, progress=lambda _tally, _size: None)
            assert (tally.added, rejected) == (1, [])


@dataclass(frozen=True)
class Request:
    """Something that a reader asks."""

    kind: str
    """``walk`` (pages, both ways), ``summary``, ``get``, ``export``, or the path of anything else."""
    parameters: dict[str, Any] = field(default_factory=dict[str, Any])


FILTERS = ("action", "outcome", "source", "correlation_id", "resource_id", "resource_type")


@st.composite
def requests(draw: st.DrawFn, words: Sequence[str], ids: Sequence[UUID]) -> Request:
    """A request of any kind; `words` are tried where they could find somebody."""
    kind = draw(st.sampled_from(["walk", "summary", "export", "get"]))
    if kind == "get":
        return Request(f"events/{draw(st.sampled_from(ids))}")
    asked: dict[str, Any] = {}
    for name in draw(st.lists(st.sampled_from(["actor_id", "actor_email", "search"]), unique=True, max_size=2)):
        asked[name] = draw(st.sampled_from(words))
    values = {
        "action": ["thing.made"], "outcome": "denied", "source": "web", "correlation_id": "op_1", "resource_id": "t_1",
        "resource_type": "thing", "start": "2026-01-01", "end": (SOON + timedelta(seconds=1)).isoformat(),
    }  # fmt: skip
    for name in draw(st.lists(st.sampled_from(sorted(values)), unique=True, max_size=2)):
        asked[name] = values[name]
    if kind == "walk":
        asked["limit"] = draw(st.integers(1, 3))
    elif kind == "export":
        asked["format"] = draw(st.sampled_from(["csv", "json", "ndjson"]))
    return Request(kind, asked)


def all_answers(
    service: Service, who: dict[str, str], base: str, owner: Owner, asked: Sequence[Request]
) -> list[bytes]:
    """What a customer is told, over HTTP and by the library.

    Exports come last, and but for the first end before they begin: each is on record, with ids of its own.
    """
    looks = [request for request in asked if request.kind != "export"]
    exports = [request for request in asked if request.kind == "export"]
    ended = [Request("export", {"end": END.isoformat()} | request.parameters) for request in exports]
    told = answers(service, who, base, looks) + through_the_library(service, owner, looks)
    told += answers(service, who, base, exports[:1] + ended)
    return told + through_the_library(service, owner, ended)


def answers(service: Service, who: dict[str, str], base: str, asked: Iterable[Request]) -> list[bytes]:
    """What somebody is told: status and body, byte by byte."""
    told: list[bytes] = []
    for request in asked:
        if request.kind == "walk":
            told += _walk(service, who, base, request.parameters)
        elif request.kind == "export":
            answer = service.client.post(f"{base}/export", json=request.parameters, headers=who)
            told.append(b"%d %s" % (answer.status_code, answer.content))
        else:
            answer = service.client.get(f"{base}/{request.kind}", params=request.parameters, headers=who)
            told.append(b"%d %s" % (answer.status_code, answer.content))
    return told


def _walk(service: Service, who: dict[str, str], base: str, parameters: dict[str, Any]) -> Iterable[bytes]:
    """Every page of a list to its end, and back again."""
    for cursor, name in (("next_cursor", "before"), ("previous_cursor", "after")):
        further: dict[str, Any] = {}
        while True:
            answer = service.client.get(f"{base}/events", params=parameters | further, headers=who)
            yield b"%d %s" % (answer.status_code, answer.content)
            if answer.status_code != 200 or answer.json()[cursor] is None:
                break
            further = {name: answer.json()[cursor]}


def through_the_library(service: Service, owner: Owner, asked: Iterable[Request]) -> list[bytes]:
    """The same, asked of the library."""
    viewer = Viewer.CUSTOMER
    told: list[bytes] = []
    for request in asked:
        parameters = {name: value for name, value in request.parameters.items() if name != "limit"}
        if request.kind == "walk":
            told.append(service.log.list(owner, viewer=viewer, limit=100, **parameters).to_json())
        elif request.kind == "summary":
            told.append(repr(service.log.summary(owner, viewer=viewer, **parameters)).encode())
        elif request.kind == "export":
            file = io.BytesIO()
            service.log.export(owner, parameters.pop("format"), file, viewer=viewer, **parameters)
            told.append(file.getvalue())
    return told


def forget_everything(url: str, identities: str = "kind <> 'actor'") -> None:
    """Empties the logs, as only the eraser's role may. Actors who are no staff stay, since writers remember them."""
    with psycopg.connect(url) as connection:
        connection.execute("SET ROLE permalog_eraser")
        for table in ("event", "event_key", "unsealed"):
            connection.execute(f"DELETE FROM permalog.{table}")
        connection.execute(cast("LiteralString", f"DELETE FROM permalog.identity WHERE {identities}"))
        connection.execute("RESET ROLE")
        connection.execute("DELETE FROM accounts.notice")


def stop_the_clock(url: str) -> None:
    """Has the database say of every event that it was recorded at the same time."""
    with psycopg.connect(url) as connection:
        connection.execute("ALTER TABLE permalog.event ALTER recorded_at SET DEFAULT '2026-01-31 00:00:00+00'")


def without(monkeypatch: pytest.MonkeyPatch, condition: str, left: str) -> None:
    """Makes a condition, a regular expression, true in every query that reads, until no query has `left` any more."""
    for file, one in (("filters", "log"), ("read", "one"), ("summary", "counts")):
        query(file, one)  # which reads the file
        for name, was in list(query._files[file].items()):
            now = re.sub(condition, "true", was)
            assert left not in now, (file, name, now)
            monkeypatch.setitem(query._files[file], name, cast("LiteralString", now))


def redefine(url: str, function: str, change: Callable[[str], str]) -> None:
    """Replaces a function of the database by a changed one."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT pg_get_functiondef(%s::regprocedure)", (function,)).fetchone()
        assert row is not None
        changed = change(row[0])
        assert changed != row[0]
        connection.execute(cast("LiteralString", changed.replace("%", "%%")), ())


def alike(step: Step, event_id: UUID) -> Step:
    """The same step with an id, and so the time, of another event."""
    return replace(step, id=event_id, at=id_time(event_id))


def plain_step(owner: Owner, *, way: str = "statement", tells: str = "nothing", resource_id: str = "t_1") -> Step:
    """A step with nothing special about it."""
    return Step(
        way, owner, MADE.make(microseconds(SOON)), SOON, "thing.made", "success", "web", "op_1", resource_id, tells
    )
