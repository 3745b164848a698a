"""The log's page without a browser: what it shows is what the API answers, and nobody sees what they may not."""

import re
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest
from typing_extensions import override

from permalog_server.pages import audit_log
from permalog_server.pages.assets import ASSETS
from sampled import HOSTILE, SECRETS, Filled, fill, seal
from service import Site, settle
from signed_in import visitor

SignIn = Callable[[str], httpx.Client]


@pytest.fixture(scope="module")
def filled(site: Site, folder: Path) -> Filled:
    return fill(site, folder)


class Elements(HTMLParser):
    """What a page is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()
        self.attributes: set[str] = set()
        self.addresses: list[str] = []

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names[tag] += 1
        self.attributes |= {name for name, _ in attrs}
        self.addresses += [value or "" for name, value in attrs if name in {"href", "src", "action", "hx-get"}]


def shown(page: str) -> list[str]:
    """The ids of the events of a page, in its order."""
    return re.findall(r'<a class="what" href="[^"]*/events/([0-9a-f-]{36})', page)


def link(page: str, rel: str) -> str | None:
    found = re.search(rf'<a rel="{rel}" href="([^"]+)"', page)
    return unescape(found[1]) if found else None


SELECTIONS: list[dict[str, Any]] = [
    {},
    {"search": "lodash"},
    {"search": "LOG4J", "action": ["security.finding.created"]},
    {"action": ["security.finding.created", "security.sync.completed"]},
    {"outcome": "success", "source": "web"},
    {"actor_id": "sample_northwind_developer"},
    {"actor_email": "security-lead@northwind.example"},
    {"resource_type": "security_finding", "resource_id": "sample-northwind-3"},
    {"search": HOSTILE[0]},
    {"search": "nothing has this"},
    {"correlation_id": HOSTILE[1]},
]


@pytest.mark.parametrize("asked", SELECTIONS, ids=str)
def test_the_page_shows_what_the_api_answers(filled: Filled, sign_in: SignIn, asked: dict[str, Any]) -> None:
    client = sign_in(filled.people.id("owner"))
    page = client.get(filled.path, params=asked)
    events = client.get(f"/v1{filled.path}/events", params={**asked, "limit": 50}).json()["events"]
    assert page.status_code == 200
    assert shown(page.text) == [event["id"] for event in events]
    assert bool(events) or "Nothing matches" in page.text
    counts = client.get(f"/v1{filled.path}/summary", params=asked).json()
    picture = client.get(f"{filled.path}/histogram", params=asked, headers={"hx-request": "true"}).text
    if counts["total"]:
        assert re.search(rf">{counts['total']} events?<", picture)
    else:
        assert "No activity" in picture


def test_paging_to_the_end_and_back_shows_every_event_once(site: Site, filled: Filled, sign_in: SignIn) -> None:
    client = sign_in(filled.people.id("owner"))
    seen: list[list[str]] = []
    address: str | None = filled.path
    last = ""
    while address is not None:
        last = client.get(address).text
        seen.append(shown(last))
        address = link(last, "next")
    flat = [event for page in seen for event in page]
    assert len(flat) == len(set(flat)) == site.log.summary(filled.owner).total
    back: list[list[str]] = [seen[-1]]
    while (address := link(last, "prev")) is not None:
        last = client.get(address).text
        back.insert(0, shown(last))
    assert sorted(event for page in back for event in page) == sorted(flat)


def test_roles_are_respected_and_denials_on_record(site: Site, filled: Filled, sign_in: SignIn) -> None:
    for path in (filled.path, f"{filled.path}/histogram"):
        for who, status in {
            "owner": 200, "admin": 200, "billing_manager": 200, "staff": 200, "member": 403, "outsider": 404,
            "stranger": 404,
        }.items():  # fmt: skip
            answer = sign_in(filled.people.id(who)).get(path)
            assert (who, answer.status_code) == (who, status)
            assert "text/html" in answer.headers["content-type"]
            assert status == 200 or not shown(answer.text)
    assert site.log.flush()
    denied = site.log.list(filled.owner, outcome="denied", source="web").events
    assert {event.actor_id for event in denied} == {filled.people.id(who) for who in ("member", "outsider", "stranger")}
    viewed = site.log.list(filled.owner, action="security.audit_log.viewed", outcome="success").events
    assert [(event.actor_id, event.source) for event in viewed] == [(filled.people.id("staff"), "web")]


def test_somebody_without_an_organisation_sees_their_own_log_only(filled: Filled, sign_in: SignIn) -> None:
    page = sign_in(filled.people.id("stranger")).get("/audit-log").text
    assert "My own log" in page
    assert str(filled.people.organization) not in page


def test_one_may_choose_among_the_logs_that_one_may_see(filled: Filled, sign_in: SignIn) -> None:
    mine = sign_in(filled.people.id("owner")).get("/audit-log").text
    assert filled.path in mine
    assert str(filled.people.other) not in mine
    assert (
        f"/organizations/{filled.people.other}/audit-log" in sign_in(filled.people.id("staff")).get("/audit-log").text
    )


def test_a_customer_never_sees_who_of_the_staff_it_was(filled: Filled, sign_in: SignIn) -> None:
    client = sign_in(filled.people.id("owner"))
    texts = [client.get(address).text for address in (filled.path, f"{filled.path}/histogram")]
    asked = [{"actor_id": SECRETS[0]}, {"actor_email": SECRETS[1]}, {"search": SECRETS[2]}]
    answers = [client.get(filled.path, params=selection).text for selection in asked]
    assert all("Nothing matches" in answer for answer in answers)
    for secret in SECRETS:
        assert not any(secret in text for text in texts)
    staff = sign_in(filled.people.id("staff")).get(filled.path, params=asked[0]).text
    assert SECRETS[2] in staff


def test_hostile_text_is_text(filled: Filled, sign_in: SignIn) -> None:
    client = sign_in(filled.people.id("owner"))
    for text in HOSTILE:
        page = client.get(filled.path, params={"search": text}).text
        found = Elements()
        found.feed(page)
        assert found.names["script"] == 2
        assert not found.names.keys() & {"img", "iframe", "object", "embed", "base"}
        assert not [name for name in found.attributes if name.startswith("on") or name == "style"]
        assert all(address.startswith(("/", "#")) for address in found.addresses)
        assert "49" not in re.findall(r"<em><bdi>(.*?)</bdi>", page)


def test_an_address_is_brought_to_one_form(filled: Filled, sign_in: SignIn) -> None:
    client = sign_in(filled.people.id("owner"))
    form = "outcome=success&search=a&actor_id=&start=2026-01-01&until=2026-01-31"
    answer = client.get(f"{filled.path}?{form}")
    assert answer.status_code == 303
    assert answer.headers["location"] == f"{filled.path}?search=a&outcome=success&start=2026-01-01&end=2026-02-01"
    assert client.get(answer.headers["location"]).status_code == 200
    partial = client.get(f"{filled.path}?{form}", headers={"hx-request": "true"})
    assert partial.headers["hx-push-url"] == answer.headers["location"]


@pytest.mark.parametrize(
    "query",
    [
        "actor=ada", "outcome=perhaps", "start=yesterday", "until=yesterday", "search=" + "a" * 201,
        "action=no.such.action", "before=x", "outcome=success&outcome=denied", "start=2026-02-01&end=2026-01-01",
        "until=9999-12-31", "start=0001-01-01",
    ],
)  # fmt: skip
def test_what_cannot_be_asked_for_is_said_and_never_taken_for_everything(
    filled: Filled, sign_in: SignIn, query: str
) -> None:
    answer = sign_in(filled.people.id("owner")).get(f"{filled.path}?{query}", follow_redirects=True)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    assert shown(answer.text) == []


@pytest.mark.parametrize(
    "path", ["/organizations/x/audit-log", "/organizations/5a3c1e00-0000-4000-8000-00000000ffff/audit-log"]
)
def test_an_organisation_that_there_is_none_of_is_not_found(filled: Filled, sign_in: SignIn, path: str) -> None:
    assert sign_in(filled.people.id("owner")).get(path).status_code == 404


def test_a_page_lets_nothing_in_from_elsewhere(filled: Filled, sign_in: SignIn) -> None:
    client = sign_in(filled.people.id("owner"))
    for address in (
        filled.path,
        f"{filled.path}/histogram",
        "/sign-in",
        "/sign-in/link/x",
        "/organizations/x/audit-log",
    ):
        answer = client.get(address)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "data:" not in policy
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"
        assert not re.search(r"<style|\sstyle=|<script(?! src=\"/static/)", answer.text)


def test_the_first_page_is_small(filled: Filled, sign_in: SignIn) -> None:
    client = sign_in(filled.people.id("owner"))
    client.headers["accept-encoding"] = "gzip"
    size = len(client.get(filled.path).content)
    for address in re.findall(r'(?:src|href)="(/static/[^"]+)"', client.get(filled.path).text):
        answer = client.get(address)
        assert answer.headers["content-encoding"] == "gzip"
        assert "immutable" in answer.headers["cache-control"]
        size += int(answer.headers["content-length"])
    assert size < 100_000


def test_what_a_page_loads_says_whose_it_is() -> None:
    static = Path(__file__).parents[2] / "src" / "permalog_server" / "pages" / "static"
    assert "2.0.11" in (static / "htmx.LICENSE.txt").read_text()
    assert b'version:"2.0.11"' in ASSETS["htmx.min.js"].content
    assert b"eval" not in ASSETS["permalog.js"].content
    assert b".innerHTML" not in ASSETS["permalog.js"].content


def test_no_asset_but_those_that_there_are(site: Site) -> None:
    with visitor(site) as client:
        for address in ("/static/0/permalog.css", "/static/../pages/__init__.py", "/static/x/htmx.LICENSE.txt"):
            assert client.get(address).status_code == 404


def test_a_seal_that_lags_is_said(site: Site, folder: Path, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch) -> None:
    people = settle(site.accounts)
    path = f"/organizations/{people.organization}/audit-log"
    client = sign_in(people.id("owner"))
    assert "Nothing has happened here yet" in client.get(path).text
    assert sign_in(people.id("member")).get(path).status_code == 403  # which is on record, and waits for the sealer
    assert site.log.flush()
    assert "Sealing lags" not in client.get(path).text
    assert "not sealed yet" in client.get(path).text
    monkeypatch.setattr(audit_log, "LAG", timedelta(0))
    assert "Sealing lags" in client.get(path).text
    seal(site, folder)
    page = client.get(path).text
    assert "Sealing lags" not in page
    assert "Sealed and signed: 1 event," in page
