"""Sample events for `permalog demo`: written by us, the same every time, ending at a day of the caller's choice.

Two organisations and one person, four weeks; every event as the agent would have recorded it. The advisories are real
ones, the people are roles.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID, uuid5

from permalog import Actor, Event, Owner, Personal, Resource
from security_agent.actions import CONFIG, FINDING
from security_agent.agent import owner_id
from security_agent.configuration import Configuration
from security_agent.deadline import Severity, deadline
from security_agent.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from security_agent.alert import Status
    from security_agent.payloads import AnalysisStatus

DAYS: Final = 28
NORTHWIND: Final = Owner.organization(UUID("5a3c1e00-0000-4000-8000-000000000001"))
HARBOUR: Final = Owner.organization(UUID("5a3c1e00-0000-4000-8000-000000000002"))
PERSON: Final = Owner.user("sample_maintainer")
OWNERS: Final = (NORTHWIND, HARBOUR, PERSON)


class Advisory(NamedTuple):
    """A published advisory."""

    ghsa_id: str
    cve_id: str
    package: str
    ecosystem: str
    severity: Severity
    title: str


ADVISORIES: Final = (
    Advisory("GHSA-jfh8-c2jp-5v3q", "CVE-2021-44228", "org.apache.logging.log4j:log4j-core", "maven", "critical",
             "Remote code injection in Log4j"),
    Advisory("GHSA-35jh-r3h4-6jhm", "CVE-2021-23337", "lodash", "npm", "high", "Command injection in lodash"),
    Advisory("GHSA-2gwj-7jmv-h26r", "CVE-2022-28346", "django", "pip", "high", "SQL injection by column aliases"),
    Advisory("GHSA-57h3-9rgr-c24m", "CVE-2021-25289", "pillow", "pip", "critical", "Heap overflow in TIFF decoding"),
    Advisory("GHSA-462w-v97r-4m45", "CVE-2019-10906", "jinja2", "pip", "medium", "Sandbox escape by str.format_map"),
    Advisory("GHSA-5phf-pp7p-vc2r", "CVE-2021-28363", "urllib3", "pip", "low", "Proxies' certificates unchecked"),
    Advisory("GHSA-2rxp-v6pw-ch6m", "CVE-2024-49761", "rexml", "rubygems", "high", "Denial of service"),
    Advisory("GHSA-54rr-7fvw-6x8f", "CVE-2024-26146", "rack", "rubygems", "medium", "Denial of service by headers"),
    Advisory("GHSA-2rr5-8q37-2w7h", "CVE-2021-41098", "nokogiri", "rubygems", "high", "External entities on JRuby"),
    Advisory("GHSA-5h46-h7hh-c6x9", "CVE-2021-32714", "hyper", "rust", "critical", "Overflow in Transfer-Encoding"),
)  # fmt: skip
REASONS: Final = ("not_used", "tolerable_risk", "inaccurate", "no_bandwidth")


_SPACE: Final = UUID("5a3c1e00-0000-4000-8000-000000000000")
"""What the ids of the sample are made from."""


def _role(organisation: str, role: str, name: str) -> Actor:
    return Actor.user(f"sample_{organisation}_{role}", email=f"{role}@{organisation}.example", name=name)


PEOPLE: Final = (
    _role("northwind", "security-lead", "Security Lead"),
    _role("northwind", "developer", "Developer"),
)
"""Of the first organisation: one who may decide, and one who may look."""


def sample_events(last_day: date) -> Iterator[Event]:
    """The events of the four weeks that end with `last_day`, by owner and in order; the same for the same day."""
    yield from _Story(NORTHWIND, last_day, "northwind", ("northwind/site", "northwind/docks"), PEOPLE).tell()
    engineer = _role("harbour", "platform-engineer", "Platform Engineer")
    yield from _Story(HARBOUR, last_day, "harbour", ("harbour/berths",), (engineer,)).tell()
    me = Actor.user("sample_maintainer", email="maintainer@tidepool.example", name="Maintainer")
    yield from _Story(PERSON, last_day, "tidepool", ("tidepool/notes",), (me,)).tell()


@dataclass(slots=True)
class _Finding:
    id: UUID
    repository: str
    advisory: Advisory
    number: int
    found_at: datetime
    status: Status = "open"
    analysis: AnalysisStatus = "none"

    @property
    def deadline(self) -> datetime:
        return deadline(self.advisory.severity, self.found_at, Configuration().policy)

    def snapshot(self) -> dict[str, Any]:
        one = self.advisory
        return Snapshot(
            self.id, self.repository, "dependabot", str(self.number), one.ghsa_id, one.cve_id, one.title, one.package,
            one.ecosystem, one.severity, self.status, self.found_at, self.deadline,
        ).as_payload()  # fmt: skip


@dataclass(slots=True)
class _Story:
    """What happens to one owner."""

    owner: Owner
    last_day: date
    name: str
    repositories: tuple[str, ...]
    people: tuple[Actor, ...]
    findings: list[_Finding] = field(default_factory=list)
    number: int = 0
    operation: str | None = None
    dice: random.Random = field(init=False)

    def tell(self) -> Iterator[Event]:
        self.dice = random.Random(self.name)  # noqa: S311  a sample, not a secret
        first = self.last_day - timedelta(days=DAYS - 1)
        before, after = Configuration(), Configuration(enabled=True, auto_dismiss=True, revision=1)
        yield self.event(
            self.at(first, 5), "config.enabled", self.config, self.people[0], before_state=before.state(),
            after_state=after.state(), source="web",
        )  # fmt: skip
        for day in (first + timedelta(days=n) for n in range(DAYS)):
            for hour in (6, 18):
                yield from self.sync(self.at(day, hour))
            if day.weekday() < 5:  # noqa: PLR2004  a working day
                yield from self.work(self.at(day, 9 + self.dice.randrange(7), self.dice.randrange(60)))

    def at(self, day: date, hour: int, minute: int = 0) -> datetime:
        return datetime.combine(day, time(hour, minute, self.dice.randrange(60), self.dice.randrange(10**6)), UTC)

    @property
    def config(self) -> Resource:
        return Resource(CONFIG, owner_id(self.owner))

    def made_id(self, what: str) -> UUID:
        return uuid5(_SPACE, f"{self.name}/{self.last_day}/{what}")

    def sync(self, moment: datetime) -> Iterator[Event]:
        self.operation = f"{self.name}-sync-{moment:%m%d%H}"
        scheduler = Actor.system("sync-scheduler")
        about: dict[str, Any] = {"trigger": "scheduled", "scope": "all"}
        yield self.event(moment, "sync.triggered", self.config, scheduler, source="cron", metadata=about)
        new = [self.discover(moment) for _ in range(self.dice.choice((0, 0, 0, 0, 0, 1, 2)))]
        for second, finding in enumerate(new, start=1):
            yield self.about(
                moment + timedelta(seconds=second), "created", finding, scheduler, source="cron",
                after_state={"status": "open", "severity": finding.advisory.severity}, source_state="open",
                alert_number=finding.number, deadline=finding.deadline,
            )  # fmt: skip
        waiting = [finding for finding in self.findings if finding.status == "open" and finding not in new]
        updated = [self.dice.choice(waiting)] if waiting and self.dice.randrange(12) == 0 else []
        for finding in updated:
            yield self.mend(moment + timedelta(seconds=10), finding, scheduler)
        yield self.event(
            moment + timedelta(seconds=20), "sync.completed", self.config, scheduler, source="cron",
            metadata=about | self.counts(len(new), len(updated)),
        )  # fmt: skip

    def counts(self, created: int, updated: int) -> dict[str, Any]:
        nothing = dict.fromkeys(("errors", "stale", "disabled"), 0)
        lists: dict[str, list[str]] = {"failures": [], "stale_repositories": [], "disabled_repositories": []}
        unchanged = len(self.findings) - created - updated
        return {
            "repositories": len(self.repositories), "created": created, "updated": updated, "unchanged": unchanged,
            "duration_ms": 20_000, **nothing, **lists,
        }  # fmt: skip

    def discover(self, moment: datetime) -> _Finding:
        number = len(self.findings) + 1
        repository, advisory = self.dice.choice(self.repositories), self.dice.choice(ADVISORIES)
        found_at = moment.replace(microsecond=0)  # GitHub's times are whole seconds
        finding = _Finding(self.made_id(f"finding/{number}"), repository, advisory, number, found_at)
        self.findings.append(finding)
        return finding

    def mend(self, moment: datetime, finding: _Finding, actor: Actor) -> Event:
        """A finding is fixed: somebody has installed a newer version, and GitHub has seen it."""
        finding.status = "fixed"
        fixed_at = moment.replace(microsecond=0) - timedelta(hours=1)
        return self.about(
            moment, "status_change", finding, actor, source="cron", before_state={"status": "open"},
            after_state={"status": "fixed"}, source_state="fixed", source_updated_at=fixed_at, fixed_at=fixed_at,
        )  # fmt: skip

    def work(self, moment: datetime) -> Iterator[Event]:
        """Somebody looks at an open finding: it is analysed, then dismissed, or left for another day."""
        waiting = [finding for finding in self.findings if finding.status == "open"]
        if not waiting:
            return
        finding, who = self.dice.choice(waiting), self.dice.choice(self.people)
        self.operation = str(self.made_id(f"analysis/{moment:%m%d}"))
        end = self.dice.choice(("dismissed", "auto_dismissed", None, None))
        yield from self.analyse(moment, finding, who, end)
        moment += timedelta(minutes=5 + self.dice.randrange(35))
        if end == "dismissed":
            finding.status = "ignored"
            comment = Personal("comment", f"Looked at by {who.name}: not reached from outside.")
            yield self.about(
                moment, end, finding, who, source="web", before_state={"status": "open"}, write_back="completed",
                after_state={"status": "ignored", "reason": self.dice.choice(REASONS), "comment": comment},
                origin="dependabot",
            )  # fmt: skip
        elif end == "auto_dismissed":
            finding.status = "ignored"
            yield self.about(
                moment, end, finding, Actor.system("auto-dismiss"), before_state={"status": "open"}, ground="sandbox",
                after_state={"status": "ignored", "reason": "not_used"}, trigger="sandbox", confidence=None,
                analysis_id=UUID(self.operation), write_back="pending", origin="dependabot",
            )  # fmt: skip

    def analyse(self, moment: datetime, finding: _Finding, who: Actor, end: str | None) -> Iterator[Event]:
        about: dict[str, Any] = {
            "analysis_id": UUID(self.operation), "triggered_by": "user", "forced": False, "engine": None, "model": None,
            "fallback": None,
        }  # fmt: skip
        yield self.about(
            moment, "analysis_started", finding, who, source="web", before_state={"analysis_status": finding.analysis},
            after_state={"analysis_status": "pending"}, **about,
        )  # fmt: skip
        finding.analysis = "completed"
        result: dict[str, Any] = {
            "engine": "rules", "tiers": ["triage", "sandbox", "extraction"], "extractor": "runner",
            "suggested_action": "dismiss" if end else "manual_review", "exploitable": "no" if end else "unknown",
        }  # fmt: skip
        yield self.about(
            moment + timedelta(minutes=3), "analysis_completed", finding, who,
            before_state={"analysis_status": "running"}, after_state={"analysis_status": "completed"},
            **about | result,
        )  # fmt: skip

    def about(  # noqa: PLR0913, PLR0917  what an event about a finding tells
        self, moment: datetime, what: str, finding: _Finding, actor: Actor,
        after_state: dict[str, Any], before_state: dict[str, Any] | None = None, source: str = "worker",
        origin: str | None = None, **details: Any,  # noqa: ANN401
    ) -> Event:  # fmt: skip
        metadata = {"finding": finding.snapshot(), **details, **({"source": origin} if origin else {})}
        return self.event(
            moment, f"finding.{what}", Resource(FINDING, str(finding.id)), actor, before_state=before_state,
            after_state=after_state, metadata=metadata, source=source,
        )  # fmt: skip

    def event(self, moment: datetime, what: str, resource: Resource, actor: Actor, **members: Any) -> Event:  # noqa: ANN401
        self.number += 1
        return Event(
            owner=self.owner, action=f"security.{what}", actor=actor, resource=resource, occurred_at=moment,
            correlation_id=self.operation, event_key=f"sample-2/{self.last_day}/{self.number}", **members,
        )  # fmt: skip
