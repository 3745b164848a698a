"""Writing events over HTTP: each judged by itself, exactly once, by whom it says."""

import json
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from asking import ask, value
from permalog import Owner
from permalog_server.accounts import Accounts
from service import People, Site, running, settle

DATA = Path(__file__).parents[3] / "shared" / "data"


def event(**members: Any) -> dict[str, Any]:
    given = {
        "action": "security.finding.created",
        "actor": {"type": "user", "id": "u_1", "email": "ada@tests.example"},
        "resource": {"type": "security_finding", "id": "f_1"},
        "metadata": {"package": "left-pad"},
        **members,
    }
    return {name: value for name, value in given.items() if value is not None}


def log_of(people: People) -> str:
    return f"/v1/organizations/{people.organization}/audit-log"


def write(
    site: Site, people: People, *events: Any, who: str = "service", key: str | None = None, personal: bool = False
) -> list[dict[str, Any]]:
    headers = {} if key is None else {"Idempotency-Key": key}
    with site.client(people.token(who)) as client:
        url = f"{'/v1/audit-log' if personal else log_of(people)}/events"
        answer = client.post(url, json={"events": list(events)}, headers=headers)
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    assert len(results) == len(events)
    for result in results:
        assert result.keys() == {"id", "status", "error"}
        assert (result["error"] is None) == (result["status"] != "rejected")
    return results


def statuses(results: list[dict[str, Any]]) -> list[str]:
    return [result["status"] for result in results]


def stored(site: Site, people: People) -> list[dict[str, Any]]:
    page = site.log.list(Owner.organization(people.organization), limit=100)
    return [one.as_json() for one in page.events]


BAD: list[tuple[Any, str]] = [
    (5, "event"),
    (None, "event"),
    ([], "event"),
    ({}, "actor"),
    (event(action=None), "action"),
    (event(action="nothing.done"), "action"),
    (event(action="x" * 101), "action"),
    (event(actor=None), "actor"),
    (event(actor={"type": "user"}), "actor.id"),
    (event(actor={"type": "king", "id": "1"}), "actor.type"),
    (event(actor="u_1"), "actor"),
    (event(actor={"type": "user", "id": "a\0b"}), "actor.id"),
    (event(resource={"type": "thing"}), "resource.id"),
    (event(outcome="perhaps"), "outcome"),
    (event(source="nowhere"), "source"),
    (event(more=1), "more"),
    (event(occurred_at="2026-01-31"), "occurred_at"),
    (event(occurred_at="1969-12-31T23:59:59Z"), "occurred_at"),
    (event(occurred_at="9999-01-01T00:00:00Z"), "occurred_at"),
    (event(occurred_at=(datetime.now(UTC) + timedelta(hours=1)).isoformat()), "occurred_at"),
    (event(id=str(uuid.uuid4())), "id"),
    (event(metadata=[]), "metadata"),
    (event(metadata={"x": "y" * 70_000}), "metadata"),
    (event(metadata={"x": 2**53}), "metadata.x"),
    (event(metadata={"$identity": "0" * 64}), "metadata"),
    (event(metadata=json.loads('{"a":' * 17 + "1" + "}" * 17)), "metadata"),
    (event(event_key=""), "event_key"),
    (event(owner={}), "owner"),
    (event(owner={"organization_id": "x"}), "owner.organization_id"),
    (event(owner={"organization_id": str(uuid.uuid4()), "user_id": "u"}), "owner"),
    (event(owner={"organization_id": str(uuid.uuid4())}), "owner"),
    (event(owner={"user_id": "u_1"}), "owner"),
]


def test_each_event_is_judged_by_itself(site: Site, people: People) -> None:
    events = [bad for bad, _ in BAD]
    mixed = [one for bad in events for one in (bad, event())]
    results = write(site, people, *mixed)
    assert statuses(results) == ["rejected", "created"] * len(BAD)
    for result, (_, field) in zip(results[::2], BAD, strict=True):
        assert result["id"] is None
        assert result["error"].startswith(field), result
    assert [one["id"] for one in stored(site, people)] == [result["id"] for result in results[1::2]][::-1]


