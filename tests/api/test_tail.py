"""The tail: every sealed event once, in the order of the tree, whatever breaks off, and to nobody who may not."""

import json
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest

from permalog import Actor, Event, Owner, Resource
from permalog.errors import InvalidQuery
from permalog.reading.tail import Position, read_tail
from permalog.sealing.sealer import seal_now
from permalog_server import tailing
from permalog_server.app import TAILS_EACH
from service import People, Site, process
from trees import Planted, some_leaves


class Log:
    """A log whose tree grows as the test says."""

    def __init__(self, site: Site, owner: Owner) -> None:
        self.site, self.owner = site, owner
        site.log.open(owner)
        self.tree = Planted(site.database, owner.log_id)
        self.ids: list[UUID] = []

    def record(self, count: int = 1, actor: Actor | None = None, resource: str = "r") -> list[UUID]:
        made = [
            self.site.log.record(
                Event(
                    owner=self.owner, action="security.access.denied", actor=actor or Actor.user("u_1"),
                    resource=Resource("thing", resource),
                )
            ).id
            for _ in range(count)
        ]  # fmt: skip
        self.site.log.flush()
        return made

    def seal(self, ids: list[UUID]) -> None:
        self.tree.grow(some_leaves(len(ids)), ids)
        self.ids += ids

    def grow(self, count: int = 1, actor: Actor | None = None, resource: str = "r") -> None:
        self.seal(self.record(count, actor, resource))


@pytest.fixture
def log(site: Site, people: People) -> Log:
    return Log(site, Owner.organization(people.organization))


def route(people: People) -> str:
    return f"/v1/organizations/{people.organization}/audit-log/tail"


class Message:
    """One server-sent event."""

    def __init__(self, text: str) -> None:
        fields = (line.partition(": ") for line in text.split("\n") if not line.startswith(":"))
        self.fields: dict[str, str] = {name: value for name, _, value in fields}
        self.id = self.fields.get("id")
        self.kind = self.fields.get("event")
        self.data: Any = json.loads(self.fields["data"]) if "data" in self.fields else None


def messages(answer: httpx.Response) -> Generator[Message]:
    """As they come."""
    held = ""
    for piece in answer.iter_text():
        held += piece
        while "\n\n" in held:
            text, _, held = held.partition("\n\n")
            if text != ":":
                yield Message(text)


@contextmanager
def tailing_of(site: Site, people: People, who: str = "owner", **parameters: Any) -> Generator[Iterator[Message]]:
    headers = {"Last-Event-ID": parameters.pop("last")} if "last" in parameters else {}
    with (
        site.client(people.token(who)) as client,
        client.stream("GET", route(people), params=parameters, headers=headers) as answer,
    ):
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield messages(answer)


def now(site: Site, people: People, who: str = "owner", **parameters: Any) -> list[Message]:
    """What there is now."""
    with tailing_of(site, people, who, wait=0, **parameters) as found:
        return list(found)


def events(found: list[Message]) -> list[tuple[str | None, UUID, int]]:
    return [(one.id, UUID(one.data["id"]), one.data["leaf_index"]) for one in found if one.kind == "event"]


def test_what_is_sealed_comes_in_the_order_of_the_tree(site: Site, people: People, log: Log) -> None:
    early, late = log.record(3), log.record(2)
    log.seal([*late, *early])  # what commits late comes late, whatever its id says
    found = now(site, people, after="begin")
    assert events(found) == [(f"1-{n}", one, n) for n, one in enumerate([*late, *early])]
    assert [one.kind for one in found][-1] == "end"
    assert found[-1].data == {"reason": "time is over"}


def test_what_waits_for_sealing_is_not_there(site: Site, people: People, log: Log) -> None:
    log.grow()
    log.record(2)
    assert len(events(now(site, people, after="begin"))) == 1


@pytest.mark.parametrize("size", [1, 99, 100, 101, 256, 257, 700])
def test_nothing_is_left_out_and_nothing_twice(site: Site, people: People, log: Log, size: int) -> None:
    log.grow(size)
    assert [one for _, one, _ in events(now(site, people, after="begin"))] == log.ids
    at = size // 2
    assert [index for *_, index in events(now(site, people, after=f"1-{at}"))] == list(range(at + 1, size))
    assert [index for *_, index in events(now(site, people, last=f"1-{at}"))] == list(range(at + 1, size))
    assert [index for *_, index in events(now(site, people, after=str(at)))] == list(range(at + 1, size))


