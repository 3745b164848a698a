"""Taking in alerts from the source: what is new or changed becomes findings and events, in one transaction.

Sync brings pages, webhooks single alerts; both come here. Whoever finds a finding locked waits, then compares the
source's times: what is older than what is known changes nothing, so that both make one history. The same alert again
writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

import orjson

from permalog import Event, Personal, Resource
from security_agent.actions import FINDING
from security_agent.alert import SOURCE, AlertFacts, Status
from security_agent.deadline import Policy, Severity, deadline
from security_agent.snapshot import Snapshot, plain
from security_agent.sql import query

if TYPE_CHECKING:
    from collections.abc import Sequence

    from permalog import Connection, Owner
    from security_agent.agent import Acting, Agent


class Taken(NamedTuple):
    """What became of alerts."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0

    def and_(self, other: Taken) -> Taken:
        """Both together."""
        return Taken(self.created + other.created, self.updated + other.updated, self.unchanged + other.unchanged)


class _Known(NamedTuple):
    """A finding as it is, locked; the columns of the query ``lock``."""

    source_id: str
    id: UUID
    digest: bytes
    source_updated_at: datetime
    status: Status
    severity: Severity
    ignored_reason: str | None
    first_detected_at: datetime
    deadline: datetime | None
    is_ours: bool
    """Not dismissed on GitHub: whoever dismissed it, did so here."""
    written_at: datetime
    """When it was last written, by our clock."""


