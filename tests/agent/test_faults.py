"""Whatever breaks, wherever: never a change without its event, nor an event without its change."""

import json
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from agent.planting import ACTING, DEVELOPMENT, GRAVE, events, plant, row_of, rows
from agent.striking import DIED, WORK, Manner, Struck, looked, striking
from github import ask, github, open_alert
from permalog import Owner, PermalogError
from permalog_server.standin import StandIn
from security_agent.agent import Agent
from security_agent.analysis import Means, end_stale, start
from security_agent.github import Waiting
from security_agent.jobs import Worker
from security_agent.sandbox import runner

SHOP = "northwind/shop"
TESTS = Path(__file__).parents[1]
__all__ = ["github"]  # a fixture


@pytest.fixture
def connected(agent: Agent, github: StandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    """The agent with GitHub, and a sandbox that finds no use."""
    monkeypatch.setattr(runner, "analyze", looked)
    github.world.install("northwind", [SHOP], id=1)
    with ask(github, Waiting(timeout=5, whole=5, attempts=1, patience=0)) as client:
        yield replace(agent, github=client)


def prepared(agent: Agent, github: StandIn, work: str, number: int) -> tuple[Owner, UUID, UUID]:
    """An owner with a finding, and what the work is about."""
    owner = Owner.organization(uuid.uuid4())
    github.world.put(SHOP, open_alert(SHOP, number))
    automatic = work in {"start", "run", "write_back"}
    facts = GRAVE if work == "run" else DEVELOPMENT
    finding = plant(agent, owner, auto_dismiss=automatic, source_id=str(number), **facts)
    about = finding
    if work == "run":
        about = start(agent, Means(), owner, finding, ACTING).id
    if work in {"write_back", "bulk"}:
        start(agent, Means(), owner, finding, ACTING)
    if work == "write_back":
        ((about,),) = rows(agent, "SELECT id FROM security_agent.write_back WHERE log_id = %(l)s", l=owner.log_id)
    if work == "bulk":
        with agent.looking() as connection:
            connection.execute("UPDATE security_agent.owner SET auto_dismiss = true WHERE log_id = %s", (owner.log_id,))
    return owner, finding, about


def agree(agent: Agent, owner: Owner, finding: UUID) -> None:
    """The tables and the log tell the same story."""
    for _ in range(10):
        # The pool takes one after the other: a connection that was killed while idle is found out here.
        with suppress(psycopg.Error), agent.looking() as connection:
            connection.execute("SELECT")
    log_id = owner.log_id
    found = row_of(agent, "finding", finding)
    told = events(agent, owner)
    names = [e["action"].removeprefix("security.finding.") for e in told if e["outcome"] == "success"]
    failed = [e["action"].removeprefix("security.finding.") for e in told if e["outcome"] == "failure"]
    made = Counter(names)
    dismissed = made["dismissed"] + made["auto_dismissed"]
    assert dismissed == (found["status"] == "ignored")
    statuses = [e["after_state"]["analysis_status"] for e in told if "analysis_" in e["action"]]
    last = statuses[-1] if statuses else "none"
    now = "pending" if found["analysis_status"] == "running" else found["analysis_status"]  # one step, no event
    assert last == now
    states = Counter(
        row[0] for row in rows(agent, "SELECT status FROM security_agent.analysis WHERE log_id = %(l)s", l=log_id)
    )
    assert states.total() == made["analysis_started"]
    assert states["completed"] == made["analysis_completed"]
    assert states["failed"] == Counter(failed)["analysis_failed"]
    written = Counter(
        row[0] for row in rows(agent, "SELECT state FROM security_agent.write_back WHERE log_id = %(l)s", l=log_id)
    )
    assert written.total() == made["auto_dismissed"]
    assert written["completed"] == made["write_back_completed"]
    assert written["failed"] == Counter(failed)["write_back_completed"]
    waiting = Counter(
        row[0]
        for row in rows(
            agent,
            "SELECT task_name FROM jobs.procrastinate_jobs WHERE status = 'todo' AND args ->> 'log_id' = %(l)s",
            l=str(log_id),
        )
    )
    assert waiting["agent.write_back"] >= written["pending"]
    assert waiting["agent.analyze"] >= states["running"]


def converge(agent: Agent, owner: Owner, finding: UUID) -> None:
    """What is left behind is tidied up by itself: stale analyses end, jobs are done."""
    with agent.looking() as connection:
        connection.execute(
            "UPDATE security_agent.analysis SET requested_at = clock_timestamp() - interval '1 hour'"
            " WHERE log_id = %s AND status = 'pending'",
            (owner.log_id,),
        )
    end_stale(agent)
    agree(agent, owner, finding)


@pytest.mark.parametrize("manner", ["exception", "connection"])
@pytest.mark.parametrize("work", WORK)
def test_a_blow_after_any_statement_leaves_tables_and_log_agreeing(
    connected: Agent, github: StandIn, work: str, manner: Manner
) -> None:
    url = connected.log.database.url
    for after in range(1, 200):
        owner, finding, about = prepared(connected, github, work, after)
        with striking(url, after, manner) as blow, suppress(Struck, PermalogError, psycopg.Error):
            WORK[work](connected, owner, about)
        agree(connected, owner, finding)
        converge(connected, owner, finding)
        if not blow.fell:
            assert after > 5  # the blow fell in many places before
            return
    pytest.fail("the work has no end")


@pytest.mark.slow
@pytest.mark.parametrize("work", ["start", "dismiss"])
def test_a_killed_process_leaves_tables_and_log_agreeing(connected: Agent, github: StandIn, work: str) -> None:
    for after in range(1, 200):
        owner, finding, about = prepared(connected, github, work, after)
        given: dict[str, Any] = {
            "url": connected.log.database.url, "organization": str(owner.organization_id), "about": str(about),
            "work": work, "after": after,
            "github": {"app_id": github.app_id, "private_key": github.private_key, "api_url": github.url},
        }  # fmt: skip
        ended = subprocess.run(
            [sys.executable, "-m", "agent.striking", json.dumps(given)], cwd=TESTS, capture_output=True, check=False
        )
        agree(connected, owner, finding)
        converge(connected, owner, finding)
        if ended.returncode != DIED:
            assert ended.returncode == 0, ended.stderr.decode()
            assert after > 5
            return
    pytest.fail("the work has no end")


def test_github_and_the_tables_converge_after_a_blow_between_them(connected: Agent, github: StandIn) -> None:
    """Dismissed on GitHub, and then the connection died: nothing is claimed here, and dismissing again repairs it."""
    url = connected.log.database.url
    parted = 0
    for after in range(1, 100):
        owner, finding, _ = prepared(connected, github, "dismiss", after)
        with striking(url, after, "connection") as blow, suppress(Struck, PermalogError, psycopg.Error):
            WORK["dismiss"](connected, owner, finding)
        if not blow.fell:
            break
        agree(connected, owner, finding)
        there, here = github.world.alert(SHOP, after)["state"], row_of(connected, "finding", finding)["status"]
        if (there, here) == ("dismissed", "open"):
            parted += 1
            WORK["dismiss"](connected, owner, finding)
            agree(connected, owner, finding)
        assert (here == "ignored") <= (there == "dismissed")
    assert parted  # the blow fell between the two


def test_write_backs_converge_after_blows(connected: Agent, github: StandIn) -> None:
    """However often a job dies on the way, in the end GitHub has it dismissed once, and the log says so once."""
    url = connected.log.database.url
    owner, finding, about = prepared(connected, github, "write_back", 1)
    for after in range(1, 30):
        with striking(url, after, "connection"), suppress(Struck, PermalogError, psycopg.Error):
            WORK["write_back"](connected, owner, about)
    Worker(url, connected, Means()).run(until_idle=True)
    assert github.world.alert(SHOP, 1)["state"] == "dismissed"
    assert [e["outcome"] for e in events(connected, owner, "write_back_completed")] == ["success"]
    agree(connected, owner, finding)
