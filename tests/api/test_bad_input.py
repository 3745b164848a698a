"""Requests that are wrong, each told what is wrong with it, and nothing done."""

import json
import uuid
from http import HTTPStatus
from typing import Any

import httpx
import pytest

from permalog import Owner
from service import People, Site

OTHERS = uuid.UUID("00000000-0000-4000-8000-00000000000f")


def event(**members: Any) -> dict[str, Any]:
    given = {
        "action": "security.finding.created",
        "actor": {"type": "user", "id": "u_1"},
        "resource": {"type": "security_finding", "id": "f_1"},
        **members,
    }
    return {name: value for name, value in given.items() if value is not None}


def log_of(people: People) -> str:
    return f"/v1/organizations/{people.organization}/audit-log"


def problem(answer: httpx.Response, status: int, field: str | None = None) -> str:
    """Holds an answer to the form of a problem document; its detail."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    document = answer.json()
    assert answer.status_code == document["status"] == status, answer.text
    assert document["type"] == "about:blank"
    assert document["title"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-request-id"]
    if field is not None:
        assert field in [fault["field"] for fault in document["errors"]], answer.text
    return document["detail"]


def count(site: Site, people: People) -> int:
    site.log.flush()
    return site.log.summary(Owner.organization(people.organization)).total


QUERIES = [
    ("limit=0", "limit"),
    ("limit=101", "limit"),
    ("limit=1000000000", "limit"),
    ("limit=-1", "limit"),
    ("limit=1.5", "limit"),
    ("limit=" + "9" * 5000, "limit"),
    ("limit=١", "limit"),  # an Arabic digit
    ("limit=", "limit"),
    ("before=x", "before"),
    ("after=" + "A" * 40, "after"),
    ("before=%00", "before"),
    ("action=nothing.done", "action"),
    ("action=", "action"),
    ("&".join(f"action=a{n}" for n in range(101)), "action"),
    ("actor_id=%00", "actor_id"),
    ("actor_id=" + "x" * 256, "actor_id"),
    ("actor_email=" + "x" * 321, "actor_email"),
    ("resource_type=" + "x" * 101, "resource_type"),
    ("resource_id=" + "x" * 513, "resource_id"),
    ("correlation_id=" + "x" * 256, "correlation_id"),
    ("outcome=perhaps", "outcome"),
    ("source=nowhere", "source"),
    ("search=", "search"),
    ("search=" + "x" * 201, "search"),
    ("start=yesterday", "start"),
    ("start=2026-02-30", "start"),
    ("start=0001-01-01", "start"),
    ("end=99999-01-01", "end"),
    ("end=9999-12-31T23:59:59-23:00", "end"),
    ("start=2026-02-01&end=2026-01-01", "end"),
    ("nothing=1", "nothing"),
    ("Limit=1", "Limit"),
    ("limit=1&limit=2", "limit"),
    ("search=abc&search=abc", "search"),
    ("%00=1", "\0"),
    ("&".join(f"p{n}=1" for n in range(2000)), "p0"),
    ("x" * 5000 + "=1", "x" * 200),
]


@pytest.mark.parametrize(("query", "field"), QUERIES, ids=[query[:30] for query, _ in QUERIES])
def test_a_bad_query_is_told_which_parameter_is_wrong(site: Site, people: People, query: str, field: str) -> None:
    with site.client(people.token("owner")) as client:
        detail = problem(client.get(f"{log_of(people)}/events?{query}"), 422, field)
    assert detail.startswith(field)
    assert len(detail) < 400


@pytest.mark.parametrize("path", ["/summary", "/actions", "/events/01a20b99-5cd5-7133-be27-2eb149dba01c"])
def test_no_route_takes_parameters_that_it_does_not_have(site: Site, people: People, path: str) -> None:
    with site.client(people.token("owner")) as client:
        problem(client.get(f"{log_of(people)}{path}?limits=1"), 422, "limits")


def test_a_misspelt_dry_run_deletes_nobody(site: Site, people: People) -> None:
    with site.client(people.token("staff")) as client:
        for query in ("dryrun=true", "dry_run=true&dry_run=false", "dry_run=perhaps", "Dry_Run=1"):
            problem(client.delete(f"/v1/users/{people.id('member')}?{query}"), 422)
        assert client.delete(f"/v1/users/{people.id('member')}?dry_run=true").json()["dry_run"] is True
    with site.client(people.token("member")) as client:
        assert client.get("/v1/audit-log/events").status_code == 200


def test_both_cursors_at_once_are_refused(site: Site, people: People) -> None:
    cursors = pages(site, people)
    with site.client(people.token("owner")) as client:
        problem(client.get(f"{log_of(people)}/events?before={cursors}&after={cursors}"), 422, "after")


def pages(site: Site, people: People) -> str:
    """A cursor into the organisation's log."""
    with site.client(people.token("service")) as client:
        client.post(f"{log_of(people)}/events", json={"events": [event(), event()]})
    with site.client(people.token("owner")) as client:
        cursor: str = client.get(f"{log_of(people)}/events?limit=1").json()["next_cursor"]
        return cursor