def test_a_listener_hears_of_what_is_sealed_meanwhile(site: Site, people: People, log: Log) -> None:
    log.grow(3)
    with tailing_of(site, people) as found:
        assert next(found).id == "1-2"  # where it stands, before anything has come
        log.grow(1)
        first = next(found)
        assert (first.id, UUID(first.data["id"])) == ("1-3", log.ids[3])
        log.grow(2)
        assert [next(found).id for _ in range(2)] == ["1-4", "1-5"]


def test_a_log_that_was_never_sealed_is_listened_to_from_its_first_event_on(
    site: Site, people: People, log: Log
) -> None:
    with tailing_of(site, people) as found:
        assert next(found).id == "1-begin"
        log.grow(2)
        assert [next(found).id for _ in range(2)] == ["1-0", "1-1"]


def test_an_epoch_follows_the_other(site: Site, people: People, log: Log) -> None:
    log.grow(3)
    later = log.record(2)
    epoch = Planted(site.database, log.owner.log_id, 2)
    epoch.grow(some_leaves(3), [None, *later])  # its first leaf is a checkpoint, and no event
    assert events(now(site, people, after="1-1")) == [
        ("1-2", log.ids[2], 2),
        ("2-1", later[0], 1),
        ("2-2", later[1], 2),
    ]
    assert events(now(site, people, after="2-1")) == [("2-2", later[1], 2)]
    assert [one for one, *_ in events(now(site, people, after="2-begin"))] == ["2-1", "2-2"]
    assert [one for one, *_ in events(now(site, people, after="1"))] == ["2-2"]


@pytest.mark.parametrize(
    "after", ["1-3", "1-99", "2-begin", "2-0", "0-0", "x", "1-", "-1", "1-01", "1--1", "9" * 30, "1-2-3", "١", "3", ""]
)
def test_a_position_that_there_is_not_is_told(site: Site, people: People, log: Log, after: str) -> None:
    log.grow(3)
    with site.client(people.token("owner")) as client:
        if after:
            answer = client.get(route(people), params={"after": after, "wait": 0})
            assert answer.status_code == 422
            assert answer.json()["errors"][0]["field"] == "after"
            if after.isascii():
                assert (
                    client.get(route(people), params={"wait": 0}, headers={"Last-Event-ID": after}).status_code == 422
                )
        for parameters in ({"wait": -1}, {"wait": 3601}, {"wait": "x"}, {"limit": 3}, {"action": "no.such"}):
            assert client.get(route(people), params=parameters).status_code == 422


def test_filters_leave_out_and_the_position_goes_on(site: Site, people: People, log: Log) -> None:
    log.grow(2, resource="wanted")
    log.grow(150, resource="other")
    found = now(site, people, after="begin", resource_id="wanted")
    assert [one for one, *_ in events(found)] == ["1-0", "1-1"]
    assert found[-2].id == "1-151"
    assert found[-2].kind is None
    log.grow(1, resource="wanted")
    assert [one for one, *_ in events(now(site, people, after="1-151", resource_id="wanted"))] == ["1-152"]


def test_staff_are_masked_as_in_the_list(site: Site, people: People, log: Log) -> None:
    log.grow(1, Actor.staff("s_1", email="sam@vendor.example", name="Sam"))
    (to_customer,) = [one.data for one in now(site, people, after="begin") if one.kind == "event"]
    assert to_customer["actor"] == {"type": "staff", "id": None, "email": None, "name": "Support"}
    (to_staff,) = [one.data for one in now(site, people, "staff", after="begin") if one.kind == "event"]
    assert to_staff["actor"]["id"] == "s_1"
    assert events(now(site, people, after="begin", actor_id="s_1")) == []


def test_that_staff_have_listened_is_on_record_once(site: Site, people: People, log: Log) -> None:
    for _ in range(2):
        now(site, people, "staff", after="begin")
    site.log.flush()
    found = site.log.list(log.owner, action="security.audit_log.viewed").events
    assert [one.metadata["route"] for one in found] == [
        f"GET {route(people).replace(str(people.organization), '{organization_id}')}"
    ]


def test_an_event_is_as_the_list_has_it(site: Site, people: People, log: Log) -> None:
    log.grow(1)
    (found,) = [one.data for one in now(site, people, after="begin") if one.kind == "event"]
    with site.client(people.token("owner")) as client:
        shown = client.get(route(people).replace("tail", f"events/{log.ids[0]}")).json()
    assert found | {"leaf_index": None} == shown | {"leaf_index": None}
    assert found["leaf_index"] == 0


def listening_connections(database: str) -> int:
    with psycopg.connect(database) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query = 'LISTEN permalog_sealed'"
        ).fetchone()
    assert row is not None
    return row[0]


