"""Who may do what: every route of the application, asked by everybody there is."""

import uuid
from typing import Any, NamedTuple

import pytest

from permalog import Actor, Event, Owner, Resource
from service import MEMBERS, SERVICES, People, Site
from trees import Planted, some_leaves

WHO = [
    *MEMBERS,
    "outsider",
    "stranger",
    "staff",
    *SERVICES,
    "forgetter",
    "reader",
    "expired",
    "revoked",
    "garbage",
    "none",
]
"""`outsider` is somebody else's member; `stranger` is nobody's. `forgetter` and `reader` are
admins whose tokens have one scope only, to forget and to read."""

EVENT = {
    "action": "security.finding.created",
    "actor": {"type": "user", "id": "u_1"},
    "resource": {"type": "security_finding", "id": "f_1"},
}


def row(text: str) -> dict[str, int]:
    """Expected statuses by who asks: names of `WHO` and their status, blank-separated; `*` is for the rest."""
    given = {name.replace("-", " "): int(status) for name, status in (pair.split(":") for pair in text.split())}
    rest = given.pop("*", None)
    return {who: given[who] if rest is None or who in given else rest for who in WHO}


def unsealed(expected: dict[str, int]) -> dict[str, int]:
    """The same where nothing is sealed yet."""
    return {who: 409 if status == 200 else status for who, status in expected.items()}


_UNKNOWN = "expired:401 revoked:401 garbage:401 none:401"
_SERVICES = "service:403 other-service:403 unbound-service:403 recorder:403"
READ_OWN = row(f"*:200 {_SERVICES} forgetter:403 {_UNKNOWN}")
READ_THEIRS = row(
    f"owner:200 admin:200 billing_manager:200 reader:200 staff:200 member:403 forgetter:403 *:404 {_UNKNOWN}"
)
EXPORT_OWN, EXPORT_THEIRS = READ_OWN | {"reader": 403}, READ_THEIRS | {"reader": 403}
# A service's token is for its organisation, or for every one; to others the organisation is not there.
WRITE_OWN = row(f"*:403 service:200 other-service:200 unbound-service:200 recorder:200 {_UNKNOWN}")
WRITE_THEIRS = row(
    "owner:403 admin:403 billing_manager:403 member:403 staff:403 reader:403 forgetter:403 outsider:404 stranger:404"
    f" service:200 recorder:200 unbound-service:200 other-service:404 {_UNKNOWN}"
)
EVERYBODY = row("*:200")
# By a log's id nobody learns whether there is one that they may not follow; staff and its own people may.
FOLLOW = READ_THEIRS | row(
    f"*:404 owner:200 admin:200 billing_manager:200 reader:200 staff:200 member:403 forgetter:403 {_UNKNOWN}"
)


class Case(NamedTuple):
    """One route, how it is asked, and what each gets."""

    expected: dict[str, int]
    body: Any = None
    query: str = ""


LOG = "/audit-log"
ORGANIZATION = "/v1/organizations/{organization_id}"
CASES: dict[str, Case] = {
    "GET /": Case(EVERYBODY),
    "GET /healthz": Case(EVERYBODY),
    "GET /readyz": Case(EVERYBODY),
    "GET /metrics": Case(EVERYBODY),
    "DELETE /v1/users/{user_id}": Case(
        # Somebody who never was: staff are told so, others may not ask.
        row(f"*:403 staff:404 {_UNKNOWN}")
    ),
}
for prefix, reading, exporting, writing in (
    ("/v1", READ_OWN, EXPORT_OWN, WRITE_OWN),
    (ORGANIZATION, READ_THEIRS, EXPORT_THEIRS, WRITE_THEIRS),
):
    CASES.update(
        {
            f"GET {prefix}{LOG}/events": Case(reading),
            f"GET {prefix}{LOG}/events/{{event_id}}": Case(reading),
            f"GET {prefix}{LOG}/events/{{event_id}}/proof": Case(reading),
            f"GET {prefix}{LOG}/tail": Case(reading),
            f"GET {prefix}{LOG}/summary": Case(reading),
            f"GET {prefix}{LOG}/actions": Case(reading),
            f"POST {prefix}{LOG}/export": Case(exporting, {"format": "json"}),
            # Nobody's own log is sealed here.
            f"POST {prefix}{LOG}/evidence": Case(unsealed(exporting) if prefix == "/v1" else exporting, {}),
            f"POST {prefix}{LOG}/events": Case(writing, {"events": [EVENT]}),
        }
    )
