"""Attacks on a sealed database by whoever may do everything in it, and what each must be found by.

`COLUMNS` has a way to alter each column of each table, or says why nothing is proven by it. `ATTACKS` are all others.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from asking import composed
from permalog.tlog.canonical import leaf_hash
from permalog.tlog.findings import VerifyCode
from permalog.tlog.merkle import Frontier
from permalog.tlog.note import Ed25519Signer
from tampering import ACME, BETA, SIGNER, Connection, rows_of, seal

A, B = (f"'{owner.log_id}'::uuid" for owner in (ACME, BETA))
NOBODY: Final = "'00000000-0000-8000-8000-000000000001'::uuid"
THIEF = Ed25519Signer(SIGNER.key.name, hashlib.sha256(b"another key").digest())
LEAF: Final = 5
"""An event of an API key, with both states, a personal value and a correlation id."""
EVENT = f"(SELECT event_ids[{LEAF + 1}] FROM permalog.tile WHERE log_id = {A} AND level = 0 AND index = 0)"
WAITING = f"(SELECT max(id::text)::uuid FROM permalog.unsealed WHERE log_id = {A})"

Means = str | Callable[[Connection], object]
"""A statement, or what runs several. {A} and {B} are the two logs, {EVENT} a sealed event of the first."""
Codes = dict[str, VerifyCode]
"""What finds it, and the code: `verify` alone, or with the state `outside`, an `anchor`, a `witness`."""


@dataclass(frozen=True)
class Attack:
    """One attack."""

    name: str
    means: Means
    found: Codes = field(default_factory=dict[str, VerifyCode])
    window: str = ""
    """Why it is not found, and for how long."""
    outside_too: bool = False
    """The state outside is rewritten, too."""
    spoils: str = ""
    """What is altered of what is known outside: ``anchors`` or ``witnessed``."""

    @property
    def is_on_guards(self) -> bool:
        """It is on the database's own guards: no trigger need be switched off for it."""
        return self.found.get("verify", "").startswith("schema.")

    def run(self, connection: Connection) -> None:
        """Does it."""
        if callable(self.means):
            self.means(connection)
        else:
            for statement in self.means.split(";\n"):
                connection.execute(composed(filled(statement)))


def filled(statement: str) -> str:
    """The statement with its places."""
    places = {"{A}": A, "{B}": B, "{EVENT}": EVENT, "{NOBODY}": NOBODY, "{WAITING}": WAITING}
    for place, text in places.items():
        statement = statement.replace(place, text)
    return statement


def alone(code: VerifyCode) -> Codes:
    return {"verify": code}


V = VerifyCode
Column = tuple[str, VerifyCode] | str


def event(expression: str, code: VerifyCode = V.EVENT_CHANGED) -> tuple[str, VerifyCode]:
    return f"{expression} WHERE log_id = {{A}} AND id = {{EVENT}}", code


def identity(expression: str, kind: str = "actor", code: VerifyCode = V.IDENTITY_CHANGED) -> tuple[str, VerifyCode]:
    of = "value IS NOT NULL" if kind == "value" else f"kind = '{kind}' AND email IS NOT NULL"
    one = f"(SELECT min(commitment::text)::bytea FROM permalog.identity WHERE log_id = {{A}} AND {of})"
    return f"{expression} WHERE log_id = {{A}} AND commitment = {one}", code


def key(expression: str) -> tuple[str, VerifyCode]:
    return f"{expression} WHERE log_id = {{A}} AND key = 'key-8'", V.EVENT_KEY_WRONG


def waiting(expression: str) -> tuple[str, VerifyCode]:
    return f"{expression} WHERE log_id = {{A}} AND id = {{WAITING}}", V.UNSEALED_UNKNOWN


def head(expression: str, code: VerifyCode = V.HEAD_CHANGED) -> tuple[str, VerifyCode]:
    return f"{expression} WHERE log_id = {{A}}", code


