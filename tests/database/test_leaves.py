"""A leaf is that of the row as PostgreSQL stores it, whoever wrote it and however it is read."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings

import hostile
import record_vectors as vectors
from asking import ask, composed, value
from permalog import Actor, Event, Owner, Resource
from permalog.client import Permalog
from permalog.tlog.canonical import EventRow, leaf_hash, leaf_preimage

shared_database = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
IN_DOCUMENT = vectors.DOCUMENT.read_text().partition("```sql\n")[2].partition("```")[0]
AS_TYPES = (
    "SELECT log_id, id, occurred_at, recorded_at, recorded_by, action, outcome, actor_type, actor_id, identity, "
    "resource_type, resource_id, correlation_id, source, schema_version, before_state::text, after_state::text, "
    "metadata::text FROM permalog.event"
)


@pytest.fixture
def superuser(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database) as connected:
        yield connected


def rows(connection: psycopg.Connection, statement: str, *, binary: bool = False) -> list[EventRow]:
    found = connection.cursor(binary=binary).execute(composed(statement + " ORDER BY log_id, id")).fetchall()
    return [EventRow.read(row) for row in found]


def test_the_columns_are_those_of_the_table(superuser: psycopg.Connection) -> None:
    names = ask(superuser, "SELECT column_name FROM information_schema.columns WHERE table_schema = 'permalog' "
                           "AND table_name = 'event' ORDER BY ordinal_position")  # fmt: skip
    assert [name for (name,) in names] == list(EventRow._fields)


@shared_database
@given(event=hostile.events())
def test_a_row_has_one_leaf_however_it_is_read(log: Permalog, superuser: psycopg.Connection, event: Event) -> None:
    with superuser.transaction():
        log.record(event, connection=superuser)
    as_text = rows(superuser, IN_DOCUMENT)
    superuser.execute("SET TimeZone TO 'Asia/Kathmandu'; SET bytea_output TO 'escape'")
    assert rows(superuser, AS_TYPES) == as_text
    superuser.execute("SET DateStyle TO 'SQL, DMY'")
    assert rows(superuser, IN_DOCUMENT) == rows(superuser, AS_TYPES, binary=True) == as_text
    superuser.rollback()
    # What the library records needs no raw form.
    assert not any("form" in json.loads(leaf_preimage(row)) for row in as_text)


COMMITMENT = re.compile(r'\{"\$identity": "[0-9a-f]{64}"\}')


def without_chance(row: EventRow) -> EventRow:
    """The row without what no two events share: place, time of recording, commitments."""
    before, after, metadata = (
        text and COMMITMENT.sub("{}", text) for text in (row.before_state, row.after_state, row.metadata)
    )
    return row._replace(
        id="", recorded_at="", identity=row.identity and bytes(32),
        before_state=before, after_state=after, metadata=metadata or "",
    )  # fmt: skip


@shared_database
@given(event=hostile.events(), moment=hostile.times)
def test_equal_columns_have_equal_leaves_whether_python_or_sql_wrote_them(
    log: Permalog, superuser: psycopg.Connection, event: Event, moment: Any
) -> None:
    event = Event(**{**dict(event), "occurred_at": moment})
    before = set(rows(superuser, IN_DOCUMENT))
    superuser.commit()
    log.record(event)
    assert log.flush()
    with superuser.transaction():
        log.record(event, connection=superuser)
        superuser.execute("SELECT permalog.append(%s::json)", (event.to_json().decode(),))
    found = [without_chance(row) for row in rows(superuser, IN_DOCUMENT) if row not in before]
    # The drain's login is that of the test: even the recorder is the same.
    assert len(found) == 3
    assert len({leaf_hash(row) for row in found}) == 1


def test_events_of_the_system_differ_in_nothing_but_id_and_time(log: Permalog, superuser: psycopg.Connection) -> None:
    event = Event(
        owner=Owner.user("u_1"),
        actor=Actor.system("sync"),
        action="thing.made",
        resource=Resource("thing", "t_1"),
        occurred_at=datetime.now(UTC),
        metadata={"n": 1.0, "x": 0.1, "ö": ["😀", "\ue000"], "deep": {"z": None}},
    )
    with superuser.transaction():
        log.record(event, connection=superuser)
        superuser.execute("SELECT permalog.append(%s::json)", (event.to_json().decode(),))
    one, other = rows(superuser, IN_DOCUMENT)
    assert leaf_hash(one) != leaf_hash(other)
    assert leaf_preimage(one._replace(id=other.id, recorded_at=other.recorded_at)) == leaf_preimage(other)


@pytest.mark.parametrize("number", range(len(vectors.VECTORS)))
def test_the_vectors_of_the_document_are_rows_of_the_database(superuser: psycopg.Connection, number: int) -> None:
    row = vectors.VECTORS[number].row
    superuser.execute("ALTER TABLE permalog.event DROP CONSTRAINT event_action")
    superuser.execute("INSERT INTO permalog.log (log_id, user_id) VALUES (%s, 'u_1')", (row.log_id,))
    places = ", ".join(["%s"] * len(row))
    superuser.execute(composed(f"INSERT INTO permalog.event ({', '.join(row._fields)}) VALUES ({places})"), row)
    assert rows(superuser, IN_DOCUMENT) == rows(superuser, AS_TYPES) == [row]
    superuser.rollback()


@pytest.mark.parametrize(
    ("payload", "raw"),
    [
        ('{"n": 1e400}', True), ('{"n": 1e21}', False), ('{"n": -0}', False), ('{"n": -0.0}', False),
        ('{"n": 1.50e-3}', False),
        ('{"n": 123456789012345678901234567890}', True), ('{"n": 0.10000000000000000001}', True),
        ('{"n": 1e-400}', True),
        ('{"a": 1, "a": 0.1}', False), ('{"\\u0061": "\\u00e9\\ud83d\\ude00"}', False), ('{"n": 5e-324}', False),
        ('{"a": ' + "[" * 2000 + "]" * 2000 + "}", True),
    ],
)  # fmt: skip
def test_whatever_another_writer_stores_has_a_leaf(superuser: psycopg.Connection, payload: str, raw: bool) -> None:  # noqa: FBT001
    text = value(superuser, "SELECT (%s::jsonb)::text", (payload,))
    preimage = leaf_preimage(vectors.BASE._replace(metadata=text))
    members = json.loads(preimage)
    assert ("form" in members) is raw
    if raw:
        assert value(superuser, "SELECT (%s::jsonb)::text", (members["metadata"],)) == text
    else:
        # The database itself finds the canonical form equal.
        assert value(superuser, "SELECT %s::jsonb = %s::jsonb", (json.dumps(members["metadata"]), text))
