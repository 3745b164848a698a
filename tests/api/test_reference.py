"""docs/http.md says what there is, and nothing else; its examples are answered as it says."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest

from agent.hooks import signature
from bundles import SIGNER
from github import ask, open_alert, standing_in
from naive_sealing import seal
from permalog import Actor, Event, Owner, Permalog, Resource
from permalog_server.accounts import SCOPES
from permalog_server.app import EXPORTS, EXPORTS_EACH, REQUESTS_A_MINUTE, TAILS, TAILS_EACH
from permalog_server.documents import SelectionQuery
from permalog_server.entry import EXPORTING, PROVING, READING, Need
from permalog_server.guard import Limits
from permalog_server.paths import ORGANIZATION, PERSONAL
from permalog_server.problem import title_of
from permalog_server.routes.audit_log import WRITING
from permalog_server.routes.security_agent import judging, needs
from permalog_server.routes.tlog import FOLLOWING
from permalog_server.routes.users import FORGETTING
from security_agent import analysis, configuration, finding, installation, sync
from security_agent.agent import Acting, Agent
from security_agent.analysis import Means
from security_agent.extraction import Exploitable, Extracted, Result, SuggestedAction
from service import Site, running, settle
from trees import Planted, some_leaves

TEXT = (Path(__file__).parents[2] / "docs" / "http.md").read_text()


class Described(NamedTuple):
    """One route, as the page describes it."""

    scopes: set[str]
    statuses: set[str]
    request: str
    answer: str


def routes() -> dict[str, Described]:
    found: dict[str, Described] = {}
    for title, text in re.findall(r"^### (\w+ /.*)\n((?:(?!^##).*\n)*)", TEXT, re.MULTILINE):
        (line,) = re.findall(r"^(?:Scope: (.*)\. )?Answers: (.*)\.$", text, re.MULTILINE)
        request, answer = re.findall(r"^```\w+\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        scopes = set(re.findall(r"`([a-z_]+:[a-z]+)`", line[0]))
        found[title] = Described(scopes, set(line[1].split(", ")), request, answer)
    return found


ROUTES = routes()
NEEDS: dict[str, Need] = {
    "GET /v1/audit-log/events": READING,
    "GET /v1/audit-log/events/{event_id}": READING,
    "GET /v1/audit-log/events/{event_id}/proof": READING,
    "GET /v1/audit-log/tail": READING,
    "GET /v1/audit-log/summary": READING,
    "GET /v1/audit-log/actions": READING,
    "POST /v1/audit-log/export": EXPORTING,
    "POST /v1/audit-log/evidence": PROVING,
    "POST /v1/audit-log/events": WRITING,
    "DELETE /v1/users/{user_id}": FORGETTING,
    "PUT /v1/security-agent/config": needs.SAVING,
    "PUT /v1/security-agent/enabled": needs.ENABLING,
    "POST /v1/security-agent/sync": needs.SYNCING,
    "GET /v1/security-agent/installation": needs.CONNECTING,
    "DELETE /v1/security-agent/findings": needs.DELETING,
    "POST /v1/security-agent/findings/{finding_id}/dismiss": judging.DISMISSING,
    "POST /v1/security-agent/findings/{finding_id}/analysis": judging.ANALYZING,
    "POST /v1/security-agent/auto-dismiss": judging.AUTO_DISMISSING,
    **{
        f"GET /v1/security-agent/{name}": needs.READING
        for name in (
            "permission-status", "config", "repositories", "orphaned-repositories", "findings",
            "findings/{finding_id}", "stats", "last-sync", "analyses", "findings/{finding_id}/analysis", "auto-dismiss",
        )
    },
    **{
        f"GET /log/{{log_id}}{epoch}/{what}": FOLLOWING
        for epoch in ("", "/{epoch}")
        for what in ("checkpoint", "tile/{level}/{path}", "consistency")
    },
}  # fmt: skip
UNUSED = Extracted(
    result=Result(
        exploitable=Exploitable.NO, reasoning="No code uses it.", suggested_action=SuggestedAction.DISMISS,
        summary="lodash is declared and not used.",
    ),
    extractor="runner",
)  # fmt: skip
INTERNAL, HOOKS = "the-internal-secret", "the-secret-of-webhooks"
SHOP = "northwind/shop"
FREE, TAKEN = 4711, 4712
"""Installations: the one of the page, and that of whoever asks."""


@pytest.fixture(scope="module")
def site(make_database: Callable[[], str], folder: Path) -> Iterator[Site]:
    """The service with the stand-in for GitHub, where a repository has an alert, and a vanished one had."""
    with standing_in() as github, ask(github) as client:
        for number in (FREE, TAKEN):
            github.world.install("northwind", [SHOP], id=number)
        github.world.put(SHOP, open_alert(SHOP, 1))
        with running(
            make_database(), folder, github=client, internal_secret=INTERNAL, webhook_secret=HOOKS
        ) as found:  # fmt: skip
            found.app.state.world = github.world
            yield found


def at_work(site: Site, owner: Owner) -> dict[str, str]:
    """The owner's agent after a first sync; what the examples name."""
    agent: Agent = site.app.state.desk.agent
    site.app.state.world.put(SHOP, open_alert(SHOP, 1))  # another example may have dismissed it
    by = Acting(Actor.user("u_1"), "api")
    installation.connect(agent, owner, TAKEN, by)
    configuration.set_enabled(agent, owner, by, enabled=True)
    sync.sync(agent, owner, by)
    (found,) = finding.page(agent, owner).findings
    analysed = analysis.start(agent, Means(), owner, found["id"], by)
    assert analysis.finish(agent, owner, analysed.id, by, UNUSED)
    with agent.looking() as connection:
        connection.execute("UPDATE security_agent.owner SET auto_dismiss = true WHERE log_id = %s", (owner.log_id,))
        connection.execute(
            "INSERT INTO security_agent.finding SELECT (jsonb_populate_record(f, jsonb_build_object("
            "'id', gen_random_uuid(), 'repository_id', 1, 'repository', 'northwind/gone'))).*"
            " FROM security_agent.finding AS f WHERE f.log_id = %s",
            (owner.log_id,),
        )
    return {"finding_id": str(found["id"]), "state": installation.begin_link(agent, owner)}


