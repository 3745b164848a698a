"""Bundles over HTTP: for whom, masked how, and on whose record."""

import io
from typing import Any

import psycopg
import pytest

import naive_bundle
from bundles import SIGNER, contents_of
from naive_sealing import seal
from permalog import Actor, Event, Owner, Permalog, Resource
from permalog.evidence.bundle import EVENTS
from permalog.evidence.gathering import CREATED
from permalog.evidence.verifier import VerifiedBundle, verify_bundle
from service import People, Site

SAM = Actor.staff("s_1", email="sam@staff.example", name="Sam")
ACTION = "security.finding.dismissed"


def log_of(people: People) -> str:
    return f"/v1/organizations/{people.organization}/audit-log"


@pytest.fixture
def audited(site: Site, people: People) -> Owner:
    """An organisation's sealed log: three events by a user, one by staff."""
    owner = Owner.organization(people.organization)
    actors = [Actor.user(f"u_{number}", email=f"u{number}@tests.example") for number in range(3)]
    record(site, owner, *actors, SAM)
    sealed(site, owner)
    return owner


def record(site: Site, owner: Owner, *actors: Actor) -> None:
    with Permalog.connect(site.database) as log:  # which declares nothing, and so may record anything that is known
        for number, actor in enumerate(actors):
            finding = Resource("security_finding", f"f_{number}")
            log.record(Event(owner=owner, action=ACTION, actor=actor, resource=finding))


def sealed(site: Site, owner: Owner) -> None:
    with psycopg.connect(site.database) as connection:
        seal(connection, owner.log_id, SIGNER)


def made(site: Site, token: str, path: str, **body: Any) -> VerifiedBundle:
    with site.client(token) as client:
        answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    assert "audit-log-evidence.zip" in answer.headers["content-disposition"]
    naive_bundle.verify(answer.content, str(SIGNER.key))
    return verify_bundle(io.BytesIO(answer.content), [SIGNER.key])


@pytest.mark.usefixtures("audited")
def test_a_customers_bundle_is_masked_and_one_for_staff_is_not(site: Site, people: People) -> None:
    path = f"{log_of(people)}/evidence"
    masked, whole = (made(site, people.token(who), path).manifest for who in ("owner", "staff"))
    assert (masked.viewer, whole.viewer) == ("customer", "staff")
    assert (masked.counts.events, masked.counts.identities) == (4, 3)
    assert whole.counts.identities == 4
    assert masked.made_by.id == people.id("owner")


def test_filters_are_those_of_the_list(site: Site, people: People, audited: Owner) -> None:
    manifest = made(site, people.token("admin"), f"{log_of(people)}/evidence", actor_id="u_1", action=[ACTION]).manifest
    assert (manifest.counts.events, manifest.log_id) == (1, str(audited.log_id))
    assert manifest.query.actor_id == "u_1"


def test_a_person_has_evidence_of_their_own_log(site: Site, people: People) -> None:
    owner = Owner.user(people.id("member"))
    record(site, owner, SAM)
    sealed(site, owner)
    manifest = made(site, people.token("member"), "/v1/audit-log/evidence").manifest
    assert (manifest.owner.user_id, manifest.counts.identities) == (people.id("member"), 0)


def test_each_bundle_is_on_record_with_its_maker(site: Site, people: People, audited: Owner) -> None:
    for who in ("owner", "staff"):
        made(site, people.token(who), f"{log_of(people)}/evidence", start="2026-01-01")
    records = site.log.list(audited, action=CREATED).events
    assert [(one.actor_type, one.source, one.outcome) for one in records] == [
        ("staff", "api", "success"),
        ("user", "api", "success"),
    ]
    assert {(*one.metadata["filters"], one.metadata["events"]) for one in records} == {("start", 4)}


@pytest.mark.usefixtures("audited")
def test_the_next_bundle_holds_the_record_of_the_last(site: Site, people: People) -> None:
    path = f"{log_of(people)}/evidence"
    first = made(site, people.token("owner"), path)
    sealed(site, Owner.organization(people.organization))
    with site.client(people.token("owner")) as client:
        data = client.post(path, json={"action": [CREATED]}).content
    assert first.manifest.digest().hex().encode() in contents_of(data)[EVENTS]


@pytest.mark.parametrize(
    ("body", "status"), [({}, 409), ({"epoch": 0}, 422), ({"format": "csv"}, 422), ({"action": ["no.such"]}, 409)]
)
def test_what_cannot_be_made_is_a_problem(body: dict[str, Any], status: int, site: Site, people: People) -> None:
    with site.client(people.token("owner")) as client:
        answer = client.post("/v1/audit-log/evidence", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


def test_of_a_log_that_was_tampered_with_nothing_is_sent(site: Site, people: People, audited: Owner) -> None:
    with psycopg.connect(site.database) as connection:
        connection.execute("ALTER TABLE permalog.event DISABLE TRIGGER refuse_change")
        connection.execute("UPDATE permalog.event SET outcome = 'denied' WHERE log_id = %s", (audited.log_id,))
        connection.execute("ALTER TABLE permalog.event ENABLE ALWAYS TRIGGER refuse_change")
    with site.client(people.token("owner")) as client:
        answer = client.post(f"{log_of(people)}/evidence", json={})
    assert answer.status_code == 409
    assert "not as it was sealed" in answer.json()["detail"]
    assert site.log.list(audited, action=CREATED).events == ()
