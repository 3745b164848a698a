"""Sample events for `permalog demo`: written by us, the same every time, ending at a day of the caller's choice.

Two organisations and one person, four weeks. The advisories are real ones, the people are roles.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

from permalog import Actor, Event, Owner, Resource
from security_agent.actions import CONFIG, FINDING

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    severity: str
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
DEADLINES: Final = {"critical": 15, "high": 30, "medium": 45, "low": 90}
REASONS: Final = ("not_used", "tolerable_risk", "inaccurate", "no_bandwidth")


def _role(organisation: str, role: str, name: str) -> Actor:
    return Actor.user(f"sample_{organisation}_{role}", email=f"{role}@{organisation}.example", name=name)


def sample_events(last_day: date) -> Iterator[Event]:
    """The events of the four weeks that end with `last_day`, by owner and in order; the same for the same day."""
    lead = _role("northwind", "security-lead", "Security Lead")
    developer = _role("northwind", "developer", "Developer")
    yield from _Story(NORTHWIND, last_day, "northwind", ("northwind/shop", "northwind/api"), (lead, developer)).tell()
    engineer = _role("harbour", "platform-engineer", "Platform Engineer")
    yield from _Story(HARBOUR, last_day, "harbour", ("harbour/berths",), (engineer,)).tell()
    me = Actor.user("sample_maintainer", email="maintainer@tidepool.example", name="Maintainer")
    yield from _Story(PERSON, last_day, "tidepool", ("tidepool/notes",), (me,)).tell()


@dataclass(slots=True)
class _Finding:
    id: str
    repository: str
    advisory: Advisory
    number: int
    found_at: datetime
    status: str = "open"

    def snapshot(self) -> dict[str, Any]:
        deadline = self.found_at + timedelta(days=DEADLINES[self.advisory.severity])
        return {
            **self.advisory._asdict(),
            "repository": self.repository,
            "alert_number": self.number,
            "first_detected": self.found_at,
            "deadline": deadline,
        }


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
        policy = {f"{severity}_days": days for severity, days in DEADLINES.items()}
        before, after = {"enabled": False, **policy}, {"enabled": True, **policy}
        yield self.event(
            self.at(first, 5), "config.enabled", self.config, self.people[0], before_state=before, after_state=after,
            source="web",
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
        return Resource(CONFIG, str(self.owner))

    def sync(self, moment: datetime) -> Iterator[Event]:
        self.operation = f"{self.name}-sync-{moment:%m%d%H}"
        scheduler = Actor.system("sync-scheduler")
        new = [self.discover(moment) for _ in range(self.dice.choice((0, 0, 0, 0, 0, 1, 2)))]
        for second, finding in enumerate(new, start=1):
            yield self.about(moment + timedelta(seconds=second), "created", finding, (None, "open"), scheduler)
        counts = {"created": len(new), "updated": 0, "errors": 0, "repositories": len(self.repositories)}
        yield self.event(
            moment + timedelta(seconds=20), "sync.completed", self.config, scheduler, source="cron",
            metadata={"trigger": "schedule", **counts},
        )  # fmt: skip

    def discover(self, moment: datetime) -> _Finding:
        number = len(self.findings) + 1
        repository, advisory = self.dice.choice(self.repositories), self.dice.choice(ADVISORIES)
        finding = _Finding(f"sample-{self.name}-{number}", repository, advisory, number, moment)
        self.findings.append(finding)
        return finding

    def work(self, moment: datetime) -> Iterator[Event]:
        """Somebody looks at an open finding: it is analysed, then dismissed, fixed, or left for another day."""
        waiting = [finding for finding in self.findings if finding.status == "open"]
        if not waiting:
            return
        finding, who = self.dice.choice(waiting), self.dice.choice(self.people)
        self.operation = f"{self.name}-work-{moment:%m%d}"
        yield self.about(moment, "analysis_started", finding, ("open", "open"), who)
        moment += timedelta(minutes=3)
        worker = Actor.system("analysis-worker")
        yield self.about(moment, "analysis_completed", finding, ("open", "open"), worker, exploitable="no")
        moment += timedelta(minutes=self.dice.randrange(2, 40))
        end = self.dice.choice(("dismissed", "auto_dismissed", "status_change", None))
        if end == "dismissed":
            reason = self.dice.choice(REASONS)
            yield self.close(moment, end, finding, "ignored", who, reason=reason)
        elif end == "auto_dismissed":
            yield self.close(moment, end, finding, "ignored", Actor.system("auto-dismiss"), confidence="high")
        elif end == "status_change":
            yield self.close(moment, end, finding, "fixed", Actor.system("github-sync"), reason="fixed")

    def close(self, moment: datetime, what: str, finding: _Finding, status: str, actor: Actor, **details: str) -> Event:
        finding.status = status
        return self.about(moment, what, finding, ("open", status), actor, **details)

    def about(
        self, moment: datetime, what: str, finding: _Finding, change: tuple[str | None, str], actor: Actor,
        **details: str,
    ) -> Event:  # fmt: skip
        before, after = change
        return self.event(
            moment, f"finding.{what}", Resource(FINDING, finding.id), actor,
            before_state=None if before is None else {"status": before}, after_state={"status": after},
            metadata={**finding.snapshot(), **details}, source="web" if actor.type == "user" else "worker",
        )  # fmt: skip

    def event(self, moment: datetime, what: str, resource: Resource, actor: Actor, **members: Any) -> Event:  # noqa: ANN401
        self.number += 1
        return Event(
            owner=self.owner, action=f"security.{what}", actor=actor, resource=resource, occurred_at=moment,
            correlation_id=self.operation, event_key=f"sample/{self.last_day}/{self.number}", **members,
        )  # fmt: skip
