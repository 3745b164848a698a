"""The page of one event, and what one takes out, without a browser."""

import csv
import io
import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given

from bundles import SIGNER
from hostile import payloads
from permalog.evidence.verifier import verify_bundle
from permalog.tlog.checkpoint import TlogProof
from permalog_server.pages.differences import MOST, differences, lines_of
from sampled import HOSTILE, SECRETS, Filled, fill
from service import Site
from signed_in import csrf

SignIn = Callable[[str], httpx.Client]


@pytest.fixture(scope="module")
def filled(site: Site, folder: Path) -> Filled:
    return fill(site, folder)


@pytest.fixture
def owner(filled: Filled, sign_in: SignIn) -> httpx.Client:
    return sign_in(filled.user("owner"))


def events(client: httpx.Client, filled: Filled, **selection: Any) -> list[dict[str, Any]]:
    answer = client.get(f"/v1{filled.path}/events", params=selection)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["events"]
    return found


def test_an_event_is_shown_with_what_belongs_to_it(owner: httpx.Client, filled: Filled) -> None:
    (event, *_) = events(owner, filled, action="security.finding.analysis_completed", limit=1)
    page = owner.get(f"{filled.path}/events/{event['id']}").text
    for said in (event["id"], event["action"], event["resource"]["id"], event["actor"]["id"], event["correlation_id"]):
        assert said in unescape(page)
    assert re.search(r'<tr class="changed"><th scope="row"><bdi>analysis_status</bdi>', page) or "What changed" in page
    operation = {one["id"] for one in events(owner, filled, correlation_id=event["correlation_id"])}
    resource = {
        one["id"]
        for one in events(owner, filled, resource_type="security_finding", resource_id=event["resource"]["id"])
    }
    assert operation | resource <= set(re.findall(r"/events/([0-9a-f-]{36})", page)) | {event["id"]}
    assert len(operation) > 1
    assert f"Leaf {event['leaf_index']} of a tree of" in page
    assert SIGNER.key.name in page


def test_the_proof_can_be_downloaded_and_holds(owner: httpx.Client, filled: Filled) -> None:
    (event, *_) = events(owner, filled, limit=1, action="security.finding.created")
    page = owner.get(f"{filled.path}/events/{event['id']}").text
    (address,) = re.findall(r'href="(/v1/[^"]+/proof)"', page)
    answer = owner.get(address)
    assert answer.headers["content-disposition"].endswith('.tlog-proof"')
    assert TlogProof.parse(answer.content).leaf_index == event["leaf_index"]


def test_an_event_of_another_log_is_not_found(owner: httpx.Client, filled: Filled) -> None:
    event = "019c1306-8d5b-7abc-8000-0123456789ab"
    assert owner.get(f"{filled.path}/events/{event}").status_code == 404
    assert owner.get(f"{filled.path}/events/none").status_code == 422
    own = events(owner, filled, limit=1)[0]["id"]
    assert owner.get(f"/audit-log/events/{own}").status_code == 404


def test_who_may_not_read_the_log_reads_no_event_and_takes_nothing(filled: Filled, sign_in: SignIn) -> None:
    event = events(sign_in(filled.user("owner")), filled, limit=1)[0]["id"]
    for who, status in {"member": 403, "outsider": 404}.items():
        client = sign_in(filled.user(who))
        assert client.get(f"{filled.path}/events/{event}").status_code == status
        for what in ("export", "evidence"):
            form = {"csrf": csrf(client), "format": "csv"}
            assert client.post(f"{filled.path}/{what}", data=form).status_code == status


def test_staff_are_masked_in_every_page_and_file(owner: httpx.Client, filled: Filled) -> None:
    (event,) = events(owner, filled, action="security.config.updated", limit=1, outcome="success")[:1]
    assert event["actor"]["name"] == "Support"
    form = {"csrf": csrf(owner)}
    texts = [
        owner.get(f"{filled.path}/events/{event['id']}").text,
        *(owner.post(f"{filled.path}/export", data={**form, "format": one}).text for one in ("csv", "json", "ndjson")),
    ]
    bundle = owner.post(f"{filled.path}/evidence", data=form).content
    for secret in SECRETS:
        assert not [text for text in texts if secret in text]
        assert secret.encode() not in bundle