def tile(expression: str, code: VerifyCode, level: int = 0, index: int = 0) -> tuple[str, VerifyCode]:
    return f"{expression} WHERE log_id = {{A}} AND level = {level} AND index = {index}", code


def checkpoint(expression: str, code: VerifyCode = V.CHECKPOINT_MALFORMED) -> tuple[str, VerifyCode]:
    return f"{expression} WHERE log_id = {{A}} AND size = 3", code


def cosignature(expression: str, code: VerifyCode = V.COSIGNATURE_WRONG) -> tuple[str, VerifyCode]:
    return f"{expression} WHERE log_id = {{A}} AND size = 256", code


def activity(expression: str, part: str = "day_action", code: VerifyCode = V.ACTIVITY_WRONG) -> tuple[str, VerifyCode]:
    return f"{expression} WHERE log_id = {{A}} AND part = '{part}' AND action <> 'thing.made'", code


NO_PROOF = "no proof rests on it"
FOR_OPERATORS = "says what was done to the database or may be done with the log, and nothing of an event"
A_COPY = "the database's own copy of anchors: those that were published count"
FLIPPED = "set_byte({0}, octet_length({0}) - 1, get_byte({0}, octet_length({0}) - 1) # 1)"
OTHER_ID = "overlay({0}::text placing 'aaaaaaaaaaaa' from 25)::uuid"

