"""Signing in by a link, sessions, and signing out."""

from collections.abc import Callable

import httpx
import psycopg
import pytest

from permalog import Owner
from permalog_server.pages.visiting import safe_next
from permalog_server.sessions import IDLE_SECONDS, LONGEST_SECONDS
from service import People, Site, running, settle
from signed_in import SESSION, csrf, csrf_in, signed_in, visitor

SignIn = Callable[[str], httpx.Client]


def is_signed_in(client: httpx.Client) -> bool:
    answer = client.get("/audit-log")
    assert answer.status_code in {200, 303}
    return answer.status_code == 200


def test_a_link_signs_in_once(site: Site, people: People) -> None:
    secret = site.app.state.desk.sessions.make_link(people.id("owner"))
    with visitor(site) as first, visitor(site) as second:
        for _ in range(2):  # to look at it does not use it up
            assert 'name="secret"' in first.get(f"/sign-in/link/{secret}").text
        answer = first.post("/sign-in/link", data={"secret": secret})
        assert answer.headers["location"] == f"/organizations/{people.organization}/audit-log"
        assert is_signed_in(first)
        again = second.post("/sign-in/link", data={"secret": secret})
        assert (again.status_code, SESSION in second.cookies) == (403, False)
        assert "used before" in again.text


def test_an_old_link_signs_nobody_in(site: Site, people: People) -> None:
    secret = site.app.state.desk.sessions.make_link(people.id("owner"))
    with psycopg.connect(site.database) as connection:
        connection.execute("UPDATE accounts.sign_in_link SET expires_at = clock_timestamp() - interval '1 second'")
    with visitor(site) as client:
        assert client.post("/sign-in/link", data={"secret": secret}).status_code == 403
        assert SESSION not in client.cookies


@pytest.mark.parametrize("secret", ["", "A" * 43, "A" * 10_000, "é" * 43, "../../etc", "<script>alert(1)</script>"])
def test_what_is_no_link_signs_nobody_in(site: Site, secret: str) -> None:
    with visitor(site) as client:
        assert client.post("/sign-in/link", data={"secret": secret}).status_code == 403
        assert "<script>alert" not in client.get(f"/sign-in/link/{secret or 'x'}").text


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(site: Site, people: People) -> None:
    secret = site.app.state.desk.sessions.make_link(people.id("owner"))
    with visitor(site) as client:
        cookie = client.post("/sign-in/link", data={"secret": secret}).headers["set-cookie"]
    assert cookie.startswith(f"{SESSION}=pls_")
    for attribute in ("HttpOnly", "Path=/", "SameSite=lax", f"Max-Age={LONGEST_SECONDS}"):
        assert attribute in cookie
    assert "Domain" not in cookie


def test_behind_https_the_cookie_is_for_this_host_and_https_only(
    make_database: Callable[[], str], folder: object
) -> None:
    with running(make_database(), folder, base_url="https://audit.example") as site:  # type: ignore[arg-type]
        people = settle(site.accounts)
        secret = site.app.state.desk.sessions.make_link(people.id("owner"))
        with visitor(site) as client:
            headers = {"origin": "https://audit.example"}
            answer = client.post("/sign-in/link", data={"secret": secret}, headers=headers)
            cookie = answer.headers["set-cookie"]
            assert cookie.startswith(f"__Host-{SESSION}=pls_")
            assert "Secure" in cookie
            value = cookie.partition("=")[2].partition(";")[0]
            seen = client.get("/audit-log", headers={"cookie": f"__Host-{SESSION}={value}"})
            assert seen.status_code == 200
            assert client.get("/audit-log", headers={"cookie": f"{SESSION}={value}"}).status_code == 303


def test_to_sign_in_anew_ends_the_session_before(site: Site, people: People, sign_in: SignIn) -> None:
    client = sign_in(people.id("owner"))
    before = client.cookies[SESSION]
    secret = site.app.state.desk.sessions.make_link(people.id("owner"))
    client.post("/sign-in/link", data={"secret": secret})
    assert client.cookies[SESSION] != before
    with visitor(site) as other:
        other.cookies.set(SESSION, before)
        assert not is_signed_in(other)
    assert is_signed_in(client)


def test_signing_out_ends_the_session_and_not_only_the_cookie(site: Site, people: People, sign_in: SignIn) -> None:
    client = sign_in(people.id("owner"))
    value = client.cookies[SESSION]
    token = csrf_in(client.get("/audit-log").text)
    answer = client.post("/sign-out", data={"csrf": token})
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    assert SESSION not in client.cookies
    with visitor(site) as other:
        other.cookies.set(SESSION, value)
        assert not is_signed_in(other)


@pytest.mark.parametrize(
    ("column", "seconds"), [("last_used_at", IDLE_SECONDS), ("expires_at", 0)], ids=["idle", "at the end"]
)
def test_a_session_ends_by_itself(site: Site, people: People, sign_in: SignIn, column: str, seconds: int) -> None:
    client = sign_in(people.id("owner"))
    moment = f"UPDATE accounts.session SET {column} = clock_timestamp() - make_interval(secs => %s) WHERE user_id = %s"
    with psycopg.connect(site.database) as connection:
        connection.execute(moment, (seconds - 60 if seconds else -60, people.id("owner")))  # pyright: ignore[reportArgumentType]
    assert is_signed_in(client)
    with psycopg.connect(site.database) as connection:
        connection.execute(moment, (seconds + 1, people.id("owner")))  # pyright: ignore[reportArgumentType]
    assert not is_signed_in(client)


