"""Everything that changes something: each mutation and each background service, on a stage of its own."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from unittest.mock import patch
from uuid import UUID, uuid4

from agent.planting import ACTING
from github import open_alert
from permalog import Owner
from permalog_server.standin import StandIn
from security_agent import configuration, finding, installation, schedule, sync, webhooks
from security_agent.agent import Agent
from security_agent.alert import read_alert
from security_agent.analysis import Means, run, start
from security_agent.auto_dismiss import dismiss_eligible
from security_agent.callback import Callback, take
from security_agent.dismissal import dismiss
from security_agent.extraction import Exploitable, Extracted, Result, SuggestedAction
from security_agent.github.webhook import AlertNotice, InstallationNotice
from security_agent.intake import Intake
from security_agent.jobs import clean
from security_agent.queue import Task
from security_agent.write_back import write_back

SECRET = "internal-secret-of-the-tests"  # noqa: S105  none
HARMLESS: dict[str, Any] = {"severity": "low", "scope": "development"}
"""What the rules dismiss."""
GRAVE: dict[str, Any] = {"severity": "critical", "scope": "runtime"}
"""What only the code can tell."""
SAFE = Extracted(
    result=Result(
        exploitable=Exploitable.NO, reasoning="", suggested_action=SuggestedAction.DISMISS, summary="not used"
    ),
    extractor="runner",
)


def looked(*_: object, **__: object) -> Extracted:
    """A sandbox that finds no use."""
    return SAFE


def facts(repository: str, number: int, *, severity: str = "critical", scope: str = "runtime") -> dict[str, Any]:
    """An open alert of which only severity and scope tell anything."""
    raw = open_alert(repository, number)
    advisory = {**raw["security_advisory"], "severity": severity, "cwes": [], "summary": "Slow", "description": ""}
    return {
        **raw,
        "dependency": {**raw["dependency"], "scope": scope},
        "security_advisory": advisory,
        "security_vulnerability": {**raw["security_vulnerability"], "severity": severity},
    }


@dataclass
class Stage:
    """An owner with an installation of their own, one repository, and what happens there."""

    agent: Agent
    github: StandIn
    number: int

    def __post_init__(self) -> None:
        """Installs the App."""
        self.owner = Owner.organization(uuid4())
        self.repository = f"acme-{self.number}/shop"
        self.github.world.install(f"acme-{self.number}", [self.repository], id=self.number)

    def connect(self, **settings: Any) -> None:
        installation.connect(self.agent, self.owner, self.number, ACTING)
        configuration.save(self.agent, self.owner, None, {"enabled": True, **settings}, ACTING)

    def finding(self, number: int = 1, **given: Any) -> UUID:
        """A finding that is here and on GitHub."""
        raw = facts(self.repository, number, **given)
        self.github.world.put(self.repository, raw)
        place = self.github.world.repositories[self.repository].document["id"]
        with self.agent.changing(self.owner) as connection:
            Intake(self.agent, self.owner, place, self.repository, ACTING).take(connection, [read_alert(raw)])
        return next(f["id"] for f in self.findings() if f["source_id"] == str(number))

    def findings(self) -> list[dict[str, Any]]:
        return finding.page(self.agent, self.owner, limit=100).findings

    def age(self, table: str, column: str) -> None:
        """Makes rows of the owner an hour older."""
        with self.agent.looking() as connection:
            statement = f"UPDATE security_agent.{table} SET {column} = {column} - interval '1 hour' WHERE log_id = %s"
            connection.execute(statement, (self.owner.log_id,))  # pyright: ignore[reportArgumentType, reportCallIssue]


@dataclass(frozen=True)
class Work:
    """A mutation."""

    routes: tuple[str, ...]
    """Of the API, below ``/v1`` without it, or names of jobs."""
    leaves: str
    """The action that is on record when it is done."""
    prepare: Callable[[Stage], str]
    """Returns what it is about."""
    do: Callable[[Agent, Owner, str], object]


def _ready(stage: Stage) -> str:
    stage.connect()
    return ""


def _to_sync(stage: Stage) -> str:
    """News of every kind: created, fixed, dismissed and reopened there, another severity."""
    stage.connect()
    for number in range(1, 5):
        stage.finding(number)
    world, name = stage.github.world, stage.repository
    world.put(name, facts(name, 5))
    world.change(name, 1, state="fixed")
    world.change(name, 2, state="dismissed")
    world.change(name, 3, security_advisory={**world.alert(name, 3)["security_advisory"], "severity": "low"})
    return ""


def _harmless(stage: Stage) -> str:
    stage.connect(auto_dismiss=True)
    return str(stage.finding(**HARMLESS))


def _running(stage: Stage) -> str:
    """An analysis that needs the code."""
    stage.connect(auto_dismiss=True)
    return str(start(stage.agent, Means(), stage.owner, stage.finding(**GRAVE), ACTING).id)


def _called_back(stage: Stage) -> str:
    _running(stage)
    return str(stage.findings()[0]["id"])


def _dismissed(stage: Stage) -> str:
    start(stage.agent, Means(), stage.owner, UUID(_harmless(stage)), ACTING)
    with stage.agent.looking() as connection:
        query = "SELECT id FROM security_agent.write_back WHERE log_id = %s"
        row = connection.execute(query, (stage.owner.log_id,)).fetchone()
    assert row is not None
    return str(row[0])


def _eligible(stage: Stage) -> str:
    stage.connect()
    for number in (1, 2):
        start(stage.agent, Means(), stage.owner, stage.finding(number, **HARMLESS), ACTING)
    configuration.save(stage.agent, stage.owner, None, {"auto_dismiss": True}, ACTING)
    return ""


def _several(stage: Stage) -> str:
    stage.connect()
    for number in range(1, 6):
        stage.finding(number)
    return stage.repository


def _stalled(stage: Stage) -> str:
    """An analysis and a sync whose processes died long ago."""
    _running(stage)
    stage.age("analysis", "requested_at")
    earlier = replace(stage.agent, clock=lambda: stage.agent.clock() - timedelta(hours=1))
    sync.begin(earlier, stage.owner, ACTING)
    return ""


def _linked(stage: Stage) -> str:
    return f"{stage.number} {installation.begin_link(stage.agent, stage.owner)}"


def _finish_link(agent: Agent, owner: Owner, about: str) -> object:
    number, _, state = about.partition(" ")
    return installation.finish_link(agent, owner, int(number), state, ACTING)


def _told_of_a_fix(stage: Stage) -> str:
    stage.connect()
    stage.finding()
    stage.github.world.change(stage.repository, 1, state="fixed")
    return f"{stage.number} {json.dumps(stage.github.world.alert(stage.repository, 1))}"


def _suspended(stage: Stage) -> str:
    stage.connect()
    stage.github.world.suspend(stage.number)
    return str(stage.number)


def _alert(agent: Agent, _: Owner, about: str) -> object:
    number, alert = about.split(" ", 1)
    (repository,) = next(agent.asking().repositories(int(number)))
    return webhooks.take(agent, "d-1", AlertNotice("fixed", int(number), repository, json.loads(alert)))


def _suspension(agent: Agent, _: Owner, about: str) -> object:
    told = agent.asking().installation(int(about))
    return webhooks.take(agent, "d-1", InstallationNotice("suspend", told))


def _few() -> AbstractContextManager[object]:
    """Deletes two findings at once, so that there are several transactions."""
    return patch.object(finding, "AT_ONCE", 2)


def _delete(agent: Agent, owner: Owner, about: str) -> object:
    with _few():
        return finding.delete(agent, owner, about, ACTING, "c-1")


AGENT = "/security-agent"
WORK: dict[str, Work] = {
    "save": Work(
        (f"PUT {AGENT}/config",), "security.config.updated", _ready,
        lambda agent, owner, _: configuration.save(agent, owner, None, {"sla_high_days": 7}, ACTING),
    ),
    "set enabled": Work(
        (f"PUT {AGENT}/enabled",), "security.config.disabled", _ready,
        lambda agent, owner, _: configuration.set_enabled(agent, owner, ACTING, enabled=False),
    ),
    "sync": Work(
        (f"POST {AGENT}/sync",), "security.sync.completed", _to_sync, lambda a, owner, _: sync.sync(a, owner, ACTING)
    ),
    "dismiss": Work(
        (f"POST {AGENT}/findings/{{finding_id}}/dismiss",), "security.finding.dismissed", _harmless,
        lambda agent, owner, about: dismiss(agent, owner, UUID(about), ACTING, "not_used", "as tried"),
    ),
    "start": Work(
        (f"POST {AGENT}/findings/{{finding_id}}/analysis",), "security.finding.auto_dismissed", _harmless,
        lambda agent, owner, about: start(agent, Means(), owner, UUID(about), ACTING),
    ),
    "delete": Work((f"DELETE {AGENT}/findings",), "security.finding.deleted", _several, _delete),
    "bulk": Work(
        (f"POST {AGENT}/auto-dismiss",), "security.finding.auto_dismissed", _eligible,
        lambda agent, owner, _: dismiss_eligible(agent, owner, ACTING),
    ),
    "connect": Work((f"GET {AGENT}/installation",), "security.installation.connected", _linked, _finish_link),
    "call back": Work(
        ("POST /internal/analysis-callback/{finding_id}",), "security.finding.auto_dismissed", _called_back,
        lambda agent, _, about: take(
            agent, Means(), UUID(about), SECRET, SECRET, Callback(result=SAFE.result.model_dump(mode="json"))
        ),
    ),
    "webhook of an alert": Work(
        ("POST /webhooks/github",), "security.finding.status_change", _told_of_a_fix, _alert
    ),
    "webhook of an installation": Work(
        ("POST /webhooks/github",), "security.installation.suspended", _suspended, _suspension
    ),
    "scheduled sync": Work(
        ("POST /internal/sync", Task.SYNC_ALL.value), "security.sync.completed", _to_sync,
        lambda agent, _, __: schedule.sync_all(agent),
    ),
    "run": Work(
        (Task.ANALYZE.value,), "security.finding.auto_dismissed", _running,
        lambda agent, owner, about: run(agent, Means(), owner.log_id, UUID(about)),
    ),
    "write back": Work(
        (Task.WRITE_BACK.value,), "security.finding.write_back_completed", _dismissed,
        lambda agent, owner, about: write_back(agent, owner.log_id, UUID(about)),
    ),
    "clean": Work((Task.CLEAN.value,), "security.finding.analysis_failed", _stalled, lambda agent, _, __: clean(agent)),
}  # fmt: skip