CASES.update(
    {
        f"GET /log/{{log_id}}{epoch}/{what}": Case(FOLLOW)
        for epoch in ("", "/{epoch}")
        for what in ("checkpoint", "tile/{level}/{path}", "consistency")
    }
)
ASKED = {"consistency": {"from": 1}, "tail": {"wait": 0}}
"""What a route must be asked, by its last part."""


AGENT = "/security-agent"
# Any member reads, syncs and analyses; who may read the audit log may configure and delete. `reader` and `forgetter`
# have tokens for something else. Without an installation there is nothing to sync: 409 means that one may.
_OTHERS = "expired:401 revoked:401 garbage:401 none:401 forgetter:403 reader:403"


def for_all(status: int, _: int | None = None) -> dict[str, int]:
    """Of a personal route: everybody is their own owner."""
    return row(f"*:{status} {_SERVICES} {_OTHERS}")


def for_members(status: int, member: int | None = None) -> dict[str, int]:
    """Of an organisation's route; a plain member may get another answer."""
    return row(
        f"owner:{status} admin:{status} billing_manager:{status} staff:{status} member:{member or status}"
        f" *:404 {_OTHERS}"
    )


for prefix, answers in (("/v1", for_all), (ORGANIZATION, for_members)):
    CASES.update(
        {
            f"GET {prefix}{AGENT}/{name}": Case(answers(200))
            for name in (
                "permission-status", "config", "repositories", "orphaned-repositories", "findings", "stats",
                "last-sync",
            )
        }
    )  # fmt: skip
    CASES.update(
        {
            f"GET {prefix}{AGENT}/findings/{{finding_id}}": Case(answers(404)),
            f"PUT {prefix}{AGENT}/config": Case(answers(200, 403), {"revision": 0}),
            f"GET {prefix}{AGENT}/analyses": Case(answers(200)),
            f"GET {prefix}{AGENT}/findings/{{finding_id}}/analysis": Case(answers(404)),
            f"POST {prefix}{AGENT}/findings/{{finding_id}}/analysis": Case(answers(404), {}),
            f"POST {prefix}{AGENT}/findings/{{finding_id}}/dismiss": Case(answers(404, 403), {"reason": "not_used"}),
            f"GET {prefix}{AGENT}/auto-dismiss": Case(answers(200)),
            f"POST {prefix}{AGENT}/auto-dismiss": Case(answers(409, 403)),
            f"PUT {prefix}{AGENT}/enabled": Case(answers(200, 403), {"enabled": False}),
            f"POST {prefix}{AGENT}/sync": Case(answers(409), {}),
            f"GET {prefix}{AGENT}/installation": Case(answers(422, 403), query="installation_id=1&state=x"),
            f"DELETE {prefix}{AGENT}/findings": Case(answers(200, 403), query="repository=acme/web"),
        }
    )
CASES["POST /internal/sync"] = Case(row("*:401"))
# Whoever signs with GitHub's secret may; nobody's token does.
CASES["POST /webhooks/github"] = Case(row("*:401"), {})
CASES["POST /internal/analysis-callback/{finding_id}"] = Case(row("*:401"), {"status": "failed"})


def test_every_route_has_a_row(site: Site) -> None:
    documented = {
        f"{method.upper()} {path}" for path, methods in site.app.openapi()["paths"].items() for method in methods
    }
    assert documented == CASES.keys()