def test_a_thousand_at_once_is_the_most(site: Site, people: People) -> None:
    assert set(statuses(write(site, people, *[event()] * 1000))) == {"created"}


def test_what_is_stored_is_what_was_sent(site: Site, people: People) -> None:
    sent = event(
        actor={"type": "user", "id": "u_1", "email": "ada@tests.example", "name": "Ada"},
        outcome="failure", occurred_at="2020-01-31T09:00:00.123456Z", correlation_id="op_1",
        before_state={"a": [1, None, "ü"]}, after_state={},
    )  # fmt: skip
    (result,) = write(site, people, sent)
    (found,) = stored(site, people)
    expected = {**sent, "id": result["id"], "source": "api", "leaf_index": None}
    assert {name: found[name] for name in expected} == expected
    assert found["recorded_by"].startswith("token:")


def test_the_same_again_is_a_duplicate_and_other_content_is_refused(site: Site, people: People) -> None:
    at = datetime.now(UTC).isoformat()
    first, second = write(site, people, event(event_key="k"), event(occurred_at=at))
    again = event(id=second["id"], occurred_at=at)
    assert statuses(write(site, people, event(event_key="k"), again)) == ["duplicate", "duplicate"]
    results = write(site, people, event(event_key="k", outcome="denied"), {**again, "outcome": "denied"}, event())
    assert statuses(results) == ["rejected", "rejected", "created"]
    assert [result["error"] for result in results[:2]] == [
        "event_key: was used before with other content",
        "id: was used before with other content",
    ]
    assert write(site, people, event(event_key="k"))[0]["id"] == first["id"]
    assert len(stored(site, people)) == 3


def test_an_idempotency_key_makes_a_retry_harmless(site: Site, people: People) -> None:
    events = [event(), event(metadata={"n": 1}), event(event_key="own"), event()]
    first = write(site, people, *events, key="K")
    assert statuses(first) == ["created"] * 4
    assert write(site, people, *events, key="K") == [{**one, "status": "duplicate"} for one in first]
    # Other content at the same position under the same key, and a new position.
    results = write(site, people, event(outcome="denied"), *events[1:], event(), key="K")
    assert statuses(results) == ["rejected", "duplicate", "duplicate", "duplicate", "created"]
    assert statuses(write(site, people, event(), key="other")) == ["created"]
    assert statuses(write(site, people, event(event_key="K/1", metadata={"n": 1}))) == ["duplicate"]
    # A key belongs to a log, not to everybody.
    other = write(
        site, people, event(owner={"organization_id": str(people.other)}), who="unbound service", key="K", personal=True
    )
    assert statuses(other) == ["created"]


@pytest.mark.parametrize("key", ["", "x" * 201, "ü", "a b", "a\tb"])
def test_a_bad_idempotency_key_is_refused(site: Site, people: People, key: str) -> None:
    with site.client(people.token("service")) as client:
        headers = [(b"Idempotency-Key", key.encode())]
        answer = client.post(f"{log_of(people)}/events", json={"events": [event()]}, headers=headers)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "Idempotency-Key")
        twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
        assert client.post(f"{log_of(people)}/events", json={"events": [event()]}, headers=twice).status_code == 422
    assert stored(site, people) == []


