"""Dismissing: by a person, automatically, in bulk; on GitHub and here; and what is on record of it."""

import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from agent.planting import ACTING, DEVELOPMENT, GRAVE, events, plant, row_of, rows
from github import ask, github, open_alert
from permalog import Owner
from permalog_server.standin import StandIn
from permalog_server.standin.faults import Fault
from security_agent.agent import Agent
from security_agent.analysis import Means, start
from security_agent.auto_dismiss import dismiss_eligible, eligible
from security_agent.dismissal import NotPermitted, dismiss, for_github
from security_agent.errors import Conflict, Invalid, NotConnected, NotFound
from security_agent.finding import delete
from security_agent.github import GitHub, GitHubError, Waiting
from security_agent.jobs import Worker, jobs
from security_agent.write_back import LONGEST_WAIT, MOST_ATTEMPTS, wait_after, write_back

SHOP = "northwind/shop"
_ = github  # a fixture


@pytest.fixture
def owner() -> Owner:
    return Owner.organization(uuid.uuid4())


@pytest.fixture
def installation(github: StandIn) -> int:
    installed = github.world.install("northwind", [SHOP])
    for number in range(1, 10):
        github.world.put(SHOP, open_alert(SHOP, number))
    return installed


@pytest.fixture
def connected(agent: Agent, github: StandIn) -> Iterator[Agent]:
    """The agent, with the stand-in."""
    with ask(github, Waiting(timeout=5, whole=5, attempts=1, patience=0)) as client:
        yield replace(agent, github=client)


def refusing(status: int, message: str = "no", times: int = 100) -> Fault:
    return Fault(status=status, message=message, method="PATCH", times=times)


def patches(github: StandIn) -> int:
    return sum(seen.method == "PATCH" and seen.status == 200 for seen in github.world.seen)


def test_a_person_dismisses_on_github_and_here(
    connected: Agent, owner: Owner, github: StandIn, installation: int
) -> None:
    finding = plant(connected, owner, installation=installation, source_id="1")
    done = dismiss(connected, owner, finding, ACTING, "tolerable_risk", "Only in the build.")
    alert = github.world.alert(SHOP, 1)
    assert (alert["state"], alert["dismissed_reason"], alert["dismissed_comment"]) == (
        "dismissed", "tolerable_risk", "Only in the build.",
    )  # fmt: skip
    row = row_of(connected, "finding", finding)
    assert [row[name] for name in ("status", "ignored_reason", "ignored_comment", "ignored_by", "ignored_by_type")] == [
        "ignored", "tolerable_risk", "Only in the build.", "u_ada", "user",
    ]  # fmt: skip
    assert row["source_state"] == "dismissed"
    (event,) = events(connected, owner)
    del event["id"], event["occurred_at"], event["recorded_at"], event["recorded_by"], event["leaf_index"]
    snapshot = event["metadata"].pop("finding")
    assert event == {
        "action": "security.finding.dismissed",
        "outcome": "success",
        "actor": {"type": "user", "id": "u_ada", "email": "ada@tests.example", "name": "Ada"},
        "resource": {"type": "security_finding", "id": str(finding)},
        "before_state": {"status": "open"},
        "after_state": {"status": "ignored", "reason": "tolerable_risk", "comment": "Only in the build."},
        "metadata": {"source": "dependabot", "write_back": "completed"},
        "correlation_id": done.correlation_id,
        "source": "api",
    }
    assert snapshot["package"] == "lodash"
    assert snapshot["status"] == "open"


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (refusing(422), "refused"),
        (refusing(403, "Resource not accessible by integration"), "forbidden"),
        (refusing(404), "not_found"),
        (refusing(500), "unreachable"),
        (Fault(drop=True, method="PATCH", times=100), "unreachable"),
    ],
)
def test_where_github_does_not_do_it_nothing_changes_and_it_is_on_record(
    connected: Agent, owner: Owner, github: StandIn, installation: int, fault: Fault, code: str
) -> None:
    finding = plant(connected, owner, installation=installation, source_id="1")
    before = row_of(connected, "finding", finding)
    github.fail(fault)
    with pytest.raises(GitHubError):
        dismiss(connected, owner, finding, ACTING, "not_used", None)
    assert row_of(connected, "finding", finding) == before
    (event,) = events(connected, owner)
    assert (event["action"], event["outcome"]) == ("security.finding.dismissed", "failure")
    assert event["before_state"]["status"] == event["after_state"]["status"] == "open"
    assert (event["metadata"]["write_back"], event["metadata"]["error"]) == ("failed", code)