def test_many_listeners_share_one_connection(site: Site, people: People, log: Log) -> None:
    log.grow(1)
    heard: list[list[str | None]] = []
    ready = threading.Barrier(TAILS_EACH + 1, timeout=20)

    def listen() -> None:
        with tailing_of(site, people) as found:
            next(found)
            ready.wait()
            heard.append([next(found).id for _ in range(5)])

    threads = [threading.Thread(target=listen, daemon=True) for _ in range(TAILS_EACH)]
    for thread in threads:
        thread.start()
    ready.wait()
    assert listening_connections(site.database) == 1
    with site.client(people.token("owner")) as client:
        refused = client.get(route(people))
        assert refused.status_code == 429
        assert refused.headers["retry-after"]
    for _ in range(5):
        log.grow(1)
    for thread in threads:
        thread.join(30)
    assert heard == [[f"1-{n}" for n in range(1, 6)]] * TAILS_EACH
    assert now(site, people)  # there are places again


def test_it_hears_again_after_its_connection_was_lost(
    site: Site, people: People, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tailing, "_PAUSE_SECONDS", 0.05)
    log.grow(1)
    with tailing_of(site, people) as found:
        next(found)
        with psycopg.connect(site.database, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND query = 'LISTEN permalog_sealed'"
            )
        log.grow(1)
        one = next(found)
        assert one.id == "1-1"


def _ignore(*_: object) -> None:
    """Hears nothing."""


def test_the_sealer_wakes_who_listens(site: Site, people: People, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tailing, "HEARTBEAT_SECONDS", 600.0)  # which would find it, too
    with tailing_of(site, people) as found:
        next(found)
        made = log.record(3)
        seal_now(site.log.database, None)
        assert [UUID(next(found).data["id"]) for _ in range(3)] == made


def test_a_heartbeat_comes_and_finds_what_nobody_told(
    site: Site, people: People, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tailing, "HEARTBEAT_SECONDS", 0.05)
    log.grow(1)
    with site.client(people.token("owner")) as client, client.stream("GET", route(people)) as answer:
        pieces = answer.iter_text()
        said = ""
        while said.count("\n\n") < 3:
            said += next(pieces)
        assert said.startswith("id: 1-0\n\n:\n\n:\n\n")
    with tailing_of(site, people) as found:
        next(found)
        with monkeypatch.context() as patch:
            patch.setattr(tailing.Hub, "_wake", _ignore)
            log.grow(1)
            one = next(found)
        assert one.id == "1-1"


def test_who_is_no_longer_admitted_hears_no_more(
    site: Site, people: People, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tailing, "HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr(tailing, "ADMISSION_SECONDS", 0.0)
    log.grow(1)
    user = people.id("admin")
    issued = site.accounts.issue(user)
    people.tokens["short"] = issued.token
    with tailing_of(site, people, "short") as found:
        next(found)
        site.accounts.revoke(issued.id)
        one = next(found)
        assert one.kind == "end"
        assert one.data == {"reason": "no longer admitted"}
        log.grow(1)
        assert list(found) == []


def test_a_stopping_service_says_so(
    make_database: Callable[[], str], folder: Path, site: Site, people: People, log: Log
) -> None:
    log.grow(1)
    assert make_database
    with process(site.database, folder / "stopping") as running:
        with (
            running.client(people.token("owner")) as client,
            client.stream("GET", route(people)) as answer,
        ):
            found = messages(answer)
            assert next(found).id  # this process seals, too, so that it may have grown
            begun = time.monotonic()
            stopper = threading.Thread(target=running.stop)
            stopper.start()
            assert next(one for one in found if one.kind == "end").data == {"reason": "the service stops"}
            stopper.join()
        assert time.monotonic() - begun < 15  # and not after the grace that others get


def test_events_that_are_no_longer_there_are_passed(site: Site, people: People, log: Log) -> None:
    log.grow(3)
    with psycopg.connect(site.database) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET ROLE permalog_eraser")
        connection.execute("DELETE FROM permalog.event WHERE id = %s", (log.ids[1],))
    assert [index for *_, index in events(now(site, people, after="begin"))] == [0, 2]


def test_the_library_tails_by_itself(site: Site, log: Log) -> None:
    log.grow(150)
    at, seen = Position.parse("begin"), list[UUID]()
    while True:
        batch = read_tail(site.log.database, log.owner, at)
        seen += [event.id for _, event in batch.events]
        at = batch.position
        if not batch.is_more:
            break
    assert seen == log.ids
    assert read_tail(site.log.database, log.owner, at).events == []
    with pytest.raises(InvalidQuery):
        read_tail(site.log.database, log.owner, Position(1, 150))