def test_a_retry_after_a_broken_connection_doubles_nothing(site: Site, people: People) -> None:
    """The service's connections are cut: it takes new ones, and the client's own retry finds what is stored."""
    write(site, people, event(event_key="before"))
    for n in range(3):
        with psycopg.connect(site.database, autocommit=True) as connection:
            ask(
                connection,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
        with site.client(people.token("service")) as client:
            for _ in range(20):
                answer = client.post(
                    f"{log_of(people)}/events", json={"events": [event()]}, headers={"Idempotency-Key": f"r{n}"}
                )
                assert answer.status_code in {200, 503}
                if answer.status_code == 200:
                    break
    assert len(stored(site, people)) == 4


def test_a_token_for_one_organization_writes_for_no_other(site: Site, people: People) -> None:
    mine, other = {"organization_id": str(people.organization)}, {"organization_id": str(people.other)}
    results = write(site, people, event(owner=other), event(owner=mine), event(owner={"user_id": "u_1"}))
    assert statuses(results) == ["rejected", "created", "rejected"]
    assert results[0]["error"] == "owner: is not the organisation that this token or route is for"
    results = write(site, people, event(owner=other), event(owner=mine), event(), personal=True)
    assert statuses(results) == ["rejected", "created", "rejected"]
    assert site.log.summary(Owner.organization(people.other)).total == 0


def test_a_token_for_all_writes_for_all_but_on_a_route_for_that_one(site: Site, people: People) -> None:
    mine, other = {"organization_id": str(people.organization)}, {"organization_id": str(people.other)}
    user = {"user_id": f"{people.prefix}_x"}
    events = [event(owner=mine), event(owner=other), event(owner=user)]
    assert statuses(write(site, people, *events, who="unbound service", personal=True)) == ["created"] * 3
    assert statuses(write(site, people, *events, who="unbound service")) == ["created", "rejected", "rejected"]


def test_an_erased_organization_takes_no_more_events(site: Site, people: People) -> None:
    write(site, people, event())
    with psycopg.connect(site.database) as connection:
        mark = "UPDATE permalog.log SET erased_at = now() WHERE organization_id = %s"
        ask(connection, "SET ROLE permalog_eraser")
        ask(connection, mark, [people.organization])
    (result,) = write(site, people, event())
    assert (result["status"], result["error"].partition(":")[0]) == ("rejected", "owner")


def test_the_scope_to_record_ends_seven_days_ago(site: Site, people: People) -> None:
    now = datetime.now(UTC)
    events = [event(occurred_at=(now - timedelta(days=days)).isoformat()) for days in (6.9, 7.1, 400)]
    results = write(site, people, *events, event(), who="recorder")
    assert statuses(results) == ["created", "rejected", "rejected", "created"]
    assert results[1]["error"].startswith("occurred_at: is more than 7 days ago")
    assert statuses(write(site, people, *events)) == ["created"] * 3


def test_it_is_on_record_which_token_wrote(site: Site, people: People) -> None:
    for who in ("service", "recorder", "unbound service", "service"):
        write(site, people, event(recorded_by="token:forged", recorded_at="2020-01-01T00:00:00Z"), who=who)
    by = [one["recorded_by"] for one in stored(site, people)][::-1]
    ids = {who: f"token:{uuid.UUID(people.token(who)[4:36])}" for who in people.tokens if people.tokens[who]}
    assert by == [ids["service"], ids["recorder"], ids["unbound service"], ids["service"]]


def test_no_other_login_can_say_that_it_was_a_token(site: Site, people: People) -> None:
    write(site, people, event())
    name = f"forger_{uuid.uuid4().hex}"
    with psycopg.connect(site.database, autocommit=True) as connection:
        ask(connection, "CREATE ROLE {name} LOGIN", name=name)
        try:
            ask(connection, "GRANT permalog_writer TO {name}", name=name)
            ask(connection, "SET SESSION AUTHORIZATION {name}", name=name)
            ask(connection, "SELECT set_config('permalog.recorded_by', 'token:forged', false)")
            owner = {"organization_id": str(people.organization)}
            value(connection, "SELECT permalog.append(%s::json)", [json.dumps(event(owner=owner))])
        finally:
            ask(connection, "RESET SESSION AUTHORIZATION")
            ask(connection, "DROP OWNED BY {name}", name=name)
            ask(connection, "DROP ROLE {name}", name=name)
    assert stored(site, people)[0]["recorded_by"] == name


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1_900_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def limited(site: Site, folder: Path) -> Iterator[tuple[Site, Site, Clock]]:
    """Two services on the database, 50 requests a minute for a token."""
    clock = Clock()
    options: dict[str, Any] = {"requests_a_minute": 50, "clock": clock}
    with running(site.database, folder, **options) as one, running(site.database, folder, **options) as two:
        yield one, two, clock


def test_the_rate_limit_holds_for_all_processes_together(limited: tuple[Site, Site, Clock]) -> None:
    one, two, clock = limited
    people = settle(one.accounts)
    for _ in range(3):
        answers: list[tuple[int, str | None]] = []
        with one.client(people.token("owner")) as first, two.client(people.token("owner")) as second:
            for n in range(120):
                answer = (first, second)[n % 2].get("/v1/audit-log/actions")
                answers.append((answer.status_code, answer.headers.get("retry-after")))
        allowed = [status for status, _ in answers].count(200)
        # What a process has set aside and not used is lost: at most a tenth.
        assert 45 <= allowed <= 50
        assert {status for status, _ in answers} == {200, 429}
        assert answers[-1] == (429, str(int(60 - clock.now % 60)))
        with one.client(people.token("admin")) as other:
            assert other.get("/v1/audit-log/actions").status_code == 200, "of another token, nothing was taken"
        clock.now += 60


def test_who_is_refused_for_the_rate_has_stored_nothing(limited: tuple[Site, Site, Clock]) -> None:
    one, _, _ = limited
    people = settle(one.accounts)
    with one.client(people.token("service")) as client:
        answers = [client.post(f"{log_of(people)}/events", json={"events": [event()]}) for _ in range(60)]
    accepted = [answer.status_code for answer in answers].count(200)
    assert accepted == 50
    assert answers[-1].headers["content-type"] == "application/problem+json"
    assert one.log.summary(Owner.organization(people.organization)).total == accepted


@pytest.mark.data
@pytest.mark.slow
def test_a_stream_makes_the_same_logs_over_http_and_by_import(
    make_database: Callable[[], str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = subprocess.run(
        [sys.executable, DATA / "event_stream.py", "--n", "20000"], check=True, capture_output=True
    ).stdout
    lines = [json.loads(line) for line in stream.splitlines()]
    imported = make_database()
    monkeypatch.setenv("PERMALOG_DATABASE_URL", imported)
    command = [sys.executable, "-m", "permalog_server", "import", "-", "--json"]
    said = subprocess.run(command, input=stream, check=True, capture_output=True).stdout
    assert json.loads(said) == {"read": 20_000, "added": 20_000, "duplicate": 0, "rejected": 0}
    posted = make_database()
    with running(posted, folder) as site:
        token = settle(Accounts(site.log.database)).token("unbound service")
        with site.client(token) as client:
            for status in ("created", "duplicate"):
                for start in range(0, len(lines), 1000):
                    batch = {"events": lines[start : start + 1000]}
                    results = client.post("/v1/audit-log/events", json=batch).json()["results"]
                    assert {result["status"] for result in results} == {status}
    assert contents(posted) == contents(imported)


def contents(database: str) -> list[tuple[Any, ...]]:
    """All that all logs say, but for the ids that were made, and by whom and when it was recorded."""
    with psycopg.connect(database) as connection:
        return ask(
            connection,
            """SELECT e.log_id, k.key, e.occurred_at, e.action, e.outcome, e.actor_type, e.actor_id, e.resource_type,
                      e.resource_id, e.correlation_id, e.source, e.before_state, e.after_state, e.metadata, k.digest,
                      i.kind, i.actor_id, i.email, i.name, i.ip_address, i.user_agent, l.organization_id, l.user_id
               FROM permalog.event AS e
               JOIN permalog.log AS l ON l.log_id = e.log_id
               JOIN permalog.event_key AS k ON k.log_id = e.log_id AND k.event_id = e.id
               LEFT JOIN permalog.identity AS i ON i.log_id = e.log_id AND i.commitment = e.identity
               ORDER BY e.log_id, k.key""",
        )
