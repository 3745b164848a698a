"""What keeps the queue honest: jobs that were lost, given up or done long ago, and syncs whose process died."""

import uuid
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from agent.planting import ACTING, DEVELOPMENT, GRAVE, events, plant, row_of, rows
from github import ask, github
from permalog import Owner
from permalog_server.standin import StandIn
from security_agent import installation, sync
from security_agent.agent import Agent
from security_agent.analysis import Means, start
from security_agent.jobs import Worker, clean, jobs

__all__ = ["github"]  # a fixture


@pytest.fixture
def owner() -> Owner:
    return Owner.organization(uuid.uuid4())


def queued(agent: Agent) -> list[tuple[str, str]]:
    """Tasks and states of the queue, oldest first."""
    return [(job["task"], job["status"]) for job in reversed(jobs(agent))]


def change(agent: Agent, statement: str) -> None:
    with agent.looking() as connection:
        connection.execute(statement)  # pyright: ignore[reportArgumentType, reportCallIssue]


@pytest.mark.parametrize("how", ["given up", "lost"])
def test_a_write_back_without_a_job_gets_another_one(agent: Agent, owner: Owner, how: str) -> None:
    start(agent, Means(), owner, plant(agent, owner, auto_dismiss=True, **DEVELOPMENT), ACTING)
    ended = "UPDATE jobs.procrastinate_jobs SET status = 'failed'"
    change(agent, ended if how == "given up" else "DELETE FROM jobs.procrastinate_jobs")
    clean(agent)
    assert ("agent.write_back", "todo") not in queued(agent), "it was due a moment ago"
    change(agent, "UPDATE security_agent.write_back SET next_attempt_at = next_attempt_at - interval '6 minutes'")
    clean(agent)
    clean(agent)
    assert queued(agent).count(("agent.write_back", "todo")) == 1
    ((about,),) = rows(agent, "SELECT id FROM security_agent.write_back")
    assert jobs(agent)[0]["about"] == str(about)


def test_a_write_back_that_waits_for_its_next_attempt_has_its_job(agent: Agent, owner: Owner) -> None:
    start(agent, Means(), owner, plant(agent, owner, auto_dismiss=True, **DEVELOPMENT), ACTING)
    change(agent, "UPDATE security_agent.write_back SET next_attempt_at = next_attempt_at - interval '1 day'")
    clean(agent)
    assert queued(agent) == [("agent.write_back", "todo")]


def test_a_job_of_a_worker_that_is_gone_is_another_ones(agent: Agent, owner: Owner) -> None:
    one = start(agent, Means(), owner, plant(agent, owner, **GRAVE), ACTING)
    change(
        agent,
        "WITH gone AS (INSERT INTO jobs.procrastinate_workers (last_heartbeat)"
        " VALUES (clock_timestamp() - interval '2 minutes') RETURNING id)"
        " UPDATE jobs.procrastinate_jobs SET status = 'doing', worker_id = (SELECT id FROM gone)",
    )
    clean(agent)
    assert queued(agent) == [("agent.analyze", "todo")]
    Worker(agent.log.database.url, agent, Means(clone_from="/nowhere/{repository}")).run(until_idle=True)
    assert row_of(agent, "analysis", one.id)["failure_code"] == "clone_failed", "it was done"


def test_a_job_of_a_worker_that_lives_stays_with_it(agent: Agent, owner: Owner) -> None:
    start(agent, Means(), owner, plant(agent, owner, **GRAVE), ACTING)
    change(
        agent,
        "WITH living AS (INSERT INTO jobs.procrastinate_workers DEFAULT VALUES RETURNING id)"
        " UPDATE jobs.procrastinate_jobs SET status = 'doing', worker_id = (SELECT id FROM living)",
    )
    clean(agent)
    assert queued(agent) == [("agent.analyze", "doing")]


@pytest.mark.parametrize(("status", "days", "stays"), [
    ("succeeded", 6, True), ("succeeded", 8, False), ("failed", 8, True), ("failed", 31, False), ("todo", 400, True),
])  # fmt: skip
def test_what_ended_long_ago_is_swept(agent: Agent, owner: Owner, status: str, days: int, stays: bool) -> None:  # noqa: FBT001
    start(agent, Means(), owner, plant(agent, owner, **GRAVE), ACTING)
    change(agent, f"UPDATE jobs.procrastinate_jobs SET status = '{status}'")
    change(agent, f"UPDATE jobs.procrastinate_events SET at = at - interval '{days} days'")
    clean(agent)
    assert bool(jobs(agent)) == stays


def test_a_sync_whose_process_died_is_on_record_within_minutes(agent: Agent, owner: Owner, github: StandIn) -> None:
    number = github.world.install("northwind", ["northwind/shop"])
    with ask(github) as client:
        made = replace(agent, github=client)
        installation.connect(made, owner, number, ACTING)
        begun = sync.begin(replace(made, clock=lambda: agent.clock() - timedelta(minutes=31)), owner, ACTING)
    clean(agent)
    clean(agent)
    (ended,) = [one for one in events(agent, owner) if one["action"] == "security.sync.completed"]
    assert (ended["outcome"], ended["metadata"]["error"]) == ("failure", "interrupted")
    assert UUID(ended["correlation_id"]) == begun.id
    assert (ended["actor"]["type"], ended["actor"]["id"]) == ("user", "u_ada"), "never the system for a person's"
