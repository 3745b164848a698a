"""Analysis and dismissal through the API: the whole way, with GitHub, jobs, callbacks and roles."""

import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from agent.planting import DEVELOPMENT, GRAVE, events, plant, rows
from github import ask, github, open_alert
from llm import KEY, Endpoint, endpoint
from permalog import Owner
from permalog_server.standin import StandIn
from permalog_server.standin.faults import Fault
from security_agent.agent import Agent
from security_agent.analysis import Means
from security_agent.github import Waiting
from security_agent.jobs import Worker
from service import People, Site, running, settle

SHOP = "northwind/shop"
SECRET = "internal-secret-of-the-tests"  # noqa: S105  none
_ = github  # a fixture


@pytest.fixture
def model() -> Iterator[Endpoint]:
    with endpoint() as told:
        yield told


@pytest.fixture
def site(agent_database: str, github: StandIn, tmp_path: Path) -> Iterator[Site]:
    github.world.install("northwind", [SHOP], id=1)
    with (
        ask(github, Waiting(timeout=5, whole=5, attempts=1, patience=0)) as client,
        running(agent_database, tmp_path, github=client, internal_secret=SECRET) as found,
    ):
        yield found


@pytest.fixture
def people(site: Site) -> People:
    return settle(site.accounts)


def agent_of(site: Site) -> Agent:
    agent: Agent = site.app.state.desk.agent
    return agent


class Asking:
    """A member of the organisation, at the API."""

    def __init__(self, site: Site, people: People, github: StandIn) -> None:
        self.site, self.people, self.github = site, people, github
        self.owner = Owner.organization(people.organization)
        self.number = 0

    def finding(self, **facts: Any) -> UUID:
        self.number += 1
        self.github.world.put(SHOP, open_alert(SHOP, self.number))
        return plant(agent_of(self.site), self.owner, source_id=str(self.number), **facts)

    def __call__(self, method: str, path: str, who: str = "owner", body: Any = None) -> httpx.Response:
        with self.site.client(self.people.tokens[who]) as client:
            url = f"/v1/organizations/{self.people.organization}/security-agent/{path}"
            return client.request(method, url, json=body)

    def events(self, action: str | None = None) -> list[dict[str, Any]]:
        self.site.log.flush()
        return events(agent_of(self.site), self.owner, action)

    def work(self, means: Means | None = None) -> None:
        Worker(self.site.database, agent_of(self.site), means or Means()).run(until_idle=True)


@pytest.fixture
def api(site: Site, people: People, github: StandIn) -> Asking:
    return Asking(site, people, github)


def test_a_finding_is_dismissed(api: Asking, github: StandIn) -> None:
    finding = api.finding()
    answer = api("POST", f"findings/{finding}/dismiss", body={"reason": "inaccurate", "comment": "x" * 300})
    assert answer.status_code == 200
    assert answer.json() | {"correlation_id": ""} == {
        "finding_id": str(finding), "status": "ignored", "reason": "inaccurate", "correlation_id": "",
    }  # fmt: skip
    comment = github.world.alert(SHOP, 1)["dismissed_comment"]
    assert len(comment) <= 280
    (event,) = api.events()
    assert event["after_state"] == {"status": "ignored", "reason": "inaccurate", "comment": "x" * 300}
    assert event["actor"]["id"] == api.people.id("owner")
    assert api("POST", f"findings/{finding}/dismiss", body={"reason": "inaccurate"}).status_code == 409


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"reason": "no"}, 422),
        ({}, 422),
        ({"reason": "not_used", "x": 1}, 422),
        ({"reason": "not_used", "comment": 1}, 422),
    ],
)
def test_a_body_is_taken_strictly(api: Asking, body: Any, status: int) -> None:
    assert api("POST", f"findings/{api.finding()}/dismiss", body=body).status_code == status
    assert api("POST", f"findings/{api.finding()}/analysis", body={"x": 1}).status_code == 422
    assert api.events() == []


