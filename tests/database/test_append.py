"""permalog.append in SQL and the library in Python make the same event, by whichever way it comes."""

import json
import re
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.rows import dict_row

import hostile
from asking import ask, value
from permalog import Event, Owner
from permalog.client import Permalog
from permalog.errors import ContentConflict, PermalogError
from permalog.identity import Identity
from permalog.ids import EPOCH, id_floor, id_time, microseconds
from permalog.recording.store import ids, refusal

# The database is fresh for each test, and each example has logs of its own.
shared_database = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
Way = Callable[[Permalog, psycopg.Connection, Event], None]


def by_the_recorder(log: Permalog, connection: psycopg.Connection, event: Event) -> None:
    failures = log.stats.failed
    connection.commit()
    log.record(event)
    assert log.flush()
    if log.stats.failed > failures:
        raise ContentConflict("event_key")


def in_a_transaction(log: Permalog, connection: psycopg.Connection, event: Event) -> None:
    with connection.transaction():
        log.record(event, connection=connection)


def by_sql(log: Permalog, connection: psycopg.Connection, event: Event) -> None:  # noqa: ARG001  a way as the others
    with refusals(), connection.transaction():
        # As another program would write it: pure ASCII, with spaces.
        connection.execute("SELECT permalog.append(%s::json)", (json.dumps(json.loads(event.to_json())),))


@contextmanager
def refusals() -> Generator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise refusal(error) from error


MOMENTS = st.integers(0, microseconds(datetime.max.replace(tzinfo=UTC))).map(
    lambda us: EPOCH + timedelta(microseconds=us)
)
WAYS = {"recorder": by_the_recorder, "transaction": in_a_transaction, "sql": by_sql}
ways = st.permutations(sorted(WAYS))


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database) as connected:
        connected.execute("SET ROLE permalog_writer")
        connected.commit()
        yield connected