def test_a_finding_that_is_deleted_while_github_dismisses_it_is_on_record(
    connected: Agent, owner: Owner, installation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    finding = plant(connected, owner, installation=installation, source_id="1")
    on_github = GitHub.dismiss

    def meanwhile(self: GitHub, *what: Any) -> Any:
        alert = on_github(self, *what)
        assert delete(connected, owner, "northwind/shop", ACTING, "c-1") == 1
        return alert

    monkeypatch.setattr(GitHub, "dismiss", meanwhile)
    with pytest.raises(NotFound):
        dismiss(connected, owner, finding, ACTING, "not_used", None)
    deleted, tried = events(connected, owner)
    assert (deleted["action"], tried["action"]) == ("security.finding.deleted", "security.finding.dismissed")
    assert (tried["outcome"], tried["actor"]["id"]) == ("failure", "u_ada")
    assert (tried["metadata"]["write_back"], tried["metadata"]["error"]) == ("completed", "finding_deleted")


def test_reading_only_is_said_before_github_is_asked(
    connected: Agent, owner: Owner, github: StandIn, installation: int
) -> None:
    finding = plant(connected, owner, installation=installation, permission="read", source_id="1")
    with pytest.raises(NotPermitted, match="vulnerability_alerts: write"):
        dismiss(connected, owner, finding, ACTING, "not_used", None)
    assert patches(github) == 0
    (event,) = events(connected, owner)
    assert (event["outcome"], event["metadata"]["error"]) == ("failure", "not_permitted")


def test_without_an_installation_nothing_is_dismissed(connected: Agent, owner: Owner) -> None:
    finding = plant(connected, owner, installation=None)
    with pytest.raises(NotConnected):
        dismiss(connected, owner, finding, ACTING, "not_used", None)
    assert events(connected, owner)[0]["metadata"]["error"] == "not_connected"
    assert row_of(connected, "finding", finding)["status"] == "open"


def test_what_is_asked_for_must_make_sense(connected: Agent, owner: Owner) -> None:
    finding = plant(connected, owner)
    for reason, comment in (("no", None), ("", None), ("not_used", "x" * 2001), ("not_used", "\0")):
        with pytest.raises(Invalid):
            dismiss(connected, owner, finding, ACTING, reason, comment)
    with pytest.raises(Conflict):
        dismiss(connected, owner, plant(connected, owner, status="ignored"), ACTING, "not_used", None)
    with pytest.raises(NotFound):
        dismiss(connected, owner, uuid.uuid4(), ACTING, "not_used", None)
    assert events(connected, owner) == []


def test_a_comment_with_an_address_is_personal_data(connected: Agent, owner: Owner, installation: int) -> None:
    finding = plant(connected, owner, installation=installation, source_id="1")
    dismiss(connected, owner, finding, ACTING, "not_used", "ask eve@tests.example")
    comment = events(connected, owner)[0]["after_state"]["comment"]
    assert comment["$personal"]["value"] == "ask eve@tests.example"


@pytest.mark.parametrize("length", [0, 1, 279, 280, 281, 2000])
def test_githubs_comment_is_never_too_long_and_says_where_the_whole_is(length: int) -> None:
    finding = uuid.uuid4()
    text = "é" * length
    shown = for_github(text, finding)
    assert shown is not None
    assert len(shown) <= 280
    if length <= 280:
        assert shown == text
    else:
        assert shown.endswith(f"(whole text: audit log, finding {finding})")
        assert shown.startswith("é" * 100)


def analysed(agent: Agent, owner: Owner, installation: int, number: int, **facts: Any) -> UUID:
    """An open finding whose triage was completed before automatic dismissal was switched on."""
    finding = plant(agent, owner, installation=installation, source_id=str(number), **(DEVELOPMENT | facts))
    start(agent, Means(), owner, finding, ACTING)
    return finding


def switch_on(agent: Agent, owner: Owner, confidence: str = "high") -> None:
    with agent.looking() as connection:
        connection.execute(
            "UPDATE security_agent.owner SET auto_dismiss = true, auto_dismiss_confidence = %s WHERE log_id = %s",
            (confidence, owner.log_id),
        )


def work(agent: Agent, sync_all: Any = None) -> None:
    """Does all jobs that are due."""
    Worker(agent.log.database.url, agent, Means(), sync_all).run(until_idle=True)


def test_triage_dismisses_automatically_and_writes_back(
    connected: Agent, owner: Owner, github: StandIn, installation: int
) -> None:
    finding = plant(connected, owner, installation=installation, auto_dismiss=True, source_id="2", **DEVELOPMENT)
    one = start(connected, Means(), owner, finding, ACTING)
    assert row_of(connected, "finding", finding)["status"] == "ignored"
    assert github.world.alert(SHOP, 2)["state"] == "open"  # here first
    work(connected)
    assert github.world.alert(SHOP, 2)["dismissed_reason"] == "tolerable_risk"
    told = [event["action"].removeprefix("security.finding.") for event in events(connected, owner)]
    assert told == ["analysis_started", "analysis_completed", "auto_dismissed", "write_back_completed"]
    dismissed, written = events(connected, owner)[2:]
    for event in (dismissed, written):
        for name in ("id", "occurred_at", "recorded_at", "recorded_by", "leaf_index"):
            del event[name]
    assert dismissed == {
        "action": "security.finding.auto_dismissed",
        "outcome": "success",
        "actor": {"type": "system", "id": "auto-dismiss", "email": None, "name": None},
        "resource": {"type": "security_finding", "id": str(finding)},
        "before_state": {"status": "open"},
        "after_state": {"status": "ignored", "reason": "tolerable_risk"},
        "metadata": {
            "finding": dismissed["metadata"]["finding"],
            "trigger": "triage",
            "ground": "triage",
            "confidence": "high",
            "analysis_id": str(one.id),
            "source": "dependabot",
            "write_back": "pending",
        },
        "correlation_id": one.correlation_id,
        "source": "worker",
    }
    assert written == {
        "action": "security.finding.write_back_completed",
        "outcome": "success",
        "actor": {"type": "system", "id": "write-back", "email": None, "name": None},
        "resource": {"type": "security_finding", "id": str(finding)},
        "before_state": None,
        "after_state": None,
        "metadata": {
            "finding": written["metadata"]["finding"],
            "source": "dependabot",
            "reason": "tolerable_risk",
            "source_state": "dismissed",
            "attempts": 1,
            "error": None,
        },
        "correlation_id": one.correlation_id,
        "source": "worker",
    }


def only_write_back(agent: Agent) -> UUID:
    ((id_,),) = rows(agent, "SELECT id FROM security_agent.write_back")
    return id_


@pytest.fixture
def waiting(connected: Agent, owner: Owner, installation: int) -> tuple[UUID, UUID]:
    """A finding that was dismissed automatically, and the write-back that waits."""
    finding = plant(connected, owner, installation=installation, auto_dismiss=True, source_id="3", **DEVELOPMENT)
    start(connected, Means(), owner, finding, ACTING)
    return finding, only_write_back(connected)


def test_a_write_back_that_fails_for_now_is_tried_again(
    connected: Agent, owner: Owner, github: StandIn, waiting: tuple[UUID, UUID]
) -> None:
    _, id_ = waiting
    github.fail(refusing(502, times=2))
    for attempt in (1, 2):
        write_back(connected, owner.log_id, id_)
        assert row_of(connected, "write_back", id_)["attempts"] == attempt
        assert row_of(connected, "write_back", id_)["state"] == "pending"
    assert events(connected, owner, "write_back_completed") == []
    write_back(connected, owner.log_id, id_)
    write_back(connected, owner.log_id, id_)  # a job may run twice
    (event,) = events(connected, owner, "write_back_completed")
    assert (event["outcome"], event["metadata"]["attempts"]) == ("success", 3)
    assert patches(github) == 1


def test_the_next_attempt_is_in_the_queue_and_later_each_time(
    connected: Agent, owner: Owner, github: StandIn, waiting: tuple[UUID, UUID]
) -> None:
    github.fail(refusing(502))
    write_back(connected, owner.log_id, waiting[1])
    due = rows(
        connected,
        "SELECT extract(epoch FROM scheduled_at - clock_timestamp()) FROM jobs.procrastinate_jobs"
        " WHERE task_name = 'agent.write_back' ORDER BY id",
    )
    assert len(due) == 2
    assert 0 < due[1][0] <= 30
    assert [wait_after(n) for n in range(3)] == [30, 60, 120]
    assert wait_after(50) == LONGEST_WAIT


@pytest.mark.parametrize(("status", "code"), [(422, "refused"), (404, "not_found"), (403, "forbidden")])
def test_a_write_back_that_github_refuses_for_good_is_a_failure(
    connected: Agent, owner: Owner, github: StandIn, waiting: tuple[UUID, UUID], status: int, code: str
) -> None:
    finding, id_ = waiting
    github.fail(refusing(status))
    write_back(connected, owner.log_id, id_)
    (event,) = events(connected, owner, "write_back_completed")
    assert (event["outcome"], event["metadata"]["error"]) == ("failure", code)
    assert row_of(connected, "write_back", id_)["state"] == "failed"
    assert row_of(connected, "finding", finding)["status"] == "ignored"  # it stands


def test_a_write_back_is_given_up_in_the_end(
    connected: Agent, owner: Owner, github: StandIn, waiting: tuple[UUID, UUID]
) -> None:
    github.fail(refusing(502))
    for _ in range(MOST_ATTEMPTS + 1):
        write_back(connected, owner.log_id, waiting[1])
    (event,) = events(connected, owner, "write_back_completed")
    assert (event["outcome"], event["metadata"]["attempts"]) == ("failure", MOST_ATTEMPTS)


def test_a_dismissal_that_github_made_and_did_not_confirm_is_not_made_twice(
    connected: Agent, owner: Owner, github: StandIn, waiting: tuple[UUID, UUID]
) -> None:
    """The answer was lost after the change: telling it again finds it done."""
    github.fail(Fault(cut=True, method="PATCH", times=1))
    write_back(connected, owner.log_id, waiting[1])
    write_back(connected, owner.log_id, waiting[1])
    assert github.world.alert(SHOP, 3)["state"] == "dismissed"
    assert [e["outcome"] for e in events(connected, owner, "write_back_completed")] == ["success"]


def test_an_alert_that_was_fixed_meanwhile_needs_no_dismissal(
    connected: Agent, owner: Owner, github: StandIn, waiting: tuple[UUID, UUID]
) -> None:
    github.world.change(SHOP, 3, state="fixed")
    github.fail(refusing(422))
    write_back(connected, owner.log_id, waiting[1])
    (event,) = events(connected, owner, "write_back_completed")
    assert (event["outcome"], event["metadata"]["source_state"]) == ("success", "fixed")


def test_what_was_reopened_here_is_not_written_back(
    connected: Agent, owner: Owner, github: StandIn, waiting: tuple[UUID, UUID]
) -> None:
    with connected.looking() as connection:
        connection.execute("UPDATE security_agent.finding SET status = 'open'")
    write_back(connected, owner.log_id, waiting[1])
    assert patches(github) == 0
    assert events(connected, owner, "write_back_completed")[0]["metadata"]["error"] == "superseded"


def test_reading_only_fails_a_write_back_and_says_so(connected: Agent, owner: Owner, installation: int) -> None:
    finding = plant(
        connected, owner, installation=installation, permission="read", auto_dismiss=True, source_id="4", **DEVELOPMENT
    )
    start(connected, Means(), owner, finding, ACTING)
    work(connected)
    assert events(connected, owner, "write_back_completed")[0]["metadata"]["error"] == "not_permitted"


def test_bulk_operations_as_one_row_with_id_bulk(connected: Agent, owner: Owner, installation: int) -> None:
    """A trap of the original: here, one event a finding, and one correlation id."""
    findings = {analysed(connected, owner, installation, number) for number in range(1, 5)}
    grave = analysed(connected, owner, installation, 5, **GRAVE)
    unsure = analysed(
        connected, owner, installation, 6, severity="medium", scope="runtime", title="Exhaustion in the command-line",
        cwe_ids=["CWE-400"], description="",
    )  # fmt: skip
    plant(connected, owner, installation=installation, source_id="7", **DEVELOPMENT)  # not analysed
    switch_on(connected, owner)
    assert set(eligible(connected, owner).finding_ids) == findings
    bulk = dismiss_eligible(connected, owner, ACTING)
    assert set(bulk.finding_ids) == findings
    made = events(connected, owner, "auto_dismissed")
    assert {event["resource"]["id"] for event in made} == {str(one) for one in findings}
    assert {event["correlation_id"] for event in made} == {bulk.correlation_id}
    assert {event["metadata"]["trigger"] for event in made} == {"bulk"}
    assert {event["actor"]["id"] for event in made} == {"u_ada"}
    assert [row_of(connected, "finding", one)["status"] for one in (grave, unsure)] == ["open", "open"]
    assert dismiss_eligible(connected, owner, ACTING).finding_ids == []
    switch_on(connected, owner, "medium")
    assert dismiss_eligible(connected, owner, ACTING).finding_ids == [unsure]


def test_nothing_is_eligible_while_it_is_off(connected: Agent, owner: Owner, installation: int) -> None:
    analysed(connected, owner, installation, 1)
    found = eligible(connected, owner)
    assert (found.enabled, found.finding_ids) == (False, [])
    with pytest.raises(Conflict):
        dismiss_eligible(connected, owner, ACTING)
    assert events(connected, owner, "auto_dismissed") == []


def test_jobs_are_seen_and_hold_ids_only(connected: Agent, owner: Owner, installation: int) -> None:
    analysed(connected, owner, installation, 1, **GRAVE)
    (job,) = jobs(connected, owner)
    assert (job["task"], job["status"], job["log_id"]) == ("agent.analyze", "todo", str(owner.log_id))
    assert jobs(connected, Owner.user("u_other")) == []
    for (arguments,) in rows(connected, "SELECT args FROM jobs.procrastinate_jobs"):
        assert {uuid.UUID(value) for value in arguments.values()}