def test_where_github_refuses_the_caller_is_told_and_it_is_on_record(api: Asking, github: StandIn) -> None:
    finding = api.finding()
    github.fail(Fault(status=422, method="PATCH"))
    assert api("POST", f"findings/{finding}/dismiss", body={"reason": "not_used"}).status_code == 409
    github.fail(Fault(status=502, method="PATCH", times=9))
    assert api("POST", f"findings/{finding}/dismiss", body={"reason": "not_used"}).status_code == 503
    assert [event["outcome"] for event in api.events("dismissed")] == ["failure", "failure"]


def test_a_member_may_analyse_and_not_dismiss_and_that_they_tried_is_on_record(api: Asking) -> None:
    finding = api.finding(**DEVELOPMENT)
    assert api("POST", f"findings/{finding}/dismiss", "member", {"reason": "not_used"}).status_code == 403
    assert api("POST", "auto-dismiss", "member").status_code == 403
    assert api("POST", f"findings/{finding}/analysis", "member").status_code == 200
    denied = [event for event in api.events() if event["outcome"] == "denied"]
    assert {(event["action"], event["resource"]["id"]) for event in denied} == {
        ("security.finding.dismissed", str(finding)),
        ("security.finding.auto_dismissed", str(api.people.organization)),
    }


def test_an_analysis_is_started_followed_and_listed(api: Asking) -> None:
    quick, slow = api.finding(**DEVELOPMENT), api.finding(**GRAVE)
    done = api("POST", f"findings/{quick}/analysis")
    assert (done.status_code, done.json()["status"], done.json()["triage"]["suggestion"]) == (
        200,
        "completed",
        "dismiss",
    )
    begun = api("POST", f"findings/{slow}/analysis")
    assert (begun.status_code, begun.json()["status"]) == (202, "running")
    assert api("GET", f"findings/{slow}/analysis").json()["analysis"]["id"] == begun.json()["id"]
    assert api("GET", f"findings/{api.finding()}/analysis").json() == {"analysis": None}
    listed = api("GET", "analyses").json()
    assert (listed["total"], [one["finding_id"] for one in listed["analyses"]]) == (2, [str(slow), str(quick)])
    assert api("GET", "analyses?status=running").json()["total"] == 1
    assert api("POST", f"findings/{slow}/analysis").status_code == 409
    assert api("POST", f"findings/{api.finding()}/analysis", body={"force": True}).status_code == 202
    assert api("POST", f"findings/{api.finding(**GRAVE)}/analysis").status_code == 202
    fourth = api("POST", f"findings/{api.finding(**GRAVE)}/analysis")
    assert (fourth.status_code, "retry-after" in fourth.headers) == (429, True)


def test_a_job_looks_at_the_code_and_the_finding_is_dismissed(api: Asking, tmp_path: Path) -> None:
    """The whole way: API, queue, clone, search, policy, write-back; nothing is doubled."""
    import subprocess  # noqa: PLC0415

    folder = tmp_path / "git" / "northwind" / "shop"
    folder.mkdir(parents=True)
    (folder / "package.json").write_text('{"dependencies": {"lodash": "^4"}}')
    for arguments in (
        ["init", "-q"], ["add", "-A"],
        ["-c", "user.name=t", "-c", "user.email=t@tests.example", "commit", "-qm", "first"],
    ):  # fmt: skip
        subprocess.run(["git", "-C", folder, *arguments], check=True, capture_output=True)
    finding = api.finding(auto_dismiss=True, **GRAVE)
    assert api("POST", f"findings/{finding}/analysis").status_code == 202
    api.work(Means(clone_from=str(tmp_path / "git" / "{repository}")))
    assert [event["action"].rpartition(".")[2] for event in api.events()] == [
        "analysis_started", "analysis_completed", "auto_dismissed", "write_back_completed",
    ]  # fmt: skip
    completed, dismissed, _ = api.events()[1:]
    assert (completed["metadata"]["exploitable"], completed["metadata"]["suggested_action"]) == ("no", "dismiss")
    assert (dismissed["metadata"]["trigger"], dismissed["after_state"]["reason"]) == ("sandbox", "not_used")
    assert api.github.world.alert(SHOP, 1)["dismissed_reason"] == "not_used"