COLUMNS: dict[str, Column] = {
    "event.log_id": event("{B}", V.EVENT_MISSING),
    "event.id": event(OTHER_ID.format("id"), V.EVENT_MISSING),
    "event.occurred_at": event("occurred_at - interval '1 microsecond'"),
    "event.recorded_at": event("recorded_at + interval '1 microsecond'"),
    "event.recorded_by": event("'mallory'"),
    "event.action": event("'thing.lost'"),
    "event.outcome": event("'denied'"),
    "event.actor_type": event("'user'"),
    "event.actor_id": event("'u_9'"),
    "event.identity": event("sha256('x')"),
    "event.resource_type": event("'things'"),
    "event.resource_id": event("'t_9'"),
    "event.correlation_id": event("NULL"),
    "event.source": event("'web'"),
    "event.schema_version": event("2"),
    "event.before_state": event("jsonb_build_object('n', 6)"),
    "event.after_state": event("NULL"),
    "event.metadata": event("metadata || jsonb_build_object('n', 1)"),
    "identity.log_id": identity("{B}", code=V.IDENTITY_MISSING),
    "identity.commitment": identity("sha256('x')"),
    "identity.kind": identity("'staff'"),
    "identity.actor_id": identity("'u_9'"),
    "identity.email": identity("'eve@acme.example'"),
    "identity.name": identity("'Eve'"),
    "identity.ip_address": identity("NULL"),
    "identity.user_agent": identity("'curl'"),
    "identity.value": identity("'octo-eve'", "value"),
    "identity.salt": identity(FLIPPED.format("salt")),
    "identity.erased_at": identity("clock_timestamp()"),
    "log.log_id": ("{NOBODY} WHERE log_id = {A}", V.LOG_MISSING),
    "log.organization_id": ("gen_random_uuid() WHERE log_id = {A}", V.LOG_OWNER),
    "log.user_id": ("'u_9', organization_id = NULL WHERE log_id = {A}", V.LOG_OWNER),
    "log.opened_at": NO_PROOF,
    "log.erased_at": ("clock_timestamp() WHERE log_id = {A}", V.EVENT_UNPLACED),
    "log.retention": FOR_OPERATORS,
    "log.hold": FOR_OPERATORS,
    "event_key.log_id": key("{NOBODY}"),
    "event_key.key": "the key is in no leaf: one that is renamed lets an event be recorded once more",
    "event_key.event_id": key("{EVENT}"),
    "event_key.digest": key(FLIPPED.format("digest")),
    "unsealed.log_id": waiting("{B}"),
    "unsealed.id": waiting(OTHER_ID.format("id")),
    "erased_actor.actor_id": FOR_OPERATORS,
    "erased_actor.erased_at": FOR_OPERATORS,
    "catalogue.action": FOR_OPERATORS,
    "catalogue.resource_type": FOR_OPERATORS,
    "catalogue.label": FOR_OPERATORS,
    "catalogue.retired": FOR_OPERATORS,
    "migration.name": FOR_OPERATORS,
    "migration.digest": FOR_OPERATORS,
    "migration.applied_at": FOR_OPERATORS,
    "head.log_id": head("{NOBODY}", V.HEAD_MISSING),
    "head.epoch": head("2", V.HEAD_MISSING),
    "head.size": head("299"),
    "head.frontier": head(FLIPPED.format("frontier")),
    "head.sealed_at": NO_PROOF,
    "tile.log_id": tile("{NOBODY}", V.TILE_MISSING),
    "tile.epoch": tile("2", V.TILE_MISSING),
    "tile.level": tile("2", V.TILE_MISSING, level=1),
    "tile.index": tile("7", V.TILE_MISSING, index=1),
    "tile.hashes": tile(FLIPPED.format("hashes"), V.CHECKPOINT_ROOT),
    "tile.event_ids": tile("event_ids[2:2] || event_ids[1:1] || event_ids[3:]", V.EVENT_CHANGED),
    "tile.first_id": tile("last_id", V.TILE_CHANGED),
    "tile.last_id": tile("first_id", V.TILE_CHANGED),
    "checkpoint.log_id": checkpoint("{NOBODY}", V.LOG_MISSING),
    "checkpoint.epoch": checkpoint("2", V.HEAD_MISSING),
    "checkpoint.size": checkpoint("4"),
    "checkpoint.root": checkpoint(FLIPPED.format("root")),
    "checkpoint.note": checkpoint(
        "(SELECT c.note FROM permalog.checkpoint AS c WHERE c.log_id = {B} AND c.size = 3)"
    ),
    "checkpoint.signed_at": NO_PROOF,
    "cosignature.log_id": cosignature("{NOBODY}", V.LOG_MISSING),
    "cosignature.epoch": cosignature("2", V.HEAD_MISSING),
    "cosignature.size": cosignature("257"),
    "cosignature.witness": cosignature("'other.example'"),
    "cosignature.line": cosignature("overlay(line placing 'AAAAAAAA' from 60)"),
    "cosignature.received_at": NO_PROOF,
    "activity.log_id": activity("{NOBODY}"),
    "activity.part": activity("'action'", "actor"),
    "activity.day": activity("day - 1"),
    "activity.action": activity("'thing.lost'"),
    "activity.actor_type": activity("'user2'", "actor"),
    "activity.actor_id": activity("actor_id || 'x'", "actor"),
    "activity.events": activity("events + 1"),
    "activity.first_id": activity("last_id"),
    "activity.last_id": activity("first_id"),
    **{f"anchor.{name}": A_COPY for name in ("epoch", "start", "size", "leaves", "frontier", "note", "made_at")},
    **{f"anchor_leaf.{name}": A_COPY for name in ("log_id", "epoch", "size", "anchor_epoch", "leaf_index")},
    **{f"anchor_publication.{name}": A_COPY for name in ("epoch", "place", "size", "published_at")},
}  # fmt: skip


def altered(name: str) -> Attack:
    """The attack on a column."""
    column = COLUMNS[name]
    assert not isinstance(column, str)
    expression, code = column
    table, _, alone_column = name.partition(".")
    return Attack(f"change `{name}`", f"UPDATE permalog.{table} SET {alone_column} = {expression}", alone(code))


TABLES = ("event", "identity", "event_key", "unsealed", "head", "tile", "checkpoint", "cosignature", "activity")


def _exchange(connection: Connection) -> None:
    for table in TABLES:
        for old, new in ((ACME.log_id, UUID(int=1)), (BETA.log_id, ACME.log_id), (UUID(int=1), BETA.log_id)):
            connection.execute(composed(f"UPDATE permalog.{table} SET log_id = %s WHERE log_id = %s"), (new, old))