@pytest.mark.parametrize(
    "selection", [{}, {"search": "lodash"}, {"action": "security.sync.completed"}, {"search": HOSTILE[0]}]
)
def test_what_is_exported_is_what_the_filters_show(
    site: Site, owner: httpx.Client, filled: Filled, selection: dict[str, str]
) -> None:
    shown = [event["id"] for event in events(owner, filled, limit=100, **selection)]
    form = {"csrf": csrf(owner), **selection}
    files = {
        one: owner.post(f"{filled.path}/export", data={**form, "format": one}) for one in ("csv", "json", "ndjson")
    }
    rows = list(csv.DictReader(io.StringIO(files["csv"].text)))
    as_json = [event["id"] for event in files["json"].json()]
    as_lines = [json.loads(line)["id"] for line in files["ndjson"].text.rstrip("\n").split("\n")]
    assert set(shown) <= {row["id"] for row in rows}
    if selection:  # the exports themselves are events, which only the whole log shows
        assert [row["id"] for row in rows] == as_json == as_lines == shown
    assert files["csv"].headers["content-disposition"] == 'attachment; filename="audit-log.csv"'
    assert site.log.flush()
    (record, *_) = site.log.list(filled.owner, action="security.audit_log.exported").events
    assert (record.actor_id, record.source) == (filled.user("owner"), "web")


def test_an_evidence_bundle_holds_what_the_filters_show(owner: httpx.Client, filled: Filled, tmp_path: Path) -> None:
    answer = owner.post(f"{filled.path}/evidence", data={"csrf": csrf(owner), "search": "lodash"})
    assert answer.headers["content-type"] == "application/zip"
    file = tmp_path / "evidence.zip"
    file.write_bytes(answer.content)
    with file.open("rb") as opened:
        verified = verify_bundle(opened, [SIGNER.key])
    assert verified.manifest.counts.events == len(events(owner, filled, search="lodash", limit=100))


@pytest.mark.parametrize(
    "change",
    [{"csrf": ""}, {"csrf": "x"}, {"format": "exe"}, {"format": ""}, {"outcome": "perhaps"}, {"actor": "ada"}],
)
def test_nothing_is_taken_by_a_form_that_is_wrong(
    site: Site, owner: httpx.Client, filled: Filled, change: dict[str, str]
) -> None:
    def exports() -> int:
        assert site.log.flush()
        return site.log.summary(filled.owner, action="security.audit_log.exported").total

    before = exports()
    form = {"csrf": csrf(owner), "format": "csv", **change}
    assert owner.post(f"{filled.path}/export", data=form).status_code in {403, 422}
    assert exports() == before


def test_a_script_gets_the_address_of_what_it_shows(owner: httpx.Client, filled: Filled) -> None:
    event = events(owner, filled, limit=1)[0]["id"]
    address = f"{filled.path}/events/{event}?search=a%20b"
    assert owner.get(address, headers={"hx-request": "true"}).headers["hx-push-url"] == address


def test_a_tail_does_not_keep_a_session_alive(site: Site, filled: Filled, sign_in: SignIn) -> None:
    import psycopg  # noqa: PLC0415

    client = sign_in(filled.user("admin"))

    def last_used() -> object:
        with psycopg.connect(site.database) as connection:
            return connection.execute(
                "SELECT last_used_at FROM accounts.session WHERE user_id = %s", (filled.user("admin"),)
            ).fetchone()

    with psycopg.connect(site.database) as connection:
        connection.execute("UPDATE accounts.session SET last_used_at = last_used_at - interval '5 minutes'")
    before = last_used()
    assert client.get(f"/v1{filled.path}/tail", params={"wait": 0}).status_code == 200
    assert last_used() == before
    assert client.get(filled.path).status_code == 200
    assert last_used() != before


@given(payloads, payloads)
def test_any_two_states_can_be_compared(before: dict[str, Any], after: dict[str, Any]) -> None:
    plain = {"a": 1, "b": {"c": ["x", {"d": None}]}}
    assert [line.name for line in lines_of(plain)] == ["a", "b.c[0]", "b.c[1].d"]
    old, new = (json.loads(json.dumps(state, default=str)) for state in (before, after))
    found = differences(old, new)
    assert len(found) <= 2 * MOST
    assert all(one.kind == "same" for one in differences(old, old))
    assert {one.kind for one in differences(None, new)} <= {"added"}
