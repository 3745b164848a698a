"""A sealed log of many kinds of events, and how bundles are made of it."""

import io
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString, cast
from uuid import UUID

import psycopg

from asking import ask
from bundles import SIGNER, WITNESS
from naive_sealing import seal
from permalog import Actor, Event, Owner, Personal, Resource
from permalog.client import Permalog
from permalog.evidence.gathering import Wanted, evidence
from permalog.evidence.verifier import VerifiedBundle, verify_bundle
from permalog.reading.filters import Filters
from permalog.recording.store import Dated
from permalog.viewer import Viewer

NOW = datetime.now(UTC).replace(microsecond=0)
OWNER = Owner.organization(UUID("5a3c1e00-0000-4000-8000-00000000000a"))
STAFF = [Actor.staff(f"s_{n}", email=f"s{n}@staff.example", name=f"Staff {n}", ip_address="10.0.0.9") for n in range(3)]
PEOPLE = [Actor.user(f"u_{n}", email=f"u{n}@tests.example", name=f"Zoë {n}") for n in range(4)]
AUDITOR = Actor.user("u_9", email="auditor@tests.example", name="Ada")
COUNT = 60


def moment(number: int) -> datetime:
    """When the event of this number happened: they are an hour apart."""
    return NOW - timedelta(hours=COUNT + 1 - number)


def event(number: int) -> Event:
    """The event of this number: every fifth by staff, every seventh by nobody, every third about a person."""
    actor = STAFF[number % 3] if number % 5 == 4 else PEOPLE[number % 4]
    return Event(
        owner=OWNER,
        actor=Actor.system("cron") if number % 7 == 6 else actor,
        action="thing.made" if number % 2 else "thing.changed",
        outcome="denied" if number % 6 == 5 else "success",
        resource=Resource("thing", f"t_{number}"),
        occurred_at=moment(number),
        metadata={"share": 0.5, "by": Personal("login", f"octocat{number}")} if number % 3 == 0 else {"n": number},
        correlation_id=f"o_{number // 10}",
        source="api",
    )


class Sealed:
    """A log with its tree, and what is asked of it."""

    def __init__(self, log: Permalog, url: str) -> None:
        self.log = log
        self.url = url
        self.recorded: list[Event] = []

    def store(self, *events: Event) -> None:
        writer = self.log.writer()
        assert {one.status for one in writer.store([Dated.of(one, NOW) for one in events])} == {"created"}
        writer.close()

    def seal(self, owner: Owner = OWNER, **options: Any) -> None:
        with psycopg.connect(self.url) as connection:
            seal(connection, owner.log_id, SIGNER, **options)

    def execute(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """As the superuser, triggers off."""
        tables = ("event", "identity", "tile", "checkpoint")
        with psycopg.connect(self.url) as connection:
            triggers = ask(
                connection,
                "SELECT relname, tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid"
                " WHERE relnamespace = 'permalog'::regnamespace AND relname = ANY (%s) AND NOT tgisinternal",
                [[*tables]],
            )
            for table in tables:
                ask(connection, "ALTER TABLE permalog.{table} DISABLE TRIGGER USER", table=table)
            found = connection.execute(cast("LiteralString", statement), parameters)
            rows = found.fetchall() if found.description else []
            for table, name in triggers:
                ask(connection, "ALTER TABLE permalog.{table} ENABLE ALWAYS TRIGGER {name}", table=table, name=name)
            return rows

    def bundle(
        self, viewer: Viewer = Viewer.STAFF, owner: Owner = OWNER, epoch: int | None = None, **filters: Any
    ) -> bytes:
        """One that the auditor asks for; its record goes to `recorded`."""
        wanted = Wanted(owner, AUDITOR, Filters(**filters), viewer, "api", epoch)
        pieces = evidence(self.log.database, wanted, SIGNER, record=self.recorded.append, keys=[SIGNER.key])
        return b"".join(pieces)


def verified(data: bytes) -> VerifiedBundle:
    return verify_bundle(io.BytesIO(data), [SIGNER.key], witnesses=[WITNESS.key])


def sealed_log(log: Permalog, database: str) -> Sealed:
    made = Sealed(log, database)
    made.store(*map(event, range(COUNT)))
    made.execute(
        "INSERT INTO permalog.event (log_id, id, occurred_at, action, actor_type, resource_type, resource_id, metadata)"
        " SELECT %s, permalog.new_id(m), m, 'thing.made', 'system', 'thing', 't_raw', '{\"huge\": 1e400}'"
        " FROM (SELECT date_trunc('milliseconds', now() - interval '90 minutes')) AS t (m)",
        OWNER.log_id,
    )
    made.execute("INSERT INTO permalog.unsealed SELECT log_id, id FROM permalog.event ON CONFLICT DO NOTHING")
    made.seal(witness=WITNESS)
    return made