def _erase_trace(connection: Connection) -> None:
    for table in (*TABLES, "log"):
        connection.execute(composed(f"DELETE FROM permalog.{table} WHERE log_id = %s"), (ACME.log_id,))


def _erase_as_owner(connection: Connection) -> None:
    connection.execute("UPDATE permalog.log SET erased_at = clock_timestamp() WHERE log_id = %s", (ACME.log_id,))
    for table in ("event", "identity", "event_key", "unsealed", "tile", "activity"):
        connection.execute(composed(f"DELETE FROM permalog.{table} WHERE log_id = %s"), (ACME.log_id,))


def _roll_back(size: int) -> Callable[[Connection], None]:
    def roll_back(connection: Connection) -> None:
        kept = rows_of(connection, ACME.log_id)[:size]
        connection.execute("DELETE FROM permalog.cosignature WHERE log_id = %s AND size > %s", (ACME.log_id, size))
        connection.execute(
            "DELETE FROM permalog.event_key WHERE log_id = %s AND NOT event_id = ANY (%s::uuid[])",
            (ACME.log_id, [row.id for row in kept]),
        )
        connection.execute(
            "DELETE FROM permalog.event WHERE log_id = %s AND NOT id = ANY (%s::uuid[])",
            (ACME.log_id, [row.id for row in kept]),
        )
        seal(connection, ACME.log_id, [one for one in (3, 256) if one <= size])

    return roll_back


def _rewrite(leaf: int, signer: Ed25519Signer = SIGNER) -> Callable[[Connection], None]:
    def rewrite(connection: Connection) -> None:
        row = rows_of(connection, ACME.log_id)[leaf]
        connection.execute(
            "UPDATE permalog.event SET resource_id = 't_9' WHERE log_id = %s AND id = %s", (ACME.log_id, row.id)
        )
        connection.execute(
            "UPDATE permalog.event_key SET digest = permalog.stored_digest(log_id, event_id) WHERE event_id = %s",
            (row.id,),
        )
        connection.execute("DELETE FROM permalog.cosignature WHERE log_id = %s AND size > %s", (ACME.log_id, leaf))
        seal(connection, ACME.log_id, signer=signer)

    return rewrite


def _cut_but_for_its_checkpoint(connection: Connection) -> None:
    row = connection.execute(
        "SELECT log_id, epoch, size, root, note FROM permalog.checkpoint WHERE log_id = %s AND size = 300",
        (ACME.log_id,),
    ).fetchone()
    _roll_back(256)(connection)
    connection.execute(
        "INSERT INTO permalog.checkpoint (log_id, epoch, size, root, note) VALUES (%s, %s, %s, %s, %s)", row
    )


def _post_date(connection: Connection) -> None:
    connection.execute("ALTER TABLE permalog.event DROP CONSTRAINT event_id")
    connection.execute(
        composed(
            filled(
                "UPDATE permalog.event SET occurred_at = occurred_at + interval '1 minute'"
                " WHERE log_id = {A} AND id = {EVENT}"
            )
        )
    )
    _rewrite(LEAF)(connection)


def _erase_and_alter(connection: Connection) -> None:
    _erase_as_owner(connection)
    frontier = FLIPPED.format("frontier")
    connection.execute(composed(f"UPDATE permalog.head SET frontier = {frontier} WHERE log_id = %s"), (ACME.log_id,))


def _double(connection: Connection) -> None:
    connection.execute("ALTER TABLE permalog.event DROP CONSTRAINT event_pkey")
    connection.execute(
        composed(filled("INSERT INTO permalog.event SELECT * FROM permalog.event WHERE log_id = {A} AND id = {EVENT}"))
    )


def _shed(connection: Connection) -> None:
    month = connection.execute(
        "SELECT tableoid::regclass::text FROM permalog.event WHERE log_id = %s LIMIT 1", (ACME.log_id,)
    ).fetchone()
    assert month is not None
    connection.execute(composed(f"ALTER TABLE permalog.event DETACH PARTITION {month[0]}"))