def test_out_of_credit_is_payment_required(api: Asking, model: Endpoint) -> None:
    model.manner, model.status = "status", 402
    desk = api.site.app.state.desk
    api.site.app.state.desk = replace(desk, means=Means(model.model()))
    answer = api("POST", f"findings/{api.finding()}/analysis")
    assert answer.status_code == 402
    assert KEY not in answer.text
    assert [event["outcome"] for event in api.events()] == ["success", "failure"]
    assert api("GET", "analyses?status=pending").json()["total"] == 0
    assert KEY not in str(api.events())


def test_all_that_is_eligible_is_dismissed(api: Asking) -> None:
    findings = [api.finding(**DEVELOPMENT) for _ in range(3)]
    for finding in findings:
        api("POST", f"findings/{finding}/analysis")
    assert api("GET", "auto-dismiss").json() == {"enabled": False, "confidence": "high", "finding_ids": [], "total": 0}
    assert api("POST", "auto-dismiss").status_code == 409
    with agent_of(api.site).looking() as connection:
        connection.execute("UPDATE security_agent.owner SET auto_dismiss = true")
    assert api("GET", "auto-dismiss", "member").json()["total"] == 3
    done = api("POST", "auto-dismiss", "admin").json()
    assert done["dismissed"] == 3
    assert {event["correlation_id"] for event in api.events("auto_dismissed")} == {done["correlation_id"]}
    api.work()
    assert len(api.events("write_back_completed")) == 3


def callback(api: Asking, finding: UUID, bearer: str | None, body: Any) -> httpx.Response:
    with api.site.client(bearer) as client:
        return client.post(f"/internal/analysis-callback/{finding}", json=body)


def test_a_runner_calls_back(api: Asking) -> None:
    finding = api.finding(**GRAVE)
    one = api("POST", f"findings/{finding}/analysis").json()
    result = {"exploitable": "yes", "reasoning": "r", "suggested_action": "open_pr", "summary": "s"}
    body = {"attempt_id": one["id"], "result": result}
    assert callback(api, finding, None, body).status_code == 401
    assert callback(api, finding, "wrong", body).status_code == 401
    assert callback(api, finding, api.people.token("owner"), body).status_code == 401
    assert callback(api, finding, SECRET, {"status": "completed"}).status_code == 422
    assert callback(api, uuid.uuid4(), SECRET, body).status_code == 404
    assert callback(api, finding, SECRET, body).json() == {"status": "accepted", "analysis": "completed"}
    assert callback(api, finding, SECRET, body).json() == {"status": "ignored", "analysis": None}
    assert api("GET", f"findings/{finding}/analysis").json()["analysis"]["result"]["exploitable"] == "yes"
    api.work()  # the job that would have looked at the code finds it done
    assert [event["action"].rpartition(".")[2] for event in api.events()] == ["analysis_started", "analysis_completed"]


def test_erasing_an_owner_purges_their_jobs(api: Asking) -> None:
    user = api.people.id("stranger")
    finding = plant(agent_of(api.site), Owner.user(user), **GRAVE)
    with api.site.client(api.people.token("stranger")) as client:
        assert client.post(f"/v1/security-agent/findings/{finding}/analysis").status_code == 202
        assert len(rows(agent_of(api.site), "SELECT 1 FROM jobs.procrastinate_jobs")) == 1
        assert client.delete(f"/v1/users/{user}").status_code == 200
    assert rows(agent_of(api.site), "SELECT 1 FROM jobs.procrastinate_jobs") == []
