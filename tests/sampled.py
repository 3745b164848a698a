"""Logs for pages: the sample's, and events that nobody would want to see as anything but text."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from bundles import HeldKeys
from permalog import Actor, Event, Owner, Permalog, Resource
from permalog.recording.store import Dated
from permalog.sealing.outside import SealedFolder
from permalog.sealing.sealer import seal_now
from permalog.sealing.signing import Signing
from permalog_server.sample import sample_events
from service import People, Site, settle

STAFF = Actor.staff("u_hidden_staff", email="hidden.person@staff.example", name="Hidden Person", ip_address="192.0.2.7")
SECRETS = ("u_hidden_staff", "hidden.person@staff.example", "Hidden Person", "192.0.2.7")
"""What tells a customer who of the staff it was."""
HOSTILE = (
    "<script>window.hit = 1</script>",
    '"><img src=x onerror="window.hit = 1">',
    "{{ 7 * 7 }}{% raw %}",
    '=HYPERLINK("https://evil.example")',
    "javascript:window.hit=1",
    "\u202egnitirw\u202c txt.exe",
    "👩‍👩‍👧 ünïcode ſ \u2028 line",
    "]]></style><svg onload=window.hit=1>",
)


class Filled(NamedTuple):
    """A log with something in it."""

    site: Site
    people: People
    owner: Owner

    @property
    def path(self) -> str:
        """Of its page."""
        return f"/organizations/{self.people.organization}/audit-log"

    def user(self, role: str) -> str:
        """Whoever has a role."""
        return self.people.id(role)


def fill(site: Site, folder: Path) -> Filled:
    """Puts the sample's events and some more into the log of new people's organisation."""
    people = settle(site.accounts)
    owner = Owner.organization(people.organization)
    now = datetime.now(UTC)
    events = [
        Event(
            owner=owner, action=event.action, actor=event.actor, resource=event.resource,
            occurred_at=event.occurred_at, correlation_id=event.correlation_id, event_key=event.event_key,
            before_state=event.before_state, after_state=event.after_state, metadata=event.metadata,
            source=event.source,
        )
        for event in sample_events((now - timedelta(days=1)).date())
        if event.owner.organization_id == UUID("5a3c1e00-0000-4000-8000-000000000001")
    ]  # fmt: skip
    events += [
        Event(
            owner=owner, action="security.finding.dismissed", actor=Actor.user(f"u_{n}", name=text),
            resource=Resource("security_finding", text), occurred_at=now - timedelta(minutes=60 - n),
            before_state={"status": text}, after_state={"status": "ignored", text: [text, {text: text}]},
            metadata={"finding": {"package": text, "repository": text, "title": text}, "reason": text},
            correlation_id=text,
        )
        for n, text in enumerate(HOSTILE)
    ]  # fmt: skip
    events.append(
        Event(
            owner=owner, action="security.config.updated", actor=STAFF, resource=Resource("agent_config", "c"),
            occurred_at=now - timedelta(minutes=20), before_state={"sla_high_days": 30},
            after_state={"sla_high_days": 14},
        )
    )  # fmt: skip
    with Permalog.connect(site.database, importing=True) as importer:
        writer = importer.writer()
        try:
            outcomes = writer.store([Dated.of(event, now) for event in events])
        finally:
            writer.close()
    assert [outcome.error for outcome in outcomes if outcome.error] == []
    seal(site, folder)
    return Filled(site, people, owner)


def seal(site: Site, folder: Path) -> None:
    """Seals and signs what waits."""
    seal_now(site.log.database, Signing("audit.example.com", HeldKeys(), SealedFolder(folder / "sealed")))