def test_who_was_deleted_is_signed_out(site: Site, people: People, sign_in: SignIn) -> None:
    client, person = sign_in(people.id("owner")), people.id("owner")
    link = site.app.state.desk.sessions.make_link(person)
    with site.client(people.token("staff")) as staff:
        assert staff.delete(f"/v1/users/{person}").status_code == 200
    assert not is_signed_in(client)
    with visitor(site) as other:
        assert other.post("/sign-in/link", data={"secret": link}).status_code == 403
    with psycopg.connect(site.database) as connection:
        for table in ("session", "sign_in_link"):
            row = connection.execute(f"SELECT count(*) FROM accounts.{table} WHERE user_id = %s", (person,)).fetchone()  # pyright: ignore[reportArgumentType]
            assert row == (0,)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_another_site_can_neither_sign_in_nor_out(
    site: Site, people: People, sign_in: SignIn, headers: dict[str, str]
) -> None:
    secret = site.app.state.desk.sessions.make_link(people.id("owner"))
    with visitor(site) as client:
        assert client.post("/sign-in/link", data={"secret": secret}, headers=headers).status_code == 403
        assert client.post("/sign-in/link", data={"secret": secret}).status_code == 303  # it was not used up
    client = sign_in(people.id("owner"))
    assert client.post("/sign-out", data={"csrf": csrf(client)}, headers=headers).status_code == 403
    assert is_signed_in(client)


def test_a_form_of_another_session_changes_nothing(people: People, sign_in: SignIn) -> None:
    mine, theirs = sign_in(people.id("owner")), sign_in(people.id("admin"))
    for token in ("", "x", csrf(theirs)):
        assert mine.post("/sign-out", data={"csrf": token}).status_code == 403
    assert mine.post("/sign-out").status_code in {403, 415}
    assert is_signed_in(mine)


def test_the_api_takes_a_session_for_reading_and_with_its_proof_for_more(people: People, sign_in: SignIn) -> None:
    client = sign_in(people.id("owner"))
    log = f"/v1/organizations/{people.organization}/audit-log"
    assert client.get(f"{log}/events").status_code == 200
    assert client.post(f"{log}/export", json={"format": "csv"}).status_code == 403
    headers = {"x-csrf-token": csrf(client)}
    assert client.post(f"{log}/export", json={"format": "csv"}, headers=headers).status_code == 200
    evil = headers | {"origin": "https://evil.example"}
    assert client.post(f"{log}/export", json={"format": "csv"}, headers=evil).status_code == 403
    written = client.post(f"{log}/events", json={"events": [{}]}, headers=headers)
    assert written.status_code == 403  # nobody's session writes events in others' names


def test_a_session_is_no_token_and_a_token_no_session(site: Site, people: People, sign_in: SignIn) -> None:
    client = sign_in(people.id("owner"))
    with site.client(client.cookies[SESSION]) as bearer:
        assert bearer.get("/v1/audit-log/events").status_code == 401
    with visitor(site) as other:
        other.cookies.set(SESSION, people.token("owner"))
        assert not is_signed_in(other)


def test_signing_in_is_on_record(site: Site, people: People, sign_in: SignIn) -> None:
    sign_in(people.id("owner"))
    signed_in(site, people.id("staff")).close()
    assert site.log.flush()
    own = site.log.list(Owner.user(people.id("owner")), action="security.access.signed_in").events
    assert [(event.actor_id, event.source, event.metadata) for event in own] == [
        (people.id("owner"), "web", {"method": "link"})
    ]
    operators = Owner.organization(site.accounts.operator())
    staff = site.log.list(operators, action="security.access.signed_in", actor_id=people.id("staff")).events
    assert [event.actor_type for event in staff] == ["staff"]
    assert not site.log.list(Owner.user(people.id("staff"))).events


def test_who_is_not_signed_in_is_asked_to_and_comes_back(site: Site, people: People) -> None:
    with visitor(site) as client:
        answer = client.get(f"/organizations/{people.organization}/audit-log?search=a%26b")
        assert answer.status_code == 303
        page = client.get(answer.headers["location"])
        assert page.status_code == 200
        partial = client.get("/audit-log", headers={"hx-request": "true"})
        assert partial.headers["hx-redirect"].startswith("/sign-in?next=")


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example/", "//evil.example/", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)",
        "/\t/evil.example", "/a\r\nSet-Cookie: x=y", "", "evil.example", "/" + "a" * 3000,
    ],
)  # fmt: skip
def test_signing_in_leads_nowhere_else(address: str) -> None:
    assert safe_next(address) == "/audit-log"


def test_signing_in_leads_back_to_a_page_of_ours() -> None:
    address = "/organizations/5a3c1e00-0000-4000-8000-000000000001/audit-log?search=a%20b&action=x"
    assert safe_next(address) == address
