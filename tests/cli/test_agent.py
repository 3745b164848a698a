"""`permalog agent analyze`, `dismiss`, `auto-dismiss`, `jobs`, and `permalog worker`."""

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.planting import DEVELOPMENT, GRAVE, events, plant, row_of
from calling import Command
from github import open_alert, standing_in
from permalog import Owner, Permalog
from permalog_server.standin import StandIn
from security_agent.actions import CATALOGUE
from security_agent.agent import Agent

SHOP = "northwind/shop"


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandIn]:
    """GitHub, and the settings that lead to it."""
    with standing_in() as github:
        github.world.install("northwind", [SHOP], id=1)
        for number in range(1, 6):
            github.world.put(SHOP, open_alert(SHOP, number))
        key = tmp_path / "key.pem"
        key.write_text(github.private_key)
        monkeypatch.setenv("PERMALOG_GITHUB_APP_ID", github.app_id)
        monkeypatch.setenv("PERMALOG_GITHUB_PRIVATE_KEY", str(key))
        monkeypatch.setenv("PERMALOG_GITHUB_API_URL", github.url)
        monkeypatch.setenv("PERMALOG_CLONE_FROM", str(tmp_path / "nowhere" / "{repository}"))
        yield github


@pytest.fixture
def agent(database: str) -> Iterator[Agent]:
    with Permalog.connect(database, catalogue=CATALOGUE) as log:
        yield Agent(log)


@pytest.fixture
def owner() -> Owner:
    return Owner.organization(uuid.uuid4())


def test_a_finding_is_analysed_and_the_command_waits(
    permalog: Command, agent: Agent, owner: Owner, stand_in: StandIn
) -> None:
    quick = plant(agent, owner, **DEVELOPMENT)
    said = permalog("agent", "analyze", str(quick), "--actor", "user:u_ada", "--json")
    assert (said.code, json.loads(said.out)["status"]) == (0, "completed")
    assert events(agent, owner)[0]["actor"]["id"] == "u_ada"
    assert events(agent, owner)[0]["source"] == "cli"
    # There is nothing to clone from: the end is a failure, and the exit code says so.
    slow = permalog("agent", "analyze", str(plant(agent, owner, **GRAVE)), "--json")
    assert (slow.code, json.loads(slow.out)["failure_code"]) == (1, "clone_failed")
    assert events(agent, owner)[-1]["actor"]["type"] == "system"
    assert "manual_review" in permalog("agent", "analyze", str(plant(agent, owner, severity="high"))).out
    assert stand_in.world.seen == []


def test_a_finding_is_dismissed(permalog: Command, agent: Agent, owner: Owner, stand_in: StandIn) -> None:
    finding = plant(agent, owner, source_id="1")
    said = permalog("agent", "dismiss", str(finding), "--reason", "not_used", "--comment", "gone", "--json")
    assert (said.code, json.loads(said.out)["reason"]) == (0, "not_used")
    assert stand_in.world.alert(SHOP, 1)["dismissed_comment"] == "gone"
    again = permalog("agent", "dismiss", str(finding), "--reason", "not_used")
    assert again.code == 1
    assert "only open ones" in again.err


@pytest.mark.parametrize(
    "arguments",
    [("dismiss", "x", "--reason", "not_used"), ("analyze", "x"), ("analyze", str(uuid.UUID(int=1)), "--actor", "u_1"),
     ("auto-dismiss", "--owner", "x")],
)  # fmt: skip
@pytest.mark.usefixtures("stand_in")
def test_misuse_is_told_in_a_line(permalog: Command, arguments: tuple[str, ...]) -> None:
    said = permalog("agent", *arguments)
    assert said.code in {1, 2}
    assert len(said.err.strip().splitlines()) == 1


def test_all_that_is_eligible_is_dismissed_and_github_is_told(
    permalog: Command, agent: Agent, owner: Owner, stand_in: StandIn
) -> None:
    findings = [plant(agent, owner, source_id=str(n), **DEVELOPMENT) for n in (2, 3)]
    for finding in findings:
        assert permalog("agent", "analyze", str(finding)).code == 0
    assert permalog("agent", "auto-dismiss", "--owner", str(owner)).code == 1  # it is off
    with agent.looking() as connection:
        connection.execute("UPDATE security_agent.owner SET auto_dismiss = true")
    dry = permalog("agent", "auto-dismiss", "--owner", str(owner), "--dry-run", "--json")
    assert json.loads(dry.out)["dismissed"] == 2
    assert events(agent, owner, "auto_dismissed") == []
    said = permalog("agent", "auto-dismiss", "--owner", str(owner), "--json")
    assert set(json.loads(said.out)["finding_ids"]) == {str(one) for one in findings}
    assert [stand_in.world.alert(SHOP, n)["state"] for n in (2, 3)] == ["dismissed", "dismissed"]
    assert len(events(agent, owner, "write_back_completed")) == 2


def test_the_worker_does_what_waits_and_jobs_are_seen(
    permalog: Command, agent: Agent, owner: Owner, stand_in: StandIn
) -> None:
    finding = plant(agent, owner, auto_dismiss=True, source_id="4", **DEVELOPMENT)
    assert permalog("agent", "analyze", str(finding)).code == 0
    assert row_of(agent, "finding", finding)["status"] == "ignored"
    (job,) = json.loads(permalog("agent", "jobs", "--owner", str(owner), "--json").out)["jobs"]
    assert (job["task"], job["status"]) == ("agent.write_back", "todo")
    # In a process of its own, since it sets up logging for the whole of its process.
    program = [sys.executable, "-m", "permalog_server", "worker", "--once", "--json"]
    assert json.loads(subprocess.run(program, check=True, capture_output=True).stdout) == {"done": True}
    assert stand_in.world.alert(SHOP, 4)["state"] == "dismissed"
    assert "succeeded" in permalog("agent", "jobs", "--status", "succeeded").out