@dataclass(frozen=True, slots=True)
class Intake:
    """Where alerts come in: one repository of one owner, in one operation."""

    agent: Agent
    owner: Owner
    repository_id: int
    repository: str
    """``owner/name``."""
    acting: Acting
    correlation_id: str | None = None

    def take(self, connection: Connection, alerts: Sequence[AlertFacts], asked_at: datetime | None = None) -> Taken:
        """Takes in alerts, each number once, in the connection's transaction.

        Args:
            connection: in a transaction.
            alerts: as they were read.
            asked_at: when the source was asked for them, by our clock; None: it told of them by itself. The source's
                times are whole seconds: of two states within one, what was asked for after the finding was last written
                is the newer one, and of anything else nobody knows; the next sync will.
        """
        by_id = {alert["source_id"]: alert for alert in alerts}
        known = dict(connection.execute(query("intake", "known"), self._place(by_id)).fetchall())
        new = [alert for number, alert in by_id.items() if number not in known]
        changed = {n for n, alert in by_id.items() if n in known and not _is_same(known[n], alert)}
        events: list[Event] = []
        created = self._add(connection, new, events) if new else set[str]()
        # What another has added since `known` was read is compared like everything that is known.
        changed |= {alert["source_id"] for alert in new} - created
        updated = self._change(connection, {n: by_id[n] for n in changed}, asked_at, events) if changed else 0
        self.agent.log.record_all(events, connection)
        return Taken(len(created), updated, len(by_id) - len(created) - updated)

    def _place(self, numbers: Any = ()) -> dict[str, Any]:  # noqa: ANN401
        return {
            "log": self.owner.log_id, "repository_id": self.repository_id, "repository": self.repository,
            "source": SOURCE, "source_ids": sorted(numbers), "now": self.agent.clock(),
        }  # fmt: skip

    def _add(self, connection: Connection, alerts: list[AlertFacts], events: list[Event]) -> set[str]:
        row = connection.execute(query("configuration", "policy"), {"log": self.owner.log_id}).fetchone()
        policy = Policy(*row) if row else Policy()
        deadlines = {a["source_id"]: deadline(a["severity"], a["first_detected_at"], policy) for a in alerts}
        rows = orjson.dumps([{**alert, "deadline": deadlines[alert["source_id"]]} for alert in alerts]).decode()
        added: dict[str, UUID] = dict(
            connection.execute(query("intake", "add"), {**self._place(), "alerts": rows}).fetchall()
        )
        events += [
            self._created(alert, added[number], deadlines[number])
            for alert in alerts
            if (number := alert["source_id"]) in added
        ]
        return set(added)

    def _change(
        self, connection: Connection, alerts: dict[str, AlertFacts], asked_at: datetime | None, events: list[Event]
    ) -> int:
        """Locks, compares, writes; how many findings changed."""
        locked = [_Known(*row) for row in connection.execute(query("intake", "lock"), self._place(alerts)).fetchall()]
        fresh = [one for one in locked if self._brings_news(one, alerts[one.source_id], asked_at)]
        unwritten = self._unwritten(connection, [one for one in fresh if one.status == "ignored" and one.is_ours])
        rows: list[dict[str, Any]] = []
        for one in fresh:
            alert = alerts[one.source_id]
            status: Status = "ignored" if one.id in unwritten and alert["status"] == "open" else alert["status"]
            keep = status == one.status == "ignored" and one.is_ours
            rows.append({**alert, "id": one.id, "status": status, "keep": keep})
            events += self._changes(one, alert, status)
        if rows:
            parameters = {**self._place(), "alerts": orjson.dumps(rows).decode()}
            connection.execute(query("intake", "change"), parameters)
        return len(rows)

    @staticmethod
    def _brings_news(known: _Known, alert: AlertFacts, asked_at: datetime | None) -> bool:
        if alert["source_updated_at"] == known.source_updated_at:
            is_newer = asked_at is not None and known.written_at <= asked_at
        else:
            is_newer = alert["source_updated_at"] > known.source_updated_at
        return is_newer and not _is_same(known.digest, alert)

    def _unwritten(self, connection: Connection, candidates: list[_Known]) -> set[UUID]:
        """Those dismissed here of which the source does not know yet: that it calls them open undoes nothing."""
        if not candidates:
            return set()
        parameters = {"log": self.owner.log_id, "findings": [one.id for one in candidates]}
        return {id for (id,) in connection.execute(query("intake", "unwritten"), parameters)}  # noqa: A001  what it is

    def _event(self, action: str, snapshot: Snapshot, metadata: dict[str, Any], **states: Any) -> Event:  # noqa: ANN401
        return Event(
            owner=self.owner, action=f"security.finding.{action}", actor=self.acting.actor, source=self.acting.source,
            resource=Resource(FINDING, str(snapshot.id)), correlation_id=self.correlation_id,
            metadata={"finding": snapshot.as_payload(), **{k: v for k, v in metadata.items() if v is not None}},
            **states,
        )  # fmt: skip

    def _created(self, alert: AlertFacts, id: UUID, due: datetime) -> Event:
        metadata = {
            "alert_number": int(alert["source_id"]), "deadline": due, "source_state": alert["source_state"],
            "fixed_at": alert["fixed_at"], "ignored_at": alert["ignored_at"], "reason": _reason(alert),
            "github_login": _login(alert),
        }  # fmt: skip
        snapshot = self._snapshot(alert, id, alert["status"], due)
        return self._event(
            "created", snapshot, metadata, after_state={"status": alert["status"], "severity": alert["severity"]}
        )

    def _changes(self, known: _Known, alert: AlertFacts, status: Status) -> list[Event]:
        snapshot = self._snapshot(alert, known.id, status, known.deadline)
        events: list[Event] = []
        if alert["severity"] != known.severity:
            metadata: dict[str, Any] = {"source_updated_at": alert["source_updated_at"]}
            before, after = {"severity": known.severity}, {"severity": alert["severity"]}
            events.append(self._event("severity_changed", snapshot, metadata, before_state=before, after_state=after))
        if status != known.status:
            metadata = {
                "source_state": alert["source_state"], "source_updated_at": alert["source_updated_at"],
                "fixed_at": alert["fixed_at"], "github_login": _login(alert),
                "comment": _personal("comment", alert["ignored_comment"]),
            }  # fmt: skip
            before, after = _state(known.status, known.ignored_reason), _state(status, _reason(alert))
            events.append(self._event("status_change", snapshot, metadata, before_state=before, after_state=after))
        return events

    def _snapshot(self, alert: AlertFacts, id: UUID, status: Status, due: datetime | None) -> Snapshot:
        return Snapshot(
            id, self.repository, SOURCE, alert["source_id"], alert["ghsa_id"], alert["cve_id"], alert["title"],
            alert["package"], alert["ecosystem"], alert["severity"], status, alert["first_detected_at"], due,
        )  # fmt: skip


def _is_same(digest: bytes, alert: AlertFacts) -> bool:
    return "\\x" + digest.hex() == alert["digest"]


def _state(status: Status, reason: str | None) -> dict[str, Any]:
    return {"status": status, "reason": plain(reason)} if status == "ignored" and reason else {"status": status}


def _reason(alert: AlertFacts) -> str | None:
    return plain(alert["ignored_reason"]) if alert["ignored_reason"] else None


def _login(alert: AlertFacts) -> Personal | None:
    return _personal("github_login", alert["ignored_by"])


_LONGEST: Final = 2048
"""Of a personal value."""


def _personal(kind: str, value: str | None) -> Personal | None:
    return Personal(kind, value[:_LONGEST]) if value else None