def _back_date_before_sealing(connection: Connection) -> None:
    rows = rows_of(connection, ACME.log_id)
    connection.execute(
        "UPDATE permalog.event SET recorded_at = recorded_at - interval '5 hours' WHERE log_id = %s AND id = %s",
        (ACME.log_id, rows[305].id),
    )
    connection.execute("DELETE FROM permalog.cosignature WHERE log_id = %s AND size > 300", (ACME.log_id,))
    seal(connection, ACME.log_id, (3, 256, 300, 310))


def _future(connection: Connection) -> None:
    connection.execute("DELETE FROM permalog.checkpoint WHERE log_id = %s AND size = 300", (ACME.log_id,))
    connection.execute(
        "UPDATE permalog.head SET sealed_at = sealed_at + interval '1 year' WHERE log_id = %s", (ACME.log_id,)
    )


def _erased_in_name_only(connection: Connection) -> None:
    connection.execute("ALTER TABLE permalog.identity DROP CONSTRAINT identity_erased_is_blank")
    connection.execute(
        "UPDATE permalog.identity SET erased_at = clock_timestamp(), salt = NULL, name = 'Eve' WHERE log_id = %s"
        " AND actor_id = 'u_1'", (ACME.log_id,),
    )  # fmt: skip
    connection.execute(
        "ALTER TABLE permalog.identity ADD CONSTRAINT identity_erased_is_blank CHECK (CASE WHEN erased_at IS NULL THEN"
        " salt IS NOT NULL ELSE num_nonnulls(actor_id, email, name, ip_address, user_agent, value, salt) = 0 END)"
        " NOT VALID"
    )
    connection.execute(
        "UPDATE pg_constraint SET convalidated = true WHERE conname = 'identity_erased_is_blank' AND NOT convalidated"
    )


def _epoch_of_events(connection: Connection) -> None:
    row = rows_of(connection, ACME.log_id)[300]
    connection.execute("DELETE FROM permalog.unsealed WHERE log_id = %s AND id = %s", (ACME.log_id, row.id))
    connection.execute(
        "INSERT INTO permalog.tile (log_id, epoch, level, index, hashes, event_ids, first_id, last_id)"
        " VALUES (%s, 2, 0, 0, %s, ARRAY[%s]::uuid[], %s, %s)",
        (ACME.log_id, leaf_hash(row), row.id, row.id, row.id),
    )
    frontier = Frontier().grown([leaf_hash(row)]).frontier
    connection.execute(
        "INSERT INTO permalog.head (log_id, epoch, size, frontier) VALUES (%s, 2, 1, %s)",
        (ACME.log_id, frontier.to_bytes()),
    )


def _erase_and_sign_anew(connection: Connection) -> None:
    _rewrite(LEAF)(connection)
    _erase_as_owner(connection)


SWAP = """UPDATE permalog.{0} AS x SET {1} FROM permalog.{0} AS y WHERE x.log_id = {{A}} AND y.log_id = {{A}}
    AND (x.{2}, y.{2}) IN (({3}, {4}), ({4}, {3}))"""
SECOND = "(SELECT event_ids[10] FROM permalog.tile WHERE log_id = {A} AND level = 0 AND index = 0)"
NEW = """INSERT INTO permalog.event (log_id, id, occurred_at, action, actor_type, resource_type, resource_id, metadata)
    SELECT {A}, permalog.new_id(t), t, 'thing.made', 'system', 'thing', 't_1', jsonb_build_object()
    FROM (SELECT clock_timestamp() - interval '2 hours') AS x (t)"""
TWO_SECONDS = "until it is sealed, two seconds after it is committed"
SINCE_ANCHOR = "until the next anchor or cosignature: a minute, as it is set"
JOURNAL = "for ever by proofs; an erasure is on record, and in the journal outside the database"