def table(heading: str) -> dict[str, str]:
    (text,) = re.findall(rf"^## {heading}\n((?:(?!^## ).*\n)*)", TEXT, re.MULTILINE)
    return dict(re.findall(r"^\| `?([\w:]+)`? \| (.*) \|$", text, re.MULTILINE))


def operations(site: Site) -> dict[str, Any]:
    paths = site.app.openapi()["paths"]
    return {f"{method.upper()} {path}": it for path in paths for method, it in paths[path].items()}


def test_every_route_is_documented_with_its_statuses(site: Site) -> None:
    documented = {route: set(it["responses"]) for route, it in operations(site).items()}
    twice = {
        route.replace(PERSONAL, ORGANIZATION, 1): found.statuses
        for route, found in ROUTES.items()
        if "/audit-log" in route or "/security-agent" in route
    }
    assert documented == {route: found.statuses for route, found in ROUTES.items()} | twice


def test_every_route_is_documented_with_its_scopes() -> None:
    assert {route: found.scopes for route, found in ROUTES.items() if found.scopes} == {
        route: set(need.scopes) for route, need in NEEDS.items()
    }
    scopes = table("Who asks")
    assert {name: scopes[name] for name in SCOPES} == SCOPES


def test_every_filter_and_every_error_is_documented(site: Site) -> None:
    assert table("Filters").keys() - {"parameter"} == SelectionQuery.model_fields.keys()
    used = {status for it in operations(site).values() for status in it["responses"]}
    assert table("Errors").keys() - {"status"} == used - {"200", "202"} | {"405", "500"}
    assert title_of(422) in TEXT


def test_the_limits_are_as_documented() -> None:
    limits, errors = Limits(), table("Errors")
    assert f"{limits.body >> 20} MiB" in errors["413"]
    assert f"{limits.query >> 10} KiB" in errors["414"]
    assert f"{limits.body_seconds:.0f} seconds" in errors["408"]
    said = " ".join(TEXT.partition("## Limits")[2].partition("##")[0].split())
    for number in (
        f"{limits.at_once_each} in work",
        f"{limits.at_once} requests",
        f"{limits.send_seconds:.0f} seconds",
    ):
        assert number in said
    assert f"{TAILS_EACH} tails at\nonce, a process {TAILS}." in TEXT
    for number in (f"{REQUESTS_A_MINUTE:,} requests a minute", f"and {EXPORTS_EACH} exports", f"and {EXPORTS} exports"):
        assert number in said


@pytest.mark.parametrize("route", ROUTES)
def test_the_examples_are_answered_as_the_page_says(site: Site, route: str) -> None:
    people = settle(site.accounts)
    owner = people.id("owner")
    agents = at_work(site, Owner.user(owner)) if "security-agent" in route or "{finding_id}" in route else {}
    recorder = Permalog.connect(site.database)  # which declares nothing, and so may record anything that is known
    receipt = recorder.record(
        Event(
            owner=Owner.user(owner), action="security.finding.dismissed", source="api", correlation_id="op_1",
            actor=Actor.user("u_1", email="ada@acme.example", name="Ada"),
            resource=Resource("security_finding", "fnd_1"),
            before_state={"status": "open"}, after_state={"status": "ignored"}, metadata={"reason": "tolerable_risk"},
        )
    )  # fmt: skip
    recorder.close()
    log_id = Owner.user(owner).log_id
    if route.endswith("/evidence"):
        with psycopg.connect(site.database) as connection:
            seal(connection, log_id, SIGNER)
    else:
        for epoch, events in ((1, [receipt.id]), (2, None)):
            Planted(site.database, log_id, epoch).grow(some_leaves(1), events)
    head, _, body = ROUTES[route].request.partition("\n\n")
    first, *headers = head.strip().splitlines()
    method, path = first.split(" ")
    path = path.format(event_id=receipt.id, user_id=owner, log_id=log_id, **agents)
    who = "unbound service" if "events:write" in ROUTES[route].scopes else "owner"
    with site.client(people.token(who)) as client:
        signed = [line.replace("sha256=SIGNATURE", signature(body.encode(), HOOKS)) for line in headers]
        answer = client.request(method, path, content=body.encode(), headers=dict(line.split(": ") for line in signed))
    assert answer.status_code in {200, 202}, answer.text
    if answer.headers["content-type"] == "application/json":
        assert shape(answer.json()) == shape(json.loads(ROUTES[route].answer))
    else:
        assert ROUTES[route].answer.split("{")[0].strip() in answer.text


def shape(value: Any) -> Any:
    """What an answer is made of, without what differs from one to the next."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__
