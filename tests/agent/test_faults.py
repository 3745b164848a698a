"""Whatever breaks, wherever: never a change without its event, nor an event without its change.

Each mutation and each background service is struck after each of its steps
(after every fifth, unless `make prove` asks for all); then the tables and the log must tell the
same story, and with what runs by itself (jobs, the minutely cleaning, the next scheduled sync) the tables and GitHub
must come to the same again, which the log must tell, too.
"""

from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID
from zlib import crc32

import psycopg
import pytest

from agent.agreeing import agree, events_of, rows, wake
from agent.mutations import WORK, Stage, looked
from agent.striking import PATIENT, Forks, Manner, Struck, striking
from github import ask, github
from permalog import PermalogError
from permalog_server.app import create_app
from permalog_server.standin import StandIn
from security_agent import sync
from security_agent.agent import Acting, Agent
from security_agent.analysis import Means, end_stale, run
from security_agent.errors import NotConnected, SyncFailed
from security_agent.jobs import Worker
from security_agent.queue import Task
from security_agent.sandbox import runner
from security_agent.write_back import write_back

MOST_STEPS = 200
EVERY = 5
"""Unless all is to be tried: strikes after every fifth step, of each work and manner at others."""
HERE = {"open": "open", "fixed": "fixed", "dismissed": "ignored", "auto_dismissed": "ignored"}
__all__ = ["github"]  # a fixture


@pytest.fixture
def connected(agent: Agent, github: StandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    """The agent with GitHub, and a sandbox that finds no use."""
    monkeypatch.setattr(runner, "analyze", looked)
    with ask(github, PATIENT) as client:
        yield replace(agent, github=client)


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    found = Forks()
    yield found
    found.close()


def test_every_mutation_and_every_background_service_is_struck(agent: Agent, tmp_path: Path) -> None:
    paths = create_app(agent.log, journal=tmp_path / "journal").openapi()["paths"]
    changing = {
        f"{method.upper()} {path.removeprefix('/v1')}"
        for path, methods in paths.items()
        for method in methods
        if path.startswith(("/v1/security-agent/", "/internal/", "/webhooks/")) and method != "get"
    }
    struck = {route for work in WORK.values() for route in work.routes}
    assert struck == {*changing, "GET /security-agent/installation", *Task}


def drain(stage: Stage) -> None:
    """Does what waits in the queue, as a worker does."""
    agent, owner = stage.agent, stage.owner
    waiting = "SELECT id, task_name, args FROM jobs.procrastinate_jobs WHERE args ->> 'log_id' = %s::uuid::text"
    for job, task, arguments in rows(agent, owner, f"{waiting} AND status = 'todo' ORDER BY id"):
        about = UUID(arguments["id"])
        if task == Task.ANALYZE:
            run(agent, Means(), owner.log_id, about)
        else:
            write_back(agent, owner.log_id, about)
        with agent.looking() as connection:
            connection.execute("DELETE FROM jobs.procrastinate_jobs WHERE id = %s", (job,))


def converge(stage: Stage) -> None:
    """Lets an hour pass, in which what runs by itself runs: then GitHub and the tables say the same."""
    agent, owner = stage.agent, stage.owner
    drain(stage)
    stage.age("analysis", "requested_at")
    end_stale(agent, owner.log_id)
    sync.end_lost(replace(agent, clock=lambda: agent.clock() + timedelta(hours=1)))
    told = agree(agent, owner)
    assert None not in told.syncs.values()
    assert not {"pending", "running"} & set(told.analyses.values())
    if told.integration is not None:
        suspended = stage.github.world.installations[stage.number].suspended_at is not None
        with suppress(NotConnected, SyncFailed) if suspended else nullcontext():
            sync.sync(agent, owner, Acting.alone("sync-scheduler", "cron"))
        drain(stage)
        told = agree(agent, owner)
        assert told.integration is not None
        assert told.integration["suspended"] == suspended
        there = {n: HERE[a["state"]] for n, a in stage.github.world.repositories[stage.repository].alerts.items()}
        assert {int(f["source_id"]): f["status"] for f in stage.findings()} == there
    with agent.looking() as connection:
        # Out of the way of the next round.
        connection.execute("UPDATE security_agent.owner SET enabled = false WHERE log_id = %s", (owner.log_id,))


@pytest.fixture
def places(request: pytest.FixtureRequest) -> range:
    """After which steps the blow is to fall."""
    if request.config.option.thorough:
        return range(1, MOST_STEPS)
    return range(1 + crc32(request.node.name.encode()) % EVERY, MOST_STEPS, EVERY)


@pytest.mark.slow
@pytest.mark.one_version
@pytest.mark.timeout(600)
@pytest.mark.parametrize("manner", ["exception", "connection", "process"])
@pytest.mark.parametrize("name", WORK)
def test_a_blow_after_any_step_leaves_tables_and_log_agreeing(
    connected: Agent, github: StandIn, forks: Forks, places: range, name: str, manner: Manner
) -> None:
    url, work = connected.log.database.url, WORK[name]
    for after in places:
        stage = Stage(connected, github, after)
        about = work.prepare(stage)
        agree(connected, stage.owner)
        before = len(events_of(connected, stage.owner))
        if manner == "process":
            fell = forks.strike(url, after, name, stage.owner, about, github)
        else:
            with striking(url, after, manner) as blow, suppress(Struck, PermalogError, psycopg.Error):
                work.do(connected, stage.owner, about)
            fell = blow.fell
        if manner == "connection":
            wake(connected)
        agree(connected, stage.owner)
        if not fell:
            assert work.leaves in {event["action"] for event in events_of(connected, stage.owner)[before:]}
            assert after > 3  # the blow fell in several places before
            return
        converge(stage)
    pytest.fail("the work has no end")


def test_write_backs_converge_after_blows(connected: Agent, github: StandIn) -> None:
    """However often a job dies on the way, in the end GitHub has it dismissed once, and the log says so once."""
    url, work = connected.log.database.url, WORK["write back"]
    stage = Stage(connected, github, 1)
    about = work.prepare(stage)
    for after in range(1, 30):
        with striking(url, after, "connection"), suppress(Struck, PermalogError, psycopg.Error):
            work.do(connected, stage.owner, about)
    wake(connected)
    Worker(url, connected, Means()).run(until_idle=True)
    assert github.world.alert(stage.repository, 1)["state"] == "dismissed"
    ends = [e["outcome"] for e in events_of(connected, stage.owner) if e["action"].endswith("write_back_completed")]
    assert ends == ["success"]
    agree(connected, stage.owner)