def test_a_cursor_means_nothing_in_another_log_or_with_other_filters(site: Site, people: People) -> None:
    cursor = pages(site, people)
    with site.client(people.token("owner")) as client:
        assert client.get(f"{log_of(people)}/events?limit=1&before={cursor}").status_code == 200
        problem(client.get(f"/v1/audit-log/events?before={cursor}"), 422, "before")
        problem(client.get(f"{log_of(people)}/events?before={cursor}&outcome=success"), 422, "before")
        problem(client.get(f"{log_of(people)}/events?before={cursor[:-1]}"), 422, "before")
    with site.client(people.token("outsider")) as client:
        url = f"/v1/organizations/{people.other}/audit-log/events"
        problem(client.get(f"{url}?before={cursor}"), 422, "before")


def test_an_event_of_another_tenant_is_not_there(site: Site, people: People) -> None:
    with site.client(people.token("service")) as client:
        theirs = client.post(f"{log_of(people)}/events", json={"events": [event()]}).json()["results"][0]["id"]
    with site.client(people.token("outsider")) as client:
        missing = client.get(f"/v1/organizations/{people.other}/audit-log/events/{uuid.uuid4()}")
        other = client.get(f"/v1/organizations/{people.other}/audit-log/events/{theirs}")
        mine = client.get(f"/v1/audit-log/events/{theirs}")
        problem(other, 404)
        assert other.content == missing.content == mine.content
        search = client.get(f"/v1/organizations/{people.other}/audit-log/events?search={theirs}").json()
        assert search["events"] == []
    with site.client(people.token("owner")) as client:
        assert client.get(f"{log_of(people)}/events/{theirs}").json()["id"] == theirs


def test_an_id_means_the_same_in_either_case_and_encoded(site: Site, people: People) -> None:
    with site.client(people.token("service")) as client:
        stored = client.post(f"{log_of(people)}/events", json={"events": [event()]}).json()["results"][0]["id"]
    upper = f"/v1/organizations/{str(people.organization).upper()}/audit-log/events/{stored.upper()}"
    encoded = upper.replace("-", "%2D").replace("a", "%61").replace("audit%2D", "audit-")
    with site.client(people.token("owner")) as client:
        assert client.get(upper).json()["id"] == stored
        assert client.get(encoded).json()["id"] == stored
    with site.client(people.token("stranger")) as client:
        problem(client.get(upper), 404)
        problem(client.get(encoded), 404)


@pytest.mark.parametrize(
    "organization", ["x", "%00", "audit-log", "1' OR '1'='1", "..%2f..", "%F0%9F%92%A5", "0" * 5000, "null"]
)
def test_what_is_no_organizations_id_is_refused(site: Site, people: People, organization: str) -> None:
    for who in ("owner", "none"):
        with site.client(people.tokens[who]) as client:
            answer = client.get(f"/v1/organizations/{organization}/audit-log/events")
            if answer.status_code != HTTPStatus.NOT_FOUND:  # an encoded slash makes another path
                problem(answer, 422, "organization_id")


