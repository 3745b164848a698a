"""A stranger with docs/record-format.md, a connection and nothing of the library gets every leaf, root and commitment.

Of realistic events, and of awkward ones. ``--thorough`` (`make prove`) takes a hundred thousand of the former.
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

import naive
import record_vectors
from actions import ACTIONS
from asking import ask, composed
from permalog import Actor, Event, Owner, Personal, Resource
from permalog.client import Permalog
from permalog.postgres.database import Database
from permalog.postgres.migrate import migrate
from permalog.recording.store import Dated
from permalog.sealing.keys import KeyFile
from permalog.sealing.outside import SealedFolder
from permalog.sealing.sealer import seal_now
from permalog.sealing.signing import Signing
from security_agent.actions import CATALOGUE

STREAM = Path(__file__).parents[3] / "shared" / "data" / "event_stream.py"
OWNER = Owner.organization(UUID("5a3c1e00-0000-4000-8000-00000000000a"))
ROWS = record_vectors.DOCUMENT.read_text().partition("```sql\n")[2].partition("```")[0]
NAMES = (
    "log_id", "id", "occurred_at", "recorded_at", "recorded_by", "action", "outcome", "actor_type", "actor_id",
    "identity", "resource_type", "resource_id", "correlation_id", "source", "schema_version", "before_state",
    "after_state", "metadata",
)  # fmt: skip
# What other writers than the library may store: the first four take the raw form.
PAYLOADS = (
    '{"n": 0.10000000000000000001}', '{"n": 1e400}', '{"n": 9007199254740993}', '{"a": ' + "[" * 70 + "]" * 70 + "}",
    '{"n": 1.0}', '{"n": 1e21}', '{"n": 1e-7}', '{"n": -0.0}', '{"n": 7.50}', '{"n": 0.000001}', '{"n": 0.00001}',
    '{"n": 9007199254740991}', '{"n": [1.5, -2.25, 1e15, 1e16, 123456789.123456]}', '{"n": null}', "{}", '{"n": {}}',
    '{"\ue000": 1, "\U0001f600": 2, "é": "ü", "a": [], "A": {}}', '{"t": "\\u0001\\b\\"\\\\/\u007f\u2028"}',
)  # fmt: skip


def realistic(count: int) -> Iterator[Event]:
    """The events of the stream, all in one log."""
    lines = subprocess.run([sys.executable, STREAM, "--n", str(count)], check=True, capture_output=True).stdout
    for line in lines.splitlines():
        yield Event.from_json(
            json.dumps({**json.loads(line), "owner": {"organization_id": str(OWNER.organization_id)}})
        )


def awkward() -> Iterator[Event]:
    """What the library records."""
    actors = (
        Actor.user("u_\U0001f600", email="ada@acme.example", name="Zoë \ue000", ip_address="2001:db8::7"),
        Actor.staff("s_1", email="sam@vendor.example", name='"Sam"', ip_address="10.0.0.9"),
        Actor.api_key("k_1"),
        Actor.system("cron"),
    )  # fmt: skip
    for number, actor in enumerate(actors * 2):
        yield Event(
            owner=OWNER, actor=actor, action="thing.made", resource=Resource("thing", "t_\\\"'"),
            occurred_at=datetime(2026, 1, 31, 9, 0, 0, number, tzinfo=UTC),
            before_state={"n": 1.0, "x": 0.1} if number % 2 else None, after_state={} if number % 2 else None,
            metadata={"\ue000": [1, 2.5], "\U0001f600": None, "by": Personal("login", "octo-zoë"), "ä": {"z": True}},
        )  # fmt: skip


@pytest.fixture
def sealed(database: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A log of all these, which the sealer has sealed."""
    count = 100_000 if request.config.option.thorough else 1_500
    migrate(database, ACTIONS | CATALOGUE)
    with Permalog.connect(database, catalogue=ACTIONS | CATALOGUE, importing=True) as log:
        writer, now = log.writer(), datetime.now(UTC)
        for events in (awkward(), realistic(count)):
            while batch := list(islice(events, 5_000)):
                stored = writer.store([Dated.of(one, now) for one in batch])
                assert [one.error for one in stored if one.status != "created"] == []
        writer.close()
    with psycopg.connect(database) as connection:
        for number, payload in enumerate(PAYLOADS):
            connection.execute(
                "INSERT INTO permalog.event (log_id, id, occurred_at, action, actor_type, resource_type, resource_id,"
                " before_state, metadata) SELECT %s, permalog.new_id(m), m, 'thing.made', 'system', 'thing', 't',"
                " %s, %s FROM (SELECT clock_timestamp()) AS t (m)",
                (OWNER.log_id, payload if number % 2 else None, payload),
            )
    keys = KeyFile(tmp_path / "signing.key", "audit.example.com")
    keys.make()
    with closing(Database(database)) as opened:
        seal_now(opened, Signing("audit.example.com", keys, SealedFolder(tmp_path / "sealed")))
    return database


@pytest.mark.data
@pytest.mark.timeout(900)
def test_a_stranger_agrees_on_every_leaf_and_root_and_commitment(sealed: str) -> None:
    with psycopg.connect(sealed) as connection:
        tiles = ask(
            connection,
            "SELECT event_ids::text[], hashes FROM permalog.tile WHERE level = 0 AND log_id = %s ORDER BY index",
            (OWNER.log_id,),
        )
        leaves = [hashes[at : at + 32] for _, hashes in tiles for at in range(0, len(hashes), 32)]
        ids = [one for several, _ in tiles for one in several]
        of_events: dict[str, bytes] = {}
        raw = 0
        for columns in connection.cursor(binary=True).stream(composed(ROWS)):
            event: dict[str, Any] = dict(zip(NAMES, columns, strict=True))
            preimage = naive.preimage(event)
            raw += b'"form":"raw"' in preimage
            if event["log_id"] == str(OWNER.log_id):
                of_events[event["id"]] = naive.sha256(b"\0", preimage)
        checkpoints = ask(
            connection, "SELECT size, root FROM permalog.checkpoint WHERE log_id = %s ORDER BY size", (OWNER.log_id,)
        )
        identities = ask(
            connection,
            "SELECT commitment, salt,"
            " jsonb_strip_nulls(to_jsonb(i) - 'log_id' - 'commitment' - 'salt' - 'erased_at')::text"
            " FROM permalog.identity AS i WHERE log_id = %s",
            (OWNER.log_id,),
        )
    assert raw == 4
    assert len(of_events) == len(leaves) == checkpoints[-1][0]
    assert [of_events[one] for one in ids] == leaves
    for size, root in (checkpoints[0], checkpoints[-1]):
        assert naive.root(leaves[:size]) == root
    for commitment, salt, text in identities:
        canonical = naive.jcs(text)
        assert canonical is not None
        assert hashlib.sha256(b"\2" + salt + canonical).digest() == commitment
