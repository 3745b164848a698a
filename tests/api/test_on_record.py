"""What the service itself puts on record: refusals, strangers' attempts, and what staff look at."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from asking import ask, value
from permalog import Owner
from service import People, Process, Site, process

VIEWED = "security.audit_log.viewed"
DENIED = "security.access.denied"


@pytest.fixture(scope="module")
def second(site: Site, folder: Path) -> Iterator[Process]:
    """Another process of the service on the same database."""
    with process(site.database, folder / "second") as found:
        yield found


def log_of(people: People) -> str:
    return f"/v1/organizations/{people.organization}/audit-log"


def recorded(site: Site, owner: Owner, **filters: Any) -> list[dict[str, Any]]:
    site.log.flush()
    return [event.as_json() for event in site.log.list(owner, **filters).events]


def test_each_attempt_of_a_member_is_on_record(site: Site, people: People) -> None:
    ways: list[tuple[str, str, Any, str]] = [
        ("GET", "/events", None, VIEWED),
        ("GET", "/events", None, VIEWED),
        ("GET", "/summary", None, VIEWED),
        ("GET", "/actions", None, VIEWED),
        ("GET", f"/events/{uuid.uuid4()}", None, VIEWED),
        ("POST", "/export", {"format": "csv"}, "security.audit_log.exported"),
        ("POST", "/events", {"events": []}, DENIED),
        ("POST", "/evidence", {}, "security.audit_log.evidence_created"),
    ]
    with site.client(people.token("member")) as client:
        for method, path, body, _ in ways:
            assert client.request(method, log_of(people) + path, json=body).status_code == 403
    events = recorded(site, Owner.organization(people.organization), outcome="denied")[::-1]
    assert [event["action"] for event in events] == [action for *_, action in ways]
    assert {event["actor"]["email"] for event in events} == {f"{people.id('member')}@tests.example"}
    template = "/v1/organizations/{organization_id}/audit-log"
    assert events[4]["metadata"]["route"] == f"GET {template}/events/{{event_id}}"
    assert events[0]["metadata"]["reason"] == "the role member may not do this"
    assert "scope" in events[6]["metadata"]["reason"]


def test_who_may_not_delete_others_is_on_record_in_their_own_log(site: Site, people: People) -> None:
    with site.client(people.token("owner")) as client:
        assert client.delete(f"/v1/users/{people.id('member')}").status_code == 403
    (event,) = recorded(site, Owner.user(people.id("owner")))
    assert (event["action"], event["outcome"]) == (DENIED, "denied")
    assert event["metadata"]["route"] == "DELETE /v1/users/{user_id}"


def test_a_stranger_is_on_record_once_an_hour_for_each_route(site: Site, people: People, second: Process) -> None:
    organization = Owner.organization(people.organization)
    for who in ("stranger", "outsider", "other service"):
        for place in (site, second, site):
            with place.client(people.token(who)) as client:
                assert client.get(log_of(people) + "/events").status_code == 404
                assert client.get(log_of(people) + "/events?limit=3").status_code == 404
                assert client.get(log_of(people) + "/summary").status_code == 404
    events = recorded(site, organization, outcome="denied")
    assert len(events) == 6
    assert {event["metadata"]["reason"] for event in events} == {"not a member"}
    pass_time(site, "1 hour")
    with site.client(people.token("stranger")) as client:
        client.get(log_of(people) + "/events")
    assert len(recorded(site, organization, outcome="denied")) == 7


def test_nothing_is_recorded_for_an_organization_that_is_not(site: Site, people: People) -> None:
    nowhere = uuid.uuid4()
    with psycopg.connect(site.database) as connection:
        before = ask(connection, "SELECT count(*), (SELECT count(*) FROM accounts.notice) FROM permalog.log")
    for who in ("stranger", "owner", "staff", "service"):
        with site.client(people.token(who)) as client:
            assert client.get(f"/v1/organizations/{nowhere}/audit-log/events").status_code == 404
            assert (
                client.post(f"/v1/organizations/{nowhere}/audit-log/export", json={"format": "csv"}).status_code == 404
            )
    site.log.flush()
    with psycopg.connect(site.database) as connection:
        after = ask(connection, "SELECT count(*), (SELECT count(*) FROM accounts.notice) FROM permalog.log")
        log_id = Owner.organization(nowhere).log_id
        assert value(connection, "SELECT count(*) FROM permalog.event WHERE log_id = %s", [log_id]) == 0
    assert before == after


@pytest.mark.parametrize(
    "method_and_path", ["GET /events", "GET /summary", "GET /actions", "POST /export", "POST /events", "POST /evidence"]
)
def test_not_a_member_and_no_such_organization_look_alike(site: Site, people: People, method_and_path: str) -> None:
    method, path = method_and_path.split()
    given = {"x-request-id": "the-same"}
    body = {"format": "csv"} if method == "POST" else None
    answers: set[tuple[Any, ...]] = set()
    site.accounts.ensure_membership(people.id("outsider"), erased := uuid.uuid4(), "owner")
    with site.log.database.shared() as connection:
        site.accounts.forget_organization(erased, connection)
    with site.client(people.token("outsider")) as client:
        for organization in (people.organization, uuid.uuid4(), erased):
            url = f"/v1/organizations/{organization}/audit-log{path}"
            answer = client.request(method, url, json=body, headers=given)
            headers = tuple((k, v) for k, v in answer.headers.raw if k.lower() != b"date")
            answers.add((answer.status_code, headers, answer.content))
    assert len(answers) == 1


def test_what_staff_look_at_is_on_record_once_in_fifteen_minutes(site: Site, people: People, second: Process) -> None:
    organization = Owner.organization(people.organization)
    for place in (site, second, second, site):
        with place.client(people.token("staff")) as client:
            assert client.get(log_of(people) + "/events?action=" + VIEWED).status_code == 200
            assert client.get(log_of(people) + "/summary").status_code == 200
    (event,) = recorded(site, organization, action=[VIEWED])
    assert event["actor"]["id"] == people.id("staff")
    assert event["metadata"]["filters"] == ["action"]
    pass_time(site, "15 minutes")
    with site.client(people.token("staff")) as client:
        first = client.get(log_of(people) + "/events").json()["events"][0]
    assert first["action"] == VIEWED, "it is on record before the log is shown"
    assert len(recorded(site, organization, action=[VIEWED])) == 2
    with site.client(people.token("staff")) as client:
        other = f"/v1/organizations/{people.other}/audit-log/events"
        assert client.get(other).json()["events"][0]["action"] == VIEWED
        assert client.get("/v1/audit-log/events").json()["events"] == [], "their own log is nobody else's"


def test_a_customer_looking_is_not_on_record(site: Site, people: People) -> None:
    with site.client(people.token("owner")) as client:
        assert client.get(log_of(people) + "/events").json()["events"] == []
        assert client.get(log_of(people) + "/events").json()["events"] == []


def test_what_was_noticed_long_ago_is_swept(site: Site, people: People) -> None:
    with site.client(people.token("stranger")) as client:
        client.get(log_of(people) + "/events")
    pass_time(site, "3 hours")
    site.accounts.sweep(0)
    with psycopg.connect(site.database) as connection:
        assert value(connection, "SELECT count(*) FROM accounts.notice WHERE until < now()") == 0


def pass_time(site: Site, interval: str) -> None:
    """Makes everything that was noticed so much older."""
    with psycopg.connect(site.database) as connection:
        ask(connection, "UPDATE accounts.notice SET until = until - %s::interval", [interval])