@pytest.fixture
def superuser(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as connected:
        yield connected


def event_of_its_own(event: Event, **members: Any) -> Event:
    """The event in a log that no other example has: the database lasts for all of them."""
    if event.owner.user_id is None:
        owner = Owner.organization(uuid.uuid4())
    else:
        owner = Owner.user(event.owner.user_id[:200] + uuid.uuid4().hex)
    return Event(**{**dict(event), **members, "owner": owner})


def stored(superuser: psycopg.Connection, owner: Owner, *, timed: bool) -> list[dict[str, Any]]:
    """The rows of a log without what must differ: the commitments are replaced by what they commit to."""
    identities = {
        row["commitment"].hex(): {
            k: v for k, v in row.items() if k not in {"log_id", "commitment", "salt", "erased_at"}
        }
        for row in superuser.cursor(row_factory=dict_row).execute(
            "SELECT * FROM permalog.identity WHERE log_id = %s", (owner.log_id,)
        )
    }
    rows = superuser.cursor(row_factory=dict_row).execute(
        "SELECT * FROM permalog.event WHERE log_id = %s ORDER BY recorded_at", (owner.log_id,)
    )
    found: list[dict[str, Any]] = []
    for row in rows:
        event_id = row.pop("id")
        assert event_id.version == 7
        assert id_time(event_id) == row["occurred_at"]
        del row["recorded_at"], row["recorded_by"]
        if not timed:
            del row["occurred_at"]
        row["identity"] = row["identity"] and identities[row["identity"].hex()]
        for name in ("before_state", "after_state", "metadata"):
            row[name] = revealed(row[name], identities)
        found.append(row)
    return found


def revealed(payload: Any, identities: dict[str, dict[str, Any]]) -> Any:
    match payload:
        case {"$identity": commitment}:
            return identities[commitment]
        case dict():
            return {key: revealed(inside, identities) for key, inside in payload.items()}
        case list():
            return [revealed(inside, identities) for inside in payload]
        case _:
            return payload


@shared_database
@given(event=hostile.events(), order=ways)
def test_the_three_ways_store_the_same_row(
    log: Permalog, connection: psycopg.Connection, superuser: psycopg.Connection, event: Event, order: list[str]
) -> None:
    event = event_of_its_own(event)
    for way in order:
        WAYS[way](log, connection, event)
    one, two, three = stored(superuser, event.owner, timed=event.occurred_at is not None)
    assert one == two == three
    assert one["log_id"] == event.owner.log_id
    assert one["actor_id"] == (None if event.actor.type == "staff" else event.actor.id)


@shared_database
@given(event=hostile.events(), way=st.sampled_from(sorted(WAYS)))
def test_every_commitment_verifies_in_python_and_in_sql(
    log: Permalog, connection: psycopg.Connection, superuser: psycopg.Connection, event: Event, way: str
) -> None:
    event = event_of_its_own(event)
    WAYS[way](log, connection, event)
    rows = ask(
        superuser,
        "SELECT commitment, salt, kind, actor_id, email, name, ip_address, user_agent, value,"
        " permalog.commitment(salt, kind, actor_id, email, name, ip_address, user_agent, value)"
        " FROM permalog.identity WHERE log_id = %s",
        (event.owner.log_id,),
    )
    assert rows or event.actor.type == "system"
    for commitment, salt, *identity, in_sql in rows:
        assert len(salt) == 16
        assert Identity(*identity).commitment(salt) == commitment == in_sql


@shared_database
@given(event=hostile.events(event_key="the key"), changed=st.sampled_from(["resource_id", "metadata"]), order=ways)
def test_the_same_key_is_stored_once_whichever_way_it_comes_again_and_other_content_is_refused(
    log: Permalog,
    connection: psycopg.Connection,
    superuser: psycopg.Connection,
    event: Event,
    changed: str,
    order: list[str],
) -> None:
    event = event_of_its_own(event)
    for way in order:
        WAYS[way](log, connection, event)
    before = counts(superuser, event.owner)
    assert before["event"] == before["event_key"] == 1
    other = (
        event.model_copy(update={"resource": type(event.resource)(event.resource.type, "another one")})
        if changed == "resource_id"
        else event.model_copy(update={"metadata": {**event.metadata, "one more": 1}})
    )
    for way in order:
        with pytest.raises(ContentConflict, match="event_key"):
            WAYS[way](log, connection, other)
    assert counts(superuser, event.owner) == before


def counts(superuser: psycopg.Connection, owner: Owner) -> dict[str, int]:
    return {
        table: value(superuser, f"SELECT count(*) FROM permalog.{table} WHERE log_id = %s", (owner.log_id,))
        for table in ("event", "identity", "event_key", "unsealed")
    }


@shared_database
@given(event=hostile.events(occurred_at=None), order=ways, moment=hostile.times)
def test_the_same_id_is_stored_once_whichever_way_it_comes_again_and_other_content_is_refused(
    log: Permalog,
    connection: psycopg.Connection,
    superuser: psycopg.Connection,
    event: Event,
    order: list[str],
    moment: Any,
) -> None:
    event = event_of_its_own(event, id=ids.make(microseconds(moment)))
    for way in order:
        WAYS[way](log, connection, event)
    before = counts(superuser, event.owner)
    assert before["event"] == 1
    other = event.model_copy(update={"action": "thing.made" if event.action == "thing.changed" else "thing.changed"})
    keyed = other.model_copy(update={"event_key": "a key that must not stay claimed"})
    for way in order:
        for refused in (other, keyed):
            with pytest.raises(ContentConflict):
                WAYS[way](log, connection, refused)
    assert counts(superuser, event.owner) == before


@shared_database
@given(owner=hostile.owners, moment=MOMENTS)
def test_log_ids_and_the_times_in_ids_agree(superuser: psycopg.Connection, owner: Owner, moment: Any) -> None:
    floor = id_floor(moment)
    assert ask(
        superuser,
        "SELECT permalog.log_id_of(%s, %s), permalog.id_floor(%s), permalog.id_time(%s)",
        (owner.organization_id, owner.user_id, moment, floor),
    ) == [(owner.log_id, floor, moment)]


OWNER = {"user_id": "u_1"}
GOOD: dict[str, Any] = {
    "owner": OWNER,
    "action": "thing.made",
    "actor": {"type": "user", "id": "u_1"},
    "resource": {"type": "thing", "id": "t_1"},
}


def nested(levels: int, innermost: str = "1") -> str:
    """A payload of so many levels."""
    return '{"a":' * levels + innermost + "}" * levels


def given_as(**members: str) -> str:
    """The good event as JSON text, with these members as they are written."""
    whole = {name: json.dumps(member) for name, member in GOOD.items()} | members
    return "{" + ",".join(f'"{name}":{member}' for name, member in whole.items() if member) + "}"


def of_now(offset: str = "") -> str:
    return json.dumps(datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S") + (offset or "Z"))


ACCEPTED = {
    "as it is": given_as(),
    "nulls": given_as(before_state="null", after_state="null", metadata="null", occurred_at="null", id="null"),
    "sixteen levels": given_as(metadata=nested(16)),
    "an empty object as the sixteenth level": given_as(metadata=nested(15, "{}")),
    "an empty list as the sixteenth level": given_as(metadata=nested(15, "[]")),
    "a personal value as the sixteenth level": given_as(
        metadata=nested(15, '{"$personal":{"kind":"login","value":"octocat"}}')
    ),
    "an erased personal value": given_as(metadata='{"a":{"$personal":{"kind":"login","value":null}}}'),
    "the word for a personal value as a value": given_as(metadata='{"a":["$personal"],"b":"$personal"}'),
    "exactly 65536 bytes": given_as(metadata='{"a":"' + "x" * (65536 - 8) + '"}'),
    "2^53 - 1": given_as(metadata='{"a":[9007199254740991,-9007199254740991]}'),
    "decimals as a double carries them": given_as(metadata='{"a":[0.1,1.0,1e22,1e-7,1.5E3,-0.0,0e0,5e-324]}'),
    "escaped pairs": given_as(metadata='{"a":"\\ud83d\\ude00","\\ud83d\\ude00":1}'),
    "an escaped backslash before u0000": given_as(metadata='{"a":"\\\\u0000 \\\\ud800 \\\\\\\\ud800"}'),
    "a key of 255 characters": given_as(metadata=json.dumps({"ß" * 255: 1})),
    "an empty key": given_as(metadata='{"":1}'),
    "members of an export": given_as(recorded_at='"2026-01-01T00:00:00Z"', recorded_by='"x"', leaf_index="17"),
    "small letters in the time": given_as(occurred_at=of_now("z").replace("T", "t")),
    "another offset": given_as(occurred_at=of_now("+00:30")),
    "six decimals": given_as(occurred_at=of_now(".000001Z")),
    "staff without an id": given_as(actor='{"type":"staff","id":null,"name":"Support"}'),
    "a system actor": given_as(actor='{"type":"system"}'),
}


def test_both_accept(log: Permalog, connection: psycopg.Connection, superuser: psycopg.Connection) -> None:
    differing: dict[str, object] = {}
    for name, text in ACCEPTED.items():
        owner = Owner.user(name)
        text = text.replace(json.dumps(OWNER), json.dumps({"user_id": name}))  # noqa: PLW2901  in a log of its own
        log.record(Event.from_json(text), connection=connection)
        connection.execute("SELECT permalog.append(%s::text::json)", (text,))
        connection.commit()
        log.record(Event.from_json(text))
        assert log.flush()
        one, two, three = stored(superuser, owner, timed="occurred_at" in text and "null" not in text)
        if not one == two == three:
            differing[name] = (one, two, three)
    assert differing == {}


FOUR_BYTES = "\U0001f600"
REFUSED = {
    "no owner": ("owner", given_as(owner="")),
    "an owner of null": ("owner", given_as(owner="null")),
    "an owner that is text": ("owner", given_as(owner='"u_1"')),
    "an empty owner": ("owner", given_as(owner="{}")),
    "two owners": ("owner", given_as(owner='{"user_id":"u","organization_id":"5e0c1a9e-7e5c-4c44-a0cf-000000000000"}')),
    "an organisation that is no uuid": ("owner.organization_id", given_as(owner='{"organization_id":"5e0c"}')),
    "an organisation that is a number": ("owner.organization_id", given_as(owner='{"organization_id":5}')),
    "a user that is a number": ("owner.user_id", given_as(owner='{"user_id":5}')),
    "a user without a name": ("owner.user_id", given_as(owner='{"user_id":""}')),
    "a user with a long name": ("owner.user_id", given_as(owner=json.dumps({"user_id": "u" * 256}))),
    "an unknown member of the owner": ("owner.team", given_as(owner='{"user_id":"u_1","team":"t"}')),
    "no action": ("action", given_as(action="")),
    "an unknown action": ("action", given_as(action='"thing.unheard_of"')),
    "an action that is a list": ("action", given_as(action='["thing.made"]')),
    "an unknown outcome": ("outcome", given_as(outcome='"perhaps"')),
    "no actor": ("actor", given_as(actor="")),
    "an actor that is text": ("actor", given_as(actor='"u_1"')),
    "an actor of no type": ("actor.type", given_as(actor='{"id":"u_1"}')),
    "an actor of an unknown type": ("actor.type", given_as(actor='{"type":"robot","id":"u_1"}')),
    "a user without an id": ("actor.id", given_as(actor='{"type":"user"}')),
    "a key without an id": ("actor.id", given_as(actor='{"type":"api_key"}')),
    "a system with a name": ("actor", given_as(actor='{"type":"system","name":"cron"}')),
    "a long e-mail address": (
        "actor.email",
        given_as(actor=json.dumps({"type": "user", "id": "u", "email": "e" * 321})),
    ),
    "a long address": (
        "actor.ip_address",
        given_as(actor=json.dumps({"type": "user", "id": "u", "ip_address": "1" * 46})),
    ),
    "a long name": ("actor.name", given_as(actor=json.dumps({"type": "user", "id": "u", "name": FOUR_BYTES * 256}))),
    "a long agent": (
        "actor.user_agent",
        given_as(actor=json.dumps({"type": "user", "id": "u", "user_agent": "a" * 2049})),
    ),
    "an unknown member of the actor": ("actor.role", given_as(actor='{"type":"user","id":"u_1","role":"admin"}')),
    "no resource": ("resource", given_as(resource="")),
    "a resource without a type": ("resource.type", given_as(resource='{"id":"t_1"}')),
    "a resource without an id": ("resource.id", given_as(resource='{"type":"thing"}')),
    "a resource with a long id": ("resource.id", given_as(resource=json.dumps({"type": "thing", "id": "t" * 513}))),
    "an unknown member": ("colour", given_as(colour='"red"')),
    "a long correlation": ("correlation_id", given_as(correlation_id=json.dumps("c" * 256))),
    "an unknown source": ("source", given_as(source='"somewhere"')),
    "an empty key": ("event_key", given_as(event_key='""')),
    "a long key": ("event_key", given_as(event_key=json.dumps("k" * 256))),
    "a state that is a list": ("before_state", given_as(before_state="[]")),
    "a state that is text": ("after_state", given_as(after_state='"text"')),
    "metadata that is a number": ("metadata", given_as(metadata="1")),
    "metadata of 65537 bytes": ("metadata", given_as(metadata='{"a":"' + "x" * (65536 - 7) + '"}')),
    "seventeen levels": ("metadata", given_as(metadata=nested(17))),
    "an empty object as the seventeenth level": ("metadata", given_as(metadata=nested(16, "{}"))),
    "an empty list as the seventeenth level": ("metadata", given_as(metadata=nested(16, "[]"))),
    "a list as the seventeenth level": ("metadata", given_as(metadata=nested(16, "[1]"))),
    "a personal value as the seventeenth level": (
        "metadata",
        given_as(metadata=nested(16, '{"$personal":{"kind":"login","value":"octocat"}}')),
    ),
    "a long key in metadata": ("metadata", given_as(metadata=json.dumps({"k" * 256: 1}))),
    "2^53": ("metadata", given_as(metadata='{"a":9007199254740992}')),
    "-2^53": ("metadata", given_as(metadata='{"a":[-9007199254740992]}')),
    "an integer of a thousand digits": ("", given_as(metadata='{"a":' + "9" * 1000 + "}")),
    "a decimal that no double carries": ("", given_as(metadata='{"a":0.10000000000000000001}')),
    "a number beyond all doubles": ("", given_as(metadata='{"a":1e400}')),
    "a number below all doubles": ("", given_as(metadata='{"a":1e-400}')),
    "a key twice": ("", given_as(metadata='{"a":1,"a":1}')),
    "a key twice, once escaped": ("", given_as(metadata='{"a":1,"\\u0061":1}')),
    "a key twice, deep down": ("", given_as(metadata='{"a":[{"b":{"c":1,"c":2}}]}')),
    "a member twice": ("", given_as()[:-1] + ',"action":"thing.changed"}'),
    "an actor's member twice": ("", given_as(actor='{"type":"user","id":"u_1","id":"u_2"}')),
    "an owner's member twice": ("", given_as(owner='{"user_id":"u_1","user_id":"u_2"}')),
    "an identity in a payload": ("metadata", given_as(metadata=json.dumps({"a": {"$identity": "0" * 64}}))),
    "an identity as a payload": ("before_state", given_as(before_state=json.dumps({"$identity": "0" * 64}))),
    "an identity in a list": ("metadata", given_as(metadata=json.dumps({"a": [[{"$identity": ""}]]}))),
    "a personal value as a payload": ("metadata", given_as(metadata='{"$personal":{"kind":"login","value":"x"}}')),
    "a personal value with company": (
        "metadata",
        given_as(metadata='{"a":{"b":1,"$personal":{"kind":"l","value":"x"}}}'),
    ),
    "a personal value that is text": ("metadata", given_as(metadata='{"a":{"$personal":"octocat"}}')),
    "a personal value of null": ("metadata", given_as(metadata='{"a":{"$personal":null}}')),
    "a personal value without a value": ("metadata", given_as(metadata='{"a":{"$personal":{"kind":"login"}}}')),
    "a personal value of a reserved kind": (
        "metadata",
        given_as(metadata='{"a":{"$personal":{"kind":"staff","value":"x"}}}'),
    ),
    "a personal value of a long kind": (
        "metadata",
        given_as(metadata=json.dumps({"a": {"$personal": {"kind": "k" * 101, "value": "x"}}})),
    ),
    "a personal value that is a number": (
        "metadata",
        given_as(metadata='{"a":{"$personal":{"kind":"login","value":7}}}'),
    ),
    "an empty personal value": ("metadata", given_as(metadata='{"a":{"$personal":{"kind":"login","value":""}}}')),
    "a NUL in a payload": ("metadata", given_as(metadata='{"a":"\\u0000"}')),
    "a NUL in a key": ("metadata", given_as(metadata='{"\\u0000":1}')),
    "a NUL behind a backslash": ("metadata", given_as(metadata='{"a":"\\\\\\u0000"}')),
    "a NUL in a name": ("actor.name", given_as(actor='{"type":"user","id":"u_1","name":"\\u0000"}')),
    "a NUL in the key": ("event_key", given_as(event_key='"\\u0000"')),
    "a lone high surrogate": ("", given_as(metadata='{"a":"\\ud800"}')),
    "a lone low surrogate": ("", given_as(metadata='{"a":"\\uDC00 \\ud83d\\ude00"}')),
    "surrogates in the wrong order": ("", given_as(metadata='{"a":"\\ude00\\ud83d"}')),
    "a lone surrogate in a key": ("", given_as(metadata='{"\\ud800":1}')),
    "a lone surrogate in a name": ("", given_as(actor='{"type":"user","id":"u_1","name":"\\ud800"}')),
    "a lone surrogate in a member's name": ("", given_as(**{"\\ud800": "1"})),
    "a time without an offset": ("occurred_at", given_as(occurred_at='"2026-01-31T09:00:00"')),
    "a time with seven decimals": ("occurred_at", given_as(occurred_at='"2026-01-31T09:00:00.1234567Z"')),
    "a time that is a number": ("occurred_at", given_as(occurred_at="1700000000")),
    "a date alone": ("occurred_at", given_as(occurred_at='"2026-01-31"')),
    "a word": ("occurred_at", given_as(occurred_at='"yesterday"')),
    "infinity": ("occurred_at", given_as(occurred_at='"infinity"')),
    "the 30th of February": ("occurred_at", given_as(occurred_at='"2026-02-30T09:00:00Z"')),
    "the hour 24": ("occurred_at", given_as(occurred_at='"2026-01-31T24:00:00Z"')),
    "the second 60": ("occurred_at", given_as(occurred_at='"2026-01-31T23:59:60Z"')),
    "the year 0": ("occurred_at", given_as(occurred_at='"0000-01-01T00:00:00Z"')),
    "the year 1": ("occurred_at", given_as(occurred_at='"0001-01-01T00:00:00+15:00"')),
    "an offset of a day": ("occurred_at", given_as(occurred_at='"2026-01-31T09:00:00+23:59"')),
    "before 1970": ("occurred_at", given_as(occurred_at='"1969-12-31T23:59:59.999999Z"')),
    "the year 9999": ("occurred_at", given_as(occurred_at='"9999-12-31T23:59:59-15:59"')),
    "eight days ago": ("occurred_at", given_as(occurred_at=json.dumps("2020-01-01T00:00:00Z"))),
    "an id that is no uuid": ("id", given_as(id='"evt_1"')),
    "a random id": ("id", given_as(id='"5e0c1a9e-7e5c-4c44-a0cf-000000000000"')),
    "an id of another variant": ("id", given_as(id='"0197b3f0-0000-7000-c000-000000000000"')),
    "an id with 1000 microseconds": ("id", given_as(id='"0197b3f0-0000-73e8-8000-000000000000"')),
    "an id of another time": ("id", given_as(id='"0197b3f0-0000-7000-8000-000000000000"', occurred_at=of_now())),
}


def field_of(connection: psycopg.Connection, record: Callable[[], object]) -> str:
    """Which field is refused: nothing where nothing is, unnamed where the error is the database's own."""
    try:
        with refusals():
            record()
    except PermalogError as error:
        return "unnamed" if "SQLSTATE" in str(error) else str(getattr(error, "field", "unnamed"))
    else:
        return "nothing"
    finally:
        connection.rollback()


def test_both_refuse_and_name_the_field(
    log: Permalog, connection: psycopg.Connection, superuser: psycopg.Connection
) -> None:
    """Where the JSON is not read to its end, Python names no field; SQL always does.

    A place inside a payload is as exact as each of them can tell.
    """
    found: dict[str, tuple[str, str]] = {}
    for name, (_, text) in REFUSED.items():
        in_python = field_of(connection, partial(in_a_transaction_as_json, log, connection, text))
        in_sql = field_of(connection, partial(connection.execute, "SELECT permalog.append(%s::text::json)", (text,)))
        unnamed = not REFUSED[name][0] and in_sql not in {"", "nothing", "unnamed"}
        found[name] = (shortened(in_python), "" if unnamed else in_sql)
    assert found == {name: (field, field) for name, (field, _) in REFUSED.items()}
    assert value(superuser, "SELECT count(*) FROM permalog.event") == 0
    assert value(superuser, "SELECT count(*) FROM permalog.identity") == 0
    assert value(superuser, "SELECT count(*) FROM permalog.event_key") == 0
    assert value(superuser, "SELECT count(*) FROM permalog.unsealed") == 0


def in_a_transaction_as_json(log: Permalog, connection: psycopg.Connection, text: str) -> None:
    log.record(Event.from_json(text), connection=connection)


def shortened(field: str) -> str:
    first = re.split(r"[.\[]", field)[0]
    return first if first in {"before_state", "after_state", "metadata"} else field


def test_no_json_at_all_is_refused_by_both(connection: psycopg.Connection) -> None:
    for text in (
        "",
        "{",
        "nonsense",
        given_as(metadata='{"a":NaN}'),
        given_as(metadata='{"a":Infinity}'),
        "[" * 100_000,
    ):
        with pytest.raises(PermalogError):
            Event.from_json(text)
        with pytest.raises(psycopg.Error), connection.transaction():
            connection.execute("SELECT permalog.append(%s::text::json)", (text,))
    for text in ("null", "[]", "1", '"text"'):
        with pytest.raises(PermalogError, match="event: must be an object"):
            Event.from_json(text)
        with pytest.raises(PermalogError, match="event: must be an object"), refusals(), connection.transaction():
            connection.execute("SELECT permalog.append(%s::text::json)", (text,))
