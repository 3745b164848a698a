"""The quick way of reading a line and the careful one give the same answers."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from permalog.errors import InvalidEvent
from permalog.event import Event
from permalog.plain import read_event

TEXT = st.text(max_size=6) | st.sampled_from(
    ["", "x" * 100, "x" * 101, "x" * 255, "x" * 256, "a@b.example", "\\", '"', "é"]
)
SCALAR = (
    st.none() | st.booleans() | st.integers(-(2**54), 2**54) | st.integers() | st.floats() | TEXT
    | st.sampled_from([2**53 - 1, 2**53, 1e300, 0.1, -0.0])
)  # fmt: skip
KEY = TEXT | st.sampled_from(["$personal", "$identity", "$", "kind", "value"])
JSON = st.recursive(SCALAR, lambda inside: st.lists(inside, max_size=3) | st.dictionaries(KEY, inside, max_size=3))
PERSONAL = st.fixed_dictionaries({"$personal": st.fixed_dictionaries({"kind": TEXT, "value": TEXT})})
PAYLOAD = st.dictionaries(KEY, JSON | PERSONAL, max_size=4)
ID = st.sampled_from(["u_1", "u_2"]) | TEXT
TIME = st.datetimes().map(lambda moment: moment.isoformat() + "Z") | st.sampled_from(
    ["2026-01-31T09:00:00Z", "2026-01-31T09:00:00.123456+01:00", "2026-01-31T09:00:00", "2026-02-30T00:00:00Z", "now"]
)
OWNER = {"organization_id": st.uuids().map(str) | ID, "user_id": ID}
ACTOR = {
    "type": st.sampled_from(["user", "staff", "api_key", "system", "robot"]),
    "id": ID, "email": ID, "name": ID, "ip_address": ID, "user_agent": ID,
}  # fmt: skip


def part(members: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """Some of the members, at times with a wrong value or one too many."""
    wrong = {name: value | JSON for name, value in members.items()}
    return (
        st.fixed_dictionaries({}, optional=members)
        | st.fixed_dictionaries({}, optional={**wrong, "other": JSON})
        | JSON
    )


GOOD: dict[str, Any] = {
    "owner": {"user_id": "u_1"},
    "action": "thing.made",
    "actor": {"type": "user", "id": "u_1", "email": "ada@tests.example"},
    "resource": {"type": "thing", "id": "t_1"},
}
MEMBERS: dict[str, st.SearchStrategy[Any]] = {
    "owner": part(OWNER),
    "action": TEXT | JSON,
    "actor": part(ACTOR),
    "resource": part({"type": TEXT, "id": TEXT}),
    "outcome": st.sampled_from(["success", "failure", "denied"]) | JSON,
    "occurred_at": TIME | JSON,
    "before_state": PAYLOAD | JSON,
    "after_state": PAYLOAD | JSON,
    "metadata": PAYLOAD | JSON,
    "correlation_id": TEXT | JSON,
    "source": st.sampled_from(["web", "import", "letter"]) | JSON,
    "event_key": TEXT | JSON,
    "id": st.uuids(version=4).map(str) | st.just("019b7a65-1113-71fb-8467-7c5f680bf991") | JSON,
    "recorded_at": JSON,
    "colour": JSON,
}
CHANGES = st.fixed_dictionaries({}, optional=MEMBERS)


def answer(read: Any, text: bytes) -> object:
    """The event, or what is wrong with it."""
    try:
        event: Event = read(text)
    except InvalidEvent as error:
        return error.field, error.reason
    return event, event.to_json()


def compact(event: object) -> bytes:
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode(errors="surrogatepass")


@given(CHANGES)
def test_both_ways_agree_about_lines_with_something_unusual(changes: dict[str, Any]) -> None:
    text = compact(GOOD | changes)
    assert answer(read_event, text) == answer(Event.from_json, text)


@given(CHANGES, st.integers(0, 400), st.binary(min_size=1, max_size=2))
def test_both_ways_agree_about_damaged_lines(changes: dict[str, Any], place: int, damage: bytes) -> None:
    text = compact(GOOD | changes)
    text = text[:place] + damage + text[place + len(damage) :]
    assert answer(read_event, text) == answer(Event.from_json, text)


NESTED = b'{"a":' * 15 + b"{}" + b"}" * 15


@given(st.just(b""))
@example(NESTED)
@example(b'{"a":' + NESTED + b"}")
@example(b'{"a":1,"a":2}')
@example(b'{"a":0.10000000000000000001}')
@example(b'{"a":12345678901234567890}')
@example(b'{"a": 1}')
@example(b'{"a":"' + b"x" * 65_528 + b'"}')
@example(b'{"a":"' + b"x" * 65_529 + b'"}')
def test_both_ways_agree_about_the_limits_of_payloads(metadata: bytes) -> None:
    text = orjson.dumps(GOOD)[:-1] + (b',"metadata":' + metadata if metadata else b"") + b"}"
    assert answer(read_event, text) == answer(Event.from_json, text)


def test_a_plain_line_is_read_the_quick_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the tests above would compare the careful way with itself."""
    monkeypatch.setattr(Event, "from_json", None)
    metadata = {"a": {"b": [1, True, None, 2.5, "ü"]}}
    event = read_event(compact({**GOOD, "metadata": metadata, "occurred_at": "2026-01-31T09:00:00.123456Z"}))
    assert event.metadata == metadata
    assert event.model_fields_set == {"owner", "action", "actor", "resource", "metadata", "occurred_at"}