def event_in(site: Site, owner: Owner) -> uuid.UUID:
    """An event of a log, made there if need be."""
    receipt = site.log.record(
        Event(owner=owner, action="security.access.denied", actor=Actor.user("u_1"), resource=Resource("thing", "t"))
    )
    site.log.flush()
    for epoch, events in ((1, [receipt.id]), (2, None)):
        Planted(site.database, owner.log_id, epoch).grow(some_leaves(1), events)
    return receipt.id


@pytest.mark.parametrize("route", CASES)
def test_everybody_gets_what_the_matrix_says(site: Site, people: People, route: str) -> None:
    method, _, path = route.partition(" ")
    expected, body, query = CASES[route]
    theirs = event_in(site, Owner.organization(people.organization))
    got: dict[str, int] = {}
    for who in WHO:
        mine = theirs if ORGANIZATION in path else None
        if "{event_id}" in path and mine is None:
            mine = event_in(site, Owner.user(people.id(who)))
        with site.client(people.tokens[who]) as client:
            answer = client.request(
                method,
                path.format(
                    organization_id=people.organization, event_id=mine, user_id="never-was", epoch=2, level=0,
                    path="000.p/1", log_id=Owner.organization(people.organization).log_id, finding_id=uuid.uuid4(),
                ),
                params=query or ASKED.get(path.rpartition("/")[2]),
                json=body,
            )  # fmt: skip
        got[who] = answer.status_code
        kind = answer.headers["content-type"]
        assert kind == "application/problem+json" if answer.status_code >= 400 else "problem" not in kind
    assert got == expected


DENIED = {
    "PUT /config": "security.config.updated", "PUT /enabled": "security.config.enabled",
    "POST /sync": "security.sync.triggered", "GET /installation": "security.installation.connected",
    "POST /findings/{finding_id}/analysis": "security.finding.analysis_started",
    "POST /findings/{finding_id}/dismiss": "security.finding.dismissed", "DELETE /findings": "security.finding.deleted",
    "POST /auto-dismiss": "security.finding.auto_dismissed",
}  # fmt: skip
"""What of the agent changes something, and the action that an attempt is on record as."""


def test_every_mutation_of_the_agent_says_what_its_denial_is() -> None:
    changing = {route for route in CASES if AGENT in route and not route.startswith("GET")}
    known = {route.replace(" ", f" {prefix}{AGENT}") for route in DENIED for prefix in ("/v1", ORGANIZATION)}
    assert changing == {route for route in known if not route.startswith("GET")}


@pytest.mark.parametrize("prefix", ["/v1", ORGANIZATION])
@pytest.mark.parametrize("route", DENIED)
def test_every_denied_mutation_is_on_record(site: Site, people: People, route: str, prefix: str) -> None:
    template = route.replace(" ", f" {prefix}{AGENT}")
    expected, body, query = CASES[template]
    refused = [who for who, status in expected.items() if status == 403]
    assert {"reader", "forgetter"} <= set(refused)
    assert ("member" in refused) == (prefix == ORGANIZATION and not route.endswith(("/sync", "/analysis")))
    finding = uuid.uuid4()
    for who in refused:
        method, path = template.format(organization_id=people.organization, finding_id=finding).split(" ", 1)
        with site.client(people.tokens[who]) as client:
            assert client.request(method, path, params=query, json=body).status_code == 403
        site.log.flush()
        mine = Owner.user(people.id(who)) if prefix == "/v1" else Owner.organization(people.organization)
        (event,) = [e.as_json() for e in site.log.list(mine, actor_id=people.id(who), outcome="denied").events]
        assert (event["action"], event["outcome"]) == (DENIED[route], "denied")
        assert event["actor"]["email"] == f"{people.id(who)}@tests.example"
        agent = {"type": "agent_config", "id": str(mine.organization_id or mine.user_id)}
        about = {"type": "security_finding", "id": str(finding)}
        assert event["resource"] == (about if "{finding_id}" in route else agent)
        assert event["metadata"]["route"] == template
        lacks = "scope" if who in {"reader", "forgetter", *SERVICES} else "role"
        assert lacks in event["metadata"]["reason"]
        assert (event["before_state"], event["after_state"]) == (None, None)
