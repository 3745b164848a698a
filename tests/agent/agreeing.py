"""The tables of an owner held to their log: what the events tell, one after the other, is what the tables hold."""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson
import psycopg

from permalog import Owner
from security_agent import configuration, installation
from security_agent.agent import Agent

Row = dict[str, Any]
SUCCESS, FAILURE = "success", "failure"


def events_of(agent: Agent, owner: Owner) -> list[Row]:
    """All of the owner's events, oldest first."""
    found: list[Row] = []
    cursor = None
    while True:
        page = orjson.loads(agent.log.list(owner, limit=100, before=cursor).to_json())
        found += page["events"]
        cursor = page["next_cursor"]
        if not page["has_next"]:
            return found[::-1]


@dataclass
class Told:
    """What the events tell so far."""

    findings: dict[str, Row] = field(default_factory=dict[str, Row])
    analyses: dict[str, str] = field(default_factory=dict[str, str])
    of_finding: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Analyses of each, in order."""
    write_backs: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """States of each finding's."""
    syncs: dict[str, str | None] = field(default_factory=dict[str, str | None])
    config: Row | None = None
    integration: Row | None = None

    def take(self, event: Row) -> None:
        """Each event begins where the one before it has ended."""
        _, kind, what = event["action"].split(".")
        about, outcome = event["resource"]["id"], event["outcome"]
        before, after = event["before_state"], event["after_state"]
        if kind == "finding":
            getattr(self, f"_{what}", self._changed)(about, outcome, before, after, event)
        elif kind == "config":
            assert self.config in (None, before)
            self.config = after
        elif kind == "installation":
            assert before == self.integration
            self.integration = after
        elif what == "triggered":
            assert event["correlation_id"] not in self.syncs
            self.syncs[event["correlation_id"]] = None
        else:
            assert self.syncs[event["correlation_id"]] is None, "a sync ends once"
            self.syncs[event["correlation_id"]] = outcome

    def _created(self, about: str, _: str, __: Row, after: Row, ___: Row) -> None:
        assert about not in self.findings
        self.findings[about] = {"status": after["status"], "severity": after["severity"]}

    def _changed(self, about: str, outcome: str, before: Row, after: Row, _: Row) -> None:
        """`status_change`, `severity_changed`, `dismissed`."""
        known = self.findings[about]
        kept = known.keys()
        assert {k: v for k, v in before.items() if k in kept} == {k: known[k] for k in before if k in kept}
        if outcome == SUCCESS:
            known |= {k: v for k, v in after.items() if k in kept}
        else:
            assert after["status"] == before["status"], "what has failed has changed nothing"

    def _auto_dismissed(self, about: str, outcome: str, before: Row, after: Row, event: Row) -> None:
        self._changed(about, outcome, before, after, event)
        self.write_backs.setdefault(about, []).append("pending")

    def _write_back_completed(self, about: str, outcome: str, *_: Row) -> None:
        states = self.write_backs[about]
        states[states.index("pending")] = "completed" if outcome == SUCCESS else "failed"

    def _analysis_started(self, about: str, _: str, __: Row, ___: Row, event: Row) -> None:
        one = event["metadata"]["analysis_id"]
        assert one not in self.analyses
        self.analyses[one] = "pending"
        self.of_finding.setdefault(about, []).append(one)

    def _analysis_completed(self, _: str, __: str, ___: Row, after: Row, event: Row) -> None:
        one = event["metadata"]["analysis_id"]
        assert self.analyses[one] == "pending", "an analysis ends once"
        self.analyses[one] = after["analysis_status"]

    _analysis_failed = _analysis_completed

    def _deleted(self, about: str, _: str, before: Row, *__: Row) -> None:
        assert self.findings.pop(about)["status"] == before["status"]
        self.write_backs.pop(about, None)
        for one in self.of_finding.pop(about, []):
            del self.analyses[one]


def rows(agent: Agent, owner: Owner, statement: str) -> list[tuple[Any, ...]]:
    with agent.looking() as connection:
        return connection.execute(statement, (owner.log_id,)).fetchall()  # pyright: ignore[reportArgumentType, reportCallIssue]


def wake(agent: Agent) -> None:
    """The pool takes one after the other: a connection that was killed while idle is found out here."""
    for _ in range(10):
        with suppress(psycopg.Error), agent.looking() as connection:
            connection.execute("SELECT")


def agree(agent: Agent, owner: Owner) -> Told:
    """Never a change without its event, nor an event without its change."""
    told = Told()
    for event in events_of(agent, owner):
        told.take(event)
    findings = rows(agent, owner, "SELECT id, status, severity FROM security_agent.finding WHERE log_id = %s")
    assert {str(f): {"status": status, "severity": severity} for f, status, severity in findings} == told.findings
    analyses = dict(rows(agent, owner, "SELECT id::text, status FROM security_agent.analysis WHERE log_id = %s"))
    # From pending to running is a step within an analysis, and no event.
    assert {one: "pending" if s == "running" else s for one, s in analyses.items()} == told.analyses
    latest = {
        str(f): (one and str(one), status)
        for f, one, status in rows(
            agent, owner, "SELECT id, analysis_id, analysis_status FROM security_agent.finding WHERE log_id = %s"
        )
    }
    assert latest == {
        f: (told.of_finding[f][-1], analyses[told.of_finding[f][-1]]) if f in told.of_finding else (None, "none")
        for f in told.findings
    }
    written: dict[str, list[str]] = {}
    query = "SELECT finding_id::text, state FROM security_agent.write_back WHERE log_id = %s ORDER BY requested_at"
    for f, state in rows(agent, owner, query):
        written.setdefault(f, []).append(state)
    assert written == told.write_backs
    syncs = dict(rows(agent, owner, "SELECT id::text, outcome FROM security_agent.sync WHERE log_id = %s"))
    assert syncs == told.syncs
    if told.config is not None:
        assert configuration.read(agent, owner).state() == told.config
    bound = installation.read(agent, owner)
    assert (bound is None) == (told.integration is None)
    if bound and told.integration:
        assert told.integration.items() >= {"account": bound.account, "suspended": bound.suspended_at is not None,
                                            "removed": bound.removed_at is not None}.items()  # fmt: skip
    _jobs_wait(agent, owner, analyses, written)
    return told


def _jobs_wait(agent: Agent, owner: Owner, analyses: dict[str, str], written: dict[str, list[str]]) -> None:
    """Whatever is to be done has somebody to do it."""
    jobs = Counter(
        task for (task,) in rows(
            agent, owner,
            "SELECT task_name FROM jobs.procrastinate_jobs WHERE status IN ('todo', 'doing')"
            " AND args ->> 'log_id' = %s::uuid::text",
        )
    )  # fmt: skip
    assert jobs["agent.write_back"] >= sum(states.count("pending") for states in written.values())
    assert jobs["agent.analyze"] >= list(analyses.values()).count("running")
