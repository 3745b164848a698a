"""Search finds a text, taken literally, in any one value; people are found by their addresses."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from model import event_of
from permalog import Actor, Owner, Personal, Resource
from permalog.client import Permalog
from permalog.errors import EventNotFound, InvalidCursor, InvalidQuery
from permalog.reading import query as queries
from permalog.reading.filters import Filters
from permalog.reading.query import get_event, list_events
from permalog.reading.summary import summary
from permalog.recording.store import Dated

OWNER = Owner.user("u_1")
NOW = datetime.now(UTC) - timedelta(hours=1)
Store = Callable[..., Dated]


@pytest.fixture
def store(log: Permalog) -> Iterator[Store]:
    """Store one event, each a second after the one before."""
    writer = log.writer()
    moments = iter(NOW + timedelta(seconds=n) for n in range(1_000))

    def one(**members: object) -> Dated:
        dated = Dated.of(event_of(OWNER, **({"occurred_at": next(moments)} | members)), NOW)
        (outcome,) = writer.store([dated])
        assert outcome.status == "created"
        return dated

    yield one
    writer.close()


def finds(log: Permalog, text: str) -> bool:
    return bool(list_events(log.database, OWNER, Filters(search=text)).events)


@pytest.mark.parametrize(
    ("metadata", "text", "found"),
    [
        ({"a": "Hello World"}, "lo wor", True),
        ({"a": "100%"}, "0%", True),
        ({"a": "100%"}, "1%0", False),
        ({"a": "a_c"}, "a_c", True),
        ({"a": "abc"}, "a_c", False),
        ({"a": 'say "hi"'}, 'y "h', True),
        ({"a": "C:\\temp"}, ":\\t", True),
        ({"a": "C:\\temp"}, ":\\\\t", False),
        ({"a": "one\ntwo"}, "e\nt", True),
        ({"a": "one\ntwo"}, "e\\nt", False),
        ({"a": "one\ntwo"}, "ntw", False),
        ({"a": "\u0001\u001f"}, "u001", False),
        ({"a": "\u0001x\u001f"}, "\u0001X\u001f", True),
        ({"word": "x"}, "word", False),
        ({"a": {"word": "x"}}, "word", False),
        ({"a": {"b": [{"c": "Deep"}]}}, "deep", True),
        ({"a": ["one", "two"]}, 'one", "two', False),
        ({"a": "one", "b": "two"}, "onetwo", False),
        ({"a": [1, 2]}, "1, 2", False),
        ({"a": 1234.5}, "234.", True),
        ({"a": [1e-7]}, "0.0000001", True),
        ({"a": 1e22}, "10000000000000000000000", True),
        ({"a": True, "b": None}, "true", False),
        ({"a": True, "b": None}, "null", False),
        ({"a": "ΟΔΟΣ"}, "οδοσ", True),
        ({"a": "ΟΔΟΣ ΑΒ"}, "ΟΔΟΣ", True),
        ({"a": "\nΣΑΣ"}, "ΣΑ", True),
        ({"a": "ÉTÉ"}, "été", True),
        ({"a": "\N{GRINNING FACE}!"}, "\N{GRINNING FACE}!", True),
        ({}, "thing", True),
        ({}, "T_1", True),
        ({}, "OPER", True),
        ({}, "ada", False),
    ],
)
def test_search_is_for_one_value_and_literal(
    log: Permalog, store: Store, metadata: dict[str, Any], text: str, *, found: bool
) -> None:
    store(metadata=metadata, correlation_id="Operation-7")
    assert finds(log, text) is found
    assert summary(log.database, OWNER, Filters(search=text)).total == found


def test_search_does_not_find_commitments_nor_what_they_stand_for(log: Permalog, store: Store, database: str) -> None:
    store(metadata={"by": Personal("github_login", "octocat"), "note": "merged"})
    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT metadata #>> '{by,$identity}' FROM permalog.event").fetchone()
    assert row is not None
    assert not finds(log, row[0][:8])
    assert not finds(log, "octocat")
    assert finds(log, "merged")


def test_a_short_search_stops_at_its_bound_and_goes_on_from_there(
    log: Permalog, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "SCANNED", 10)
    for n in range(35):
        store(metadata={"a": "zz" if n in {0, 1, 34} else "-"})
    chosen = Filters(search="ZZ")
    pages = [list_events(log.database, OWNER, chosen, limit=1)]
    while pages[-1].next_cursor is not None:
        pages.append(list_events(log.database, OWNER, chosen, before=pages[-1].next_cursor, limit=1))
    assert [event.metadata["a"] for page in pages for event in page.events] == ["zz"] * 3
    assert [page.partial for page in pages].count(True) >= 3
    assert all((page.next_cursor is not None) == page.has_next for page in pages)
    assert not pages[-1].has_next
    assert json.loads(next(page for page in pages if page.partial).to_json())["partial"] is True
    assert "partial" not in json.loads(list_events(log.database, OWNER).to_json())

    up = [pages[-1]]
    while up[-1].previous_cursor is not None:
        up.append(list_events(log.database, OWNER, chosen, after=up[-1].previous_cursor, limit=1))
    assert len({event.id for page in up for event in page.events}) == 3
    assert not up[-1].has_previous


def test_a_short_search_that_sees_everything_is_not_partial(
    log: Permalog, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "SCANNED", 10)
    for _ in range(10):
        store()
    page = list_events(log.database, OWNER, Filters(search="zz"))
    assert (page.events, page.partial, page.has_next) == ((), False, False)


def test_a_longer_search_sees_everything(log: Permalog, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "SCANNED", 2)
    store(metadata={"a": "zzz"})
    for _ in range(10):
        store()
    assert finds(log, "zzz")


def test_people_are_found_by_the_address_they_had(log: Permalog, store: Store, database: str) -> None:
    old = store(actor=Actor.user("u_1", email="Ada@acme.example"))
    store(actor=Actor.user("u_1", email="ada@globex.example"))
    shared = store(actor=Actor.user("u_2", email="ada@ACME.example", name="Bob"))
    staff = [store(actor=Actor.staff("s_1", email="ADA@acme.example", name="Sam")) for _ in range(2)]

    def found(address: str) -> list[Any]:
        return [event.id for event in list_events(log.database, OWNER, Filters(actor_email=address)).events]

    assert found("ada@acme.example") == [one.id for one in (*reversed(staff), shared, old)]
    assert found("ada@globex.exampl") == []
    assert [e.id for e in list_events(log.database, OWNER, Filters(actor_id="s_1")).events] == [
        one.id for one in reversed(staff)
    ]
    with psycopg.connect(database) as connection:
        connection.execute("GRANT UPDATE ON permalog.identity TO permalog_eraser")
        connection.execute("GRANT USAGE ON SCHEMA permalog TO permalog_eraser")
        connection.execute("ALTER TABLE permalog.identity DISABLE ROW LEVEL SECURITY")
        connection.execute("GRANT SELECT ON permalog.identity TO permalog_eraser")
        connection.execute("SET ROLE permalog_eraser")
        connection.execute(
            "UPDATE permalog.identity SET actor_id = NULL, email = NULL, name = NULL, ip_address = NULL,"
            " user_agent = NULL, salt = NULL, erased_at = now() WHERE actor_id IN ('u_2', 's_1')"
        )
    assert found("ada@acme.example") == [old.id]
    erased = get_event(log.database, OWNER, shared.id)
    assert (erased.actor_id, erased.actor_email, erased.actor_name) == ("u_2", None, None)
    assert get_event(log.database, OWNER, staff[0].id).as_json()["actor"] == {
        "type": "staff", "id": None, "email": None, "name": None,
    }  # fmt: skip
    assert [(one.type, one.id, one.name) for one in summary(log.database, OWNER).by_actor] == [
        ("user", "u_1", None), ("staff", None, "Support"), ("user", "u_2", None),
    ]  # fmt: skip


def test_personal_values_are_shown_in_their_places(log: Permalog, store: Store, database: str) -> None:
    text = '{"$identity": "' + "0" * 64 + '"}'
    one = store(
        before_state={"by": Personal("github_login", 'o"ct\\o')},
        metadata={
            "people": [Personal("github_login", "hubot"), {"x": Personal("email", "é@acme.example")}],
            "text": text,
        },
    )
    event = list_events(log.database, OWNER).events[0]
    assert event.before_state == {"by": {"$personal": {"kind": "github_login", "value": 'o"ct\\o'}}}
    assert event.metadata == {
        "people": [
            {"$personal": {"kind": "github_login", "value": "hubot"}},
            {"x": {"$personal": {"kind": "email", "value": "é@acme.example"}}},
        ],
        "text": text,
    }
    with psycopg.connect(database) as connection:
        connection.execute("ALTER TABLE permalog.identity DISABLE TRIGGER refuse_change")
        connection.execute(
            "UPDATE permalog.identity SET value = NULL, salt = NULL, erased_at = now() WHERE value IS NOT NULL"
        )
    assert get_event(log.database, OWNER, one.id).before_state == {
        "by": {"$personal": {"kind": "github_login", "value": None}}
    }


def test_numbers_of_other_writers_are_read(log: Permalog, store: Store, database: str) -> None:
    one = store()
    with psycopg.connect(database) as connection:
        connection.execute("ALTER TABLE permalog.event DISABLE TRIGGER refuse_change")
        connection.execute(
            'UPDATE permalog.event SET metadata = \'{"a": 1e400, "b": 0.10000000000000000001, "c": 1.0, "d": 7}\''
        )
    event = get_event(log.database, OWNER, one.id)
    assert event.metadata == {"a": "1" + "0" * 400, "b": 0.1, "c": 1.0, "d": 7}
    assert b'"b": 0.10000000000000000001, "c": 1.0' in event.to_json()
    assert finds(log, "0.10000000000000000001")


def test_an_event_of_another_log_is_not_found(log: Permalog, store: Store) -> None:
    one = store(actor=Actor.system(), resource=Resource("thing", "t_9"))
    assert get_event(log.database, OWNER, one.id).id == one.id
    with pytest.raises(EventNotFound):
        get_event(log.database, Owner.user("u_2"), one.id)


@pytest.mark.parametrize("limit", [0, -1, 101, 10**9, True, 1.0, "7", None])
def test_limits_beyond_a_page_are_refused(log: Permalog, limit: Any) -> None:
    with pytest.raises(InvalidQuery, match="limit"):
        list_events(log.database, OWNER, limit=limit)


def test_bad_cursors_and_unknown_actions_are_refused(log: Permalog, store: Store) -> None:
    store()
    store()
    cursor = list_events(log.database, OWNER, limit=1).next_cursor
    assert cursor is not None
    with pytest.raises(InvalidCursor):
        list_events(log.database, Owner.user("u_2"), before=cursor)
    with pytest.raises(InvalidCursor):
        list_events(log.database, OWNER, Filters(action="thing.made"), before=cursor)
    with pytest.raises(InvalidCursor):
        list_events(log.database, OWNER, after="")
    with pytest.raises(InvalidQuery, match="after"):
        list_events(log.database, OWNER, before=cursor, after=cursor)
    with pytest.raises(InvalidQuery, match=r"action.*no\.such"):
        list_events(log.database, OWNER, Filters(action=["thing.made", "no.such"]))
    with pytest.raises(InvalidQuery, match="action"):
        summary(log.database, OWNER, Filters(action="no.such"))
    assert list_events(log.database, OWNER, Filters(action="thing.lost")).events == ()
