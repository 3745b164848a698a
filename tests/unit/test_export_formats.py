"""Cells of an export are harmless and can be restored; JSON goes out as it is stored."""

import csv
import io
import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from permalog import Event, Owner
from permalog.errors import InvalidQuery
from permalog.reading.export_formats import COLUMNS, format_of, harmless, restored
from permalog.reading.stored import Row, StoredEvent

OWNER = Owner.organization("1d62e659-0ba7-5961-aa6d-a08e37678a01")
hostile = st.text("=+-@\t\r\n'\",; aé\N{GRINNING FACE}\u2028\x0b\ufeff", min_size=1, max_size=6)


def row(**members: Any) -> Row:
    given: dict[str, Any] = {
        "id": "01a059d6-278c-7000-9355-e168d780e725",
        "occurred_at": "2026-08-31T22:00:02.188000Z",
        "recorded_at": "2026-08-31T22:00:03.000001Z",
        "recorded_by": "app",
        "action": "thing.made",
        "outcome": "success",
        "actor_type": "user",
        "actor_id": "u_1",
        "resource_type": "thing",
        "resource_id": "t_1",
        "metadata": "{}",
    }
    empty: dict[str, Any] = dict.fromkeys(Row._fields)
    return Row(**(empty | given | members))


def read(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))


@given(st.text())
def test_a_harmless_cell_is_restored_exactly(text: str) -> None:
    assert restored(harmless(text)) == text
    assert harmless(text)[:1] not in set("=+-@\t\r")


def test_only_what_could_run_or_be_mistaken_gets_an_apostrophe() -> None:
    assert [harmless(text) for text in ("=1", "+1", "-1", "@a", "\ta", "\ra", "'a", "a=1", "", "1", '"=1')] == [
        "'=1", "'+1", "'-1", "'@a", "'\ta", "'\ra", "''a", "a=1", "", "1", '"=1',
    ]  # fmt: skip


TEXTS = ("actor_id", "actor_email", "actor_name", "resource_type", "resource_id", "correlation_id", "recorded_by")


@given(st.fixed_dictionaries(dict.fromkeys(TEXTS, hostile)))
def test_csv_comes_back_through_pythons_module(texts: dict[str, str]) -> None:
    form = format_of("csv", OWNER)
    content = form.head + form.rows([row(**texts), row(metadata='{"a": "=1\\n,\\"x\\""}')], are_first=True) + form.tail
    header, first, second = read(content)
    assert tuple(header) == COLUMNS
    back = {name: restored(cell) for name, cell in zip(header, first, strict=True)}
    assert {name: back[name] for name in texts} == texts
    assert second[COLUMNS.index("metadata")] == '{"a": "=1\\n,\\"x\\""}'
    assert second[COLUMNS.index("before_state")] == second[COLUMNS.index("leaf_index")] == ""


def test_lines_end_as_rfc_4180_asks() -> None:
    form = format_of("csv", OWNER)
    assert (form.head + form.rows([row()], are_first=True)).decode().split("\r\n")[2:] == [""]


def test_an_empty_array_is_json() -> None:
    form = format_of("json", OWNER)
    assert json.loads(form.head + form.tail) == []


@pytest.mark.parametrize("name", ["", "CSV", "xml", None])
def test_an_unknown_format_is_refused(name: object) -> None:
    with pytest.raises(InvalidQuery, match="format"):
        format_of(name, OWNER)


NUMBERS = [
    "1" + "0" * 400,
    "0.10000000000000000001",
    "1.0",
    "-0.0",
    "10000000000000000000000",
    "1" * 5000,
    "0." + "0" * 400 + "1",
]


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_that_only_postgresql_carries_go_out_as_they_are(number: str) -> None:
    stored = StoredEvent(row(metadata=f'{{"n": {number}, "few": 7}}'))
    assert f'"n": {number}'.encode() in stored.to_json()
    assert stored.metadata["few"] == 7
    assert json.loads(orjson.dumps(stored.as_json()))["metadata"]["few"] == 7
    for name in ("csv", "json", "ndjson"):
        form = format_of(name, OWNER)
        assert form.rows([stored.row], are_first=True)


def test_a_large_double_can_be_imported_again() -> None:
    text = '{"10000000000000000000000": "10000000000000000000000", "n": [10000000000000000000000, -9007199254740992]}'
    line = format_of("ndjson", OWNER).rows([row(metadata=text)], are_first=True)
    event = Event.from_json(line)
    assert event.metadata == {"1" + "0" * 22: "1" + "0" * 22, "n": [1e22, -9007199254740992.0]}


def test_a_line_of_ndjson_is_an_event_with_everything_about_its_actor() -> None:
    full = row(
        actor_email="ada@acme.example", actor_name="Ada", ip_address="192.0.2.1", user_agent="curl", source="api"
    )
    event = Event.from_json(format_of("ndjson", OWNER).rows([full], are_first=True))
    assert event.owner == OWNER
    assert (event.actor.email, event.actor.ip_address, event.actor.user_agent) == (
        "ada@acme.example",
        "192.0.2.1",
        "curl",
    )