ATTACKS: list[Attack] = [
    Attack("delete a sealed event", "DELETE FROM permalog.event WHERE log_id = {A} AND id = {EVENT}",
           alone(V.EVENT_MISSING)),
    Attack("insert an event beside the recorder", NEW, alone(V.EVENT_UNPLACED)),
    Attack("insert an event into a log that was never opened", NEW.replace("{A}", "{NOBODY}"), alone(V.LOG_MISSING)),
    Attack("double an event, without the primary key", _double, alone(V.EVENT_DOUBLED)),
    Attack("exchange what two events say", SWAP.format(
        "event", "resource_id = y.resource_id, metadata = y.metadata", "id", "{EVENT}", SECOND),
        alone(V.EVENT_CHANGED)),
    Attack("exchange two leaves, hashes and events", """UPDATE permalog.tile SET
        hashes = substr(hashes, 33, 32) || substr(hashes, 1, 32) || substr(hashes, 65),
        event_ids = event_ids[2:2] || event_ids[1:1] || event_ids[3:] WHERE log_id = {A} AND level = 0 AND index = 0""",
           alone(V.CHECKPOINT_ROOT)),
    Attack("back-date an event, id and time", """UPDATE permalog.event
        SET occurred_at = occurred_at - interval '1 hour',
        id = permalog.new_id(occurred_at - interval '1 hour') WHERE log_id = {A} AND id = {EVENT}""",
           alone(V.EVENT_MISSING)),
    Attack("give a leaf to one event twice, and to another none", """UPDATE permalog.tile
        SET event_ids = event_ids[1:1] || event_ids[1:1] || event_ids[3:]
        WHERE log_id = {A} AND level = 0 AND index = 0""",
           alone(V.EVENT_DOUBLED)),
    Attack("change an event that is not sealed yet",
           "UPDATE permalog.event SET outcome = 'denied' WHERE log_id = {A} AND id = {WAITING}", window=TWO_SECONDS),
    Attack("delete an event that is not sealed yet, from all tables", """DELETE FROM permalog.event_key
        WHERE log_id = {A} AND event_id = {WAITING};
        DELETE FROM permalog.event WHERE log_id = {A} AND id = {WAITING};
        DELETE FROM permalog.unsealed WHERE log_id = {A} AND id = {WAITING}""".replace("; ", ";\n"),
           window=TWO_SECONDS),
    Attack("record an event as if that had been hours ago, and have it sealed", _back_date_before_sealing,
           window="as a failure: who may do everything may record lies, too; the notice `sealed_late` tells of it"),
    Attack("take an event off the list of those to be sealed",
           "DELETE FROM permalog.unsealed WHERE log_id = {A} AND id = {WAITING}", alone(V.EVENT_UNPLACED)),
    Attack("exchange what two identities hold", """UPDATE permalog.identity AS x SET salt = y.salt, name = y.name
        FROM permalog.identity AS y WHERE x.log_id = {A} AND y.log_id = {A} AND x.kind = 'actor' AND y.kind = 'actor'
        AND x.actor_id <> y.actor_id""", alone(V.IDENTITY_CHANGED)),
    Attack("exchange the identities of two actors, in the events' rows", "UPDATE permalog.event SET identity = "
           "(SELECT min(commitment::text)::bytea FROM permalog.identity WHERE log_id = {A} AND actor_id = 'u_1') "
           "WHERE log_id = {A} AND id = {EVENT}", alone(V.IDENTITY_OTHER)),
    Attack("remove an identity", "DELETE FROM permalog.identity WHERE log_id = {A} AND kind = 'staff'",
           alone(V.IDENTITY_MISSING)),
    Attack("remove a personal value", "DELETE FROM permalog.identity WHERE log_id = {A} AND kind = 'github_login'",
           alone(V.IDENTITY_MISSING)),
    Attack("blank an identity, as if its person had been erased", """UPDATE permalog.identity SET actor_id = NULL,
        email = NULL, name = NULL, ip_address = NULL, user_agent = NULL, value = NULL, salt = NULL,
        erased_at = clock_timestamp() WHERE log_id = {A} AND actor_id = 'u_1'""", window=JOURNAL),
    Attack("give an identity another name, and call it erased", _erased_in_name_only, alone(V.IDENTITY_CHANGED)),
    Attack("remove an idempotency key", "DELETE FROM permalog.event_key WHERE log_id = {A} AND key = 'key-8'",
           window="for ever: the same key can be used once more, and the event is then there twice, with two ids"),
    Attack("take the event from a leaf", """UPDATE permalog.tile
        SET event_ids = event_ids[1:2] || NULL::uuid || event_ids[4:]
        WHERE log_id = {A} AND level = 0 AND index = 0""", alone(V.EVENT_MISSING)),
    Attack("cut a tile", """UPDATE permalog.tile SET hashes = substr(hashes, 1, 320), event_ids = event_ids[1:10]
        WHERE log_id = {A} AND level = 0 AND index = 0""", alone(V.TILE_MISSING)),
    Attack("add an epoch, and leave one out", "INSERT INTO permalog.head (log_id, epoch, size, frontier) "
           "VALUES ({A}, 3, 0, int8send(0))", alone(V.EPOCH_BROKEN)),
    Attack("add an epoch that does not go on from a checkpoint", _epoch_of_events, alone(V.EPOCH_BROKEN)),
    Attack("shift the list of a tile's events, so that each is looked for at another leaf", """UPDATE permalog.tile
        SET event_ids = ('[0:255]=' || event_ids::text)::uuid[] WHERE log_id = {A} AND level = 0 AND index = 0""",
           alone(V.TILE_CHANGED)),
    Attack("give an event another time than its id, and seal all anew with the stolen key", _post_date,
           alone(V.EVENT_TIME)),
    Attack("remove the head", "DELETE FROM permalog.head WHERE log_id = {A}", alone(V.HEAD_MISSING)),
    Attack("remove a tile of leaves", "DELETE FROM permalog.tile WHERE log_id = {A} AND level = 0 AND index = 0",
           alone(V.TILE_MISSING)),
    Attack("remove a tile above", "DELETE FROM permalog.tile WHERE log_id = {A} AND level = 1",
           alone(V.TILE_MISSING)),
    Attack("change a hash of a tile above",
           "UPDATE permalog.tile SET hashes = sha256(hashes) WHERE log_id = {A} AND level = 1", alone(V.TILE_CHANGED)),
    Attack("add a tile", "INSERT INTO permalog.tile (log_id, level, index, hashes) VALUES ({A}, 2, 0, sha256(''))",
           alone(V.TILE_EXTRA)),
    Attack("remove a checkpoint", "DELETE FROM permalog.checkpoint WHERE log_id = {A} AND size = 3",
           {"anchor": V.ANCHOR_UNOPENED}),
    Attack("remove what witnesses have signed", "DELETE FROM permalog.cosignature WHERE log_id = {A}",
           window="unless the policy is given, by which enough must have signed (`witness.quorum`)"),
    Attack("remove the newest checkpoint", "DELETE FROM permalog.checkpoint WHERE log_id = {A} AND size = 300",
           alone(V.CHECKPOINT_MISSING)),
    Attack("the same, and say that its tree has grown in the future", _future, alone(V.CHECKPOINT_MISSING)),
    Attack("remove a count", "DELETE FROM permalog.activity WHERE log_id = {A} AND part = 'all'",
           alone(V.ACTIVITY_WRONG)),
    Attack("cut the tail behind the last anchor, everywhere in the database", _roll_back(256),
           {"outside": V.OUTSIDE_SIZE}),
    Attack("the same, and leave the newest checkpoint", _cut_but_for_its_checkpoint, alone(V.CHECKPOINT_SIZE)),
    Attack("roll the log back to before the last anchor", _roll_back(3),
           {"outside": V.OUTSIDE_SIZE, "anchor": V.ANCHOR_UNOPENED, "witness": V.WITNESS_SIZE}),
    Attack("remove a whole log without a trace", _erase_trace,
           {"outside": V.OUTSIDE_SIZE, "anchor": V.ANCHOR_UNOPENED, "witness": V.WITNESS_SIZE}),
    Attack("remove a log as if its owner had been erased", _erase_as_owner, window=JOURNAL),
    Attack("the same, and alter its head", _erase_and_alter, alone(V.HEAD_CHANGED)),
    Attack("the same, with checkpoints of another history, signed with the stolen key", _erase_and_sign_anew,
           {"outside": V.OUTSIDE_ROOT, "anchor": V.ANCHOR_UNOPENED, "witness": V.WITNESS_ROOT}),
    Attack("rewrite a log with all hashes, without the key", _rewrite(LEAF, THIEF), alone(V.CHECKPOINT_SIGNATURE)),
    Attack("rewrite a log with all hashes, with the stolen key", _rewrite(LEAF),
           {"outside": V.OUTSIDE_ROOT, "anchor": V.ANCHOR_UNOPENED, "witness": V.WITNESS_ROOT}),
    Attack("the same, and the state outside", _rewrite(LEAF),
           {"anchor": V.ANCHOR_UNOPENED, "witness": V.WITNESS_ROOT}, outside_too=True),
    Attack("rewrite what came after the last anchor, with the stolen key", _rewrite(290),
           {"outside": V.OUTSIDE_ROOT}),
    Attack("the same again, and the state outside", _rewrite(290), window=SINCE_ANCHOR, outside_too=True),
    Attack("alter an anchor that was published", "SELECT 1", {"anchor": V.ANCHOR_WRONG}, spoils="anchors"),
    Attack("alter a checkpoint that a witness keeps", "SELECT 1", {"witness": V.WITNESS_WRONG}, spoils="witnessed"),
    Attack("exchange two tenants' logs, row by row", _exchange, alone(V.EVENT_CHANGED)),
    Attack("exchange two tenants, in the table of logs",
           """ALTER TABLE permalog.log DROP CONSTRAINT log_id_is_the_owners;
        UPDATE permalog.log AS x SET organization_id = y.organization_id FROM permalog.log AS y
        WHERE x.log_id <> y.log_id
        AND x.log_id IN ({A}, {B}) AND y.log_id IN ({A}, {B})""".replace(";\n        ", ";\n"),
           alone(V.LOG_OWNER)),
    Attack("drop a trigger", "DROP TRIGGER refuse_change ON permalog.event", alone(V.SCHEMA_TRIGGER)),
    Attack("switch a trigger off", "ALTER TABLE permalog.tile DISABLE TRIGGER refuse_loss", alone(V.SCHEMA_TRIGGER)),
    Attack("empty a trigger's function", "CREATE OR REPLACE FUNCTION permalog.refuse_change() RETURNS trigger "
           "LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'", alone(V.SCHEMA_CHANGED)),
    Attack("grant a right", "GRANT UPDATE ON permalog.event TO permalog_writer", alone(V.SCHEMA_GRANT)),
    Attack("take a right away", "REVOKE SELECT ON permalog.event FROM permalog_sealer", alone(V.SCHEMA_GRANT)),
    Attack("let readers see all logs", "ALTER TABLE permalog.event DISABLE ROW LEVEL SECURITY", alone(V.SCHEMA_POLICY)),
    Attack("give a table to a login", "ALTER TABLE permalog.event_key OWNER TO postgres", alone(V.SCHEMA_OWNER)),
    Attack("drop a constraint", "ALTER TABLE permalog.event DROP CONSTRAINT event_id", alone(V.SCHEMA_CHANGED)),
    Attack("detach a partition", _shed, alone(V.SCHEMA_PARTITION)),
    Attack("have a table of one's own read with those of identities",
           "CREATE TABLE public.more () INHERITS (permalog.identity)", alone(V.SCHEMA_CHANGED)),
    Attack("have a trigger's function not be called", "ALTER FUNCTION permalog.refuse_change() STRICT",
           alone(V.SCHEMA_CHANGED)),
    Attack("move the clock's column to the writer", "ALTER TABLE permalog.event ALTER recorded_at DROP DEFAULT",
           alone(V.SCHEMA_CHANGED)),
]  # fmt: skip