BODIES: list[tuple[bytes, str]] = [
    (b"", "body"),
    (b"null", "body"),
    (b"[]", "body"),
    (b'{"events": []}', "events"),
    (b'{"events": [1]}x', "body"),
    (b'{"events": {}}', "events"),
    (b'{"events": null}', "events"),
    (b'{"event": []}', "body"),
    (b'{"events": [], "more": 1}', "body"),
    (b'{"events": [{}], "events": []}', "body"),
    (b'{"events": [' + b"[" * 100_000 + b"]" * 100_000 + b"]}", "body"),
    (b'{"events": [{"a": ' * 3000, "body"),
    (b'{"events": [NaN]}', "body"),
    (b'{"events": [1e400]}', "body"),
    (b'{"events": [{"metadata": ' + b"9" * 1_000_000 + b"}]}", "body"),
    (b'{"events": ["\\ud800"]}', "body"),
    (b'{"events": ["\xff"]}', "body"),
    (b"\xef\xbb\xbf" + b'{"events": []}', "body"),
    (b'{"events": [{"a": 1, "a": 2}]}', "body"),
    (json.dumps({"events": [event()] * 1001}).encode(), "events"),
]


@pytest.mark.parametrize(("body", "field"), BODIES, ids=[repr(body[:30]) for body, _ in BODIES])
def test_a_bad_batch_is_refused_as_a_whole(site: Site, people: People, body: bytes, field: str) -> None:
    headers = {"Content-Type": "application/json"}
    with site.client(people.token("service")) as client:
        problem(client.post(f"{log_of(people)}/events", content=body, headers=headers), 422, field)
    assert count(site, people) == 0


EXPORTS: list[tuple[Any, str]] = [
    ({}, "format"),
    ({"format": "xml"}, "format"),
    ({"format": "csv", "limit": 5}, "limit"),
    ({"format": "csv", "owner": {"organization_id": str(OTHERS)}}, "owner"),
    ({"format": "csv", "search": ""}, "search"),
    ({"format": "csv", "search": 5}, "search"),
    ({"format": "csv", "action": ["nothing.done"]}, "action"),
    ({"format": "csv", "action": "security.finding.created"}, "action"),
    ({"format": "csv", "start": "2026-02-01", "end": "2026-01-01"}, "end"),
    ({"format": "csv", "actor_id": "\0"}, "actor_id"),
    ([], "body"),
    ("csv", "body"),
]


@pytest.mark.parametrize(("wanted", "field"), EXPORTS, ids=[str(wanted)[:40] for wanted, _ in EXPORTS])
def test_a_bad_export_names_the_field_and_is_not_on_record(site: Site, people: People, wanted: Any, field: str) -> None:
    with site.client(people.token("owner")) as client:
        problem(client.post(f"{log_of(people)}/export", json=wanted), 422, field)
    assert count(site, people) == 0


def test_an_export_with_a_key_twice_or_a_broken_character_is_refused(site: Site, people: People) -> None:
    headers = {"Content-Type": "application/json"}
    with site.client(people.token("owner")) as client:
        for body in (b'{"format": "csv", "format": "json"}', b'{"format": "\\ud800"}', b'{"\\ud800": 1}', b"", b"\xff"):
            problem(client.post(f"{log_of(people)}/export", content=body, headers=headers), 422, "body")
    assert count(site, people) == 0


@pytest.mark.parametrize("path", ["/events", "/export"])
@pytest.mark.parametrize(
    "kind",
    [None, "", "text/plain", "application/x-www-form-urlencoded", "application/jsonx", "application/json+x", "\xe9"],
)
def test_a_body_of_another_type_is_refused(site: Site, people: People, path: str, kind: str | None) -> None:
    headers = [] if kind is None else [(b"Content-Type", kind.encode("latin-1"))]
    body = b'{"format": "csv"}' if path == "/export" else json.dumps({"events": [event()]}).encode()
    with site.client(people.token("service" if path == "/events" else "owner")) as client:
        problem(client.post(log_of(people) + path, content=body, headers=headers), 415)
    assert count(site, people) == 0


