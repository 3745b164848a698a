"""The security agent at work in `permalog demo`: everything here happens, with a stand-in in GitHub's place.

A sample organisation connects its installation, syncs, has findings analysed, dismisses some, changes its deadlines;
somebody who may not tries to; then things change on GitHub, and the next sync finds them.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from permalog_server.administration import Administration
from permalog_server.sample import NORTHWIND, PEOPLE
from permalog_server.sample_github import API, INSTALLATION, LATE, SHOP, put
from security_agent import analysis, callback, configuration, dismissal, finding, installation, sync, write_back
from security_agent.agent import Acting, Agent
from security_agent.analysis import Means
from security_agent.queue import forget_jobs

if TYPE_CHECKING:
    from collections.abc import Generator
    from datetime import date
    from uuid import UUID

    from fastapi import FastAPI

    from permalog import Actor
    from permalog_server.accounts import Accounts, Role
    from permalog_server.standin import World
    from security_agent.case import Case

LEAD, DEVELOPER = PEOPLE
_LEAD, _DEVELOPER = Acting(LEAD, "web"), Acting(DEVELOPER, "web")
_WISHES: Final = {
    "auto_dismiss": True,
    # Nothing at GitHub's own address knows this installation: a schedule would only find it removed.
    "automatic_sync": False,
}
_RESULT: Final = {
    "exploitable": "yes", "reasoning": "Uploads of customers are opened by `photos.py` as they come.",
    "usage_locations": ["shop/photos.py:41"], "suggested_fix": "Install pillow 8.1.1 or later.",
    "suggested_action": "open_pr", "summary": "Pillow decodes files that anybody may send.",
}  # fmt: skip


class Toured(NamedTuple):
    """What there is after the tour."""

    is_new: bool
    """False: an earlier run had done it all."""
    open: int
    fixed: int
    ignored: int


@dataclass(slots=True)
class _Runner:
    """An external runner that keeps what it is ordered to do."""

    tokens: list[str] = field(default_factory=list)

    def order(self, case: Case, analysis_id: UUID, token: str) -> None:
        """Takes an order."""
        del case, analysis_id
        self.tokens.append(token)


def tour(agent: Agent, app: FastAPI, office: Administration, world: World, last_day: date) -> Toured:
    """Lets the agent work once; where it has done so before, nothing happens.

    Args:
        agent: with the stand-in's GitHub.
        app: the API, which refuses somebody.
        office: what gives people their roles, on record.
        world: what the stand-in holds.
        last_day: of the sample.
    """
    is_new = installation.read(agent, NORTHWIND) is None
    if is_new:
        _join(office, app.state.desk.accounts)
        _begin(agent)
        _judge(agent)
        configuration.save(agent, NORTHWIND, None, {"sla_high_days": 21}, _LEAD)
        _refuse(app, office)
        _go_on(agent, world, last_day)
    counts = {status: finding.page(agent, NORTHWIND, status=status).total for status in ("open", "fixed", "ignored")}
    return Toured(is_new, **counts)


def _join(office: Administration, accounts: Accounts) -> None:
    organization = NORTHWIND.organization_id
    if organization is None:
        raise AssertionError  # it is one
    roles: tuple[tuple[Actor, Role], ...] = ((LEAD, "admin"), (DEVELOPER, "member"))
    for person, role in roles:
        accounts.ensure_person(_id(person), email=person.email, name=person.name)
        office.join(_id(person), organization, role)


def _begin(agent: Agent) -> None:
    installation.connect(agent, NORTHWIND, INSTALLATION, _LEAD)
    configuration.set_enabled(agent, NORTHWIND, _LEAD, enabled=True, changes=_WISHES)
    sync.sync(agent, NORTHWIND, _DEVELOPER)


def _judge(agent: Agent) -> None:
    """Triage dismisses what only developers have; a runner looks at the code; a person decides on the rest."""
    runner = _Runner()
    means = Means(runner=runner)
    for repository, number in ((SHOP, 6), (API, 3)):
        analysis.start(agent, means, NORTHWIND, _finding(agent, repository, number), _DEVELOPER)
    _tell_github(agent)
    _look_at_the_code(agent, means, runner, _finding(agent, SHOP, 2))
    jinja, urllib = _finding(agent, SHOP, 3), _finding(agent, SHOP, 4)
    dismissal.dismiss(agent, NORTHWIND, jinja, _LEAD, "not_used", "Templates are ours; nobody else writes any.")
    dismissal.dismiss(
        agent, NORTHWIND, urllib, _LEAD, "tolerable_risk", "We send no secrets in bodies to foreign hosts."
    )


def _look_at_the_code(agent: Agent, means: Means, runner: _Runner, finding_id: UUID) -> None:
    started = analysis.start(agent, means, NORTHWIND, finding_id, _DEVELOPER)
    analysis.run(agent, means, NORTHWIND.log_id, started.id)
    (token,) = runner.tokens
    callback.take(agent, means, finding_id, token, None, callback.Callback(result=_RESULT))


def _tell_github(agent: Agent) -> None:
    """Not by the queue: a worker would do other owners' jobs, too, and ask the stand-in about them."""
    for order in write_back.pending(agent, NORTHWIND):
        write_back.write_back(agent, NORTHWIND.log_id, order)


def _refuse(app: FastAPI, office: Administration) -> None:
    """A member tries to give everybody a year; the API says no, and the log says who it was."""
    until = datetime.now(UTC) + timedelta(minutes=5)
    issued = office.issue(_id(DEVELOPER), expires_at=until)
    with _quietly():
        asyncio.run(_ask(app, issued.token))
    office.revoke(issued.id)


@contextmanager
def _quietly() -> Generator[None]:
    """The service tells of each request; who looks at the sample did not ask for one."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    try:
        yield
    finally:
        structlog.configure(**before)


async def _ask(app: FastAPI, token: str) -> None:
    import httpx  # noqa: PLC0415  slow to load

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://demo.example", trust_env=False) as client:
        path = f"/v1/organizations/{NORTHWIND.organization_id}/security-agent/config"
        headers = {"Authorization": f"Bearer {token}", "User-Agent": "a-browser"}
        answer = await client.put(path, json={"revision": 2, "sla_critical_days": 365}, headers=headers)
    if answer.status_code != HTTPStatus.FORBIDDEN:
        raise RuntimeError(f"the sample's developer was answered {answer.status_code}")


def _go_on(agent: Agent, world: World, last_day: date) -> None:
    """One alert is fixed, one dismissed on GitHub itself, one is new: the schedule's sync finds them."""
    world.change(SHOP, 1, state="fixed")
    world.change(API, 1, state="dismissed", dismissed_comment="Our proxy shortens headers.")
    put(world, LATE, last_day)
    sync.sync(agent, NORTHWIND, Acting.alone("sync-scheduler", "cron"), trigger="scheduled")
    with agent.changing(NORTHWIND) as connection:
        forget_jobs(connection, NORTHWIND.log_id)  # what they were to do is done


def _finding(agent: Agent, repository: str, number: int) -> UUID:
    for one in finding.page(agent, NORTHWIND, repository=repository, limit=100).findings:
        if one["source_id"] == str(number):
            found: UUID = one["id"]
            return found
    raise AssertionError  # the stand-in has it


def _id(person: Actor) -> str:
    if person.id is None:
        raise AssertionError  # they are users
    return person.id