@pytest.mark.parametrize("path", ["/events", "/export"])
def test_the_type_of_a_body_may_have_a_charset(site: Site, people: People, path: str) -> None:
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    with site.client(people.token("service" if path == "/events" else "owner")) as client:
        body = b'{"format": "csv"}' if path == "/export" else json.dumps({"events": [event()]}).encode()
        assert client.post(log_of(people) + path, content=body, headers=headers).status_code == 200


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity", "gzip, gzip"])
def test_compressed_bodies_are_not_unpacked(site: Site, people: People, encoding: str) -> None:
    with site.client(people.token("service")) as client:
        headers = {"Content-Encoding": encoding, "Content-Type": "application/json"}
        answer = client.post(f"{log_of(people)}/events", content=b"\x1f\x8b\x08" + b"\0" * 1000, headers=headers)
        problem(answer, 415)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/audit-log/events/",
        "/v1//audit-log/events",
        "//v1/audit-log/events",
        "/v1/audit-log",
        "/V1/audit-log/events",
        "/v1/audit-log/events/x/y",
        "/v1/organizations//audit-log/events",
        "/nothing",
        "/docs",
        "/redoc",
        "/v1/users/",
    ],
)
def test_unknown_paths_are_not_found_and_never_redirected(site: Site, people: People, path: str) -> None:
    with site.client(people.token("staff")) as client:
        answer = client.get(path)
        if path == "/v1/users/":
            problem(answer, 405)
        else:
            problem(answer, 404)
        assert "location" not in answer.headers


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "PATCH", "TRACE", "DELETE", "BREW"])
def test_other_methods_are_refused_with_those_that_there_are(site: Site, people: People, method: str) -> None:
    with site.client(people.token("owner")) as client:
        answer = client.request(method, f"{log_of(people)}/events")
        assert answer.status_code == 405
        assert set(answer.headers["allow"].split(", ")) == {"GET", "POST"}
        assert answer.headers["content-type"] == "application/problem+json"
        assert client.request(method, "/healthz").headers["allow"] == "GET"


@pytest.mark.parametrize("user", ["", "%00", "x" * 256])
def test_what_is_no_users_id_is_refused(site: Site, people: People, user: str) -> None:
    with site.client(people.token("staff")) as client:
        problem(client.delete(f"/v1/users/{user}"), 422, "user_id")


def test_a_user_whose_id_holds_a_slash_can_be_deleted(site: Site, people: People) -> None:
    user = f"{people.prefix}/a/b"
    site.accounts.ensure_person(user)
    with site.client(people.token("staff")) as client:
        assert client.delete(f"/v1/users/{user.replace('/', '%2F')}").json()["user_id"] == user


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Basic dTpw", "Bearer x", "Bearer plt_", "Token abc", "Bearer " + "x" * 60_000, "Bearer \xe9"],
)
def test_what_is_no_token_lets_nobody_in(site: Site, people: People, header: str) -> None:
    with site.client() as client:
        for path in ("/v1/audit-log/events", f"{log_of(people)}/events"):
            answer = client.get(path, headers=[(b"Authorization", header.encode("latin-1"))])
            problem(answer, 401)
            assert answer.headers["www-authenticate"] == "Bearer"


def test_a_token_is_compared_as_a_whole(site: Site, people: People) -> None:
    token = people.token("owner")
    for wrong in (
        token[:-1],
        token + "A",
        token[:-1] + ("A" if token[-1] != "A" else "B"),
        token.upper(),
        token + " x",
    ):
        with site.client(wrong) as client:
            problem(client.get("/v1/audit-log/events"), 401)


@pytest.mark.parametrize("given", ["a b", "x" * 65, "", "é", "a;b", "<script>"])
def test_a_request_id_that_is_none_is_replaced(site: Site, given: str) -> None:
    with site.client() as client:
        answer = client.get("/healthz", headers=[(b"X-Request-ID", given.encode())])
        assert answer.headers.get_list("x-request-id") != [given]
        assert len(answer.headers["x-request-id"]) == 32
        assert client.get("/healthz", headers={"X-Request-ID": "abc-1.2_3"}).headers["x-request-id"] == "abc-1.2_3"


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/style.css", "/nothing"])
def test_security_headers_are_on_every_answer(site: Site, path: str) -> None:
    with site.client() as client:
        for method in ("GET", "PUT"):
            headers = client.request(method, path).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            # A page's own forms must say where they come from; nothing else tells anybody.
            page = path == "/" and method == "GET"
            assert headers["referrer-policy"] == ("same-origin" if page else "no-referrer")
            assert headers["cache-control"] == "no-store"
            assert "default-src 'none'" in headers["content-security-policy"]
            assert "server" not in headers
