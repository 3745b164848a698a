"""Bundles without a database: a log of made-up events, and what an honest writer makes of a part of it."""

import io
import json
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import rfc8785

from permalog.evidence.archive import DEFLATED, Packed, Packing, zipped
from permalog.evidence.bundle import MANIFEST, MEMBERS, SIGNATURE, Asker, BundleOwner, Opening, Query, manifest_text
from permalog.evidence.writer import Account, BundleWriter
from permalog.identity import Identity
from permalog.ids import id_floor, log_id_of
from permalog.tlog.canonical import EventRow, leaf_preimage
from permalog.tlog.checkpoint import Checkpoint, log_origin
from permalog.tlog.merkle import Closing, Node, leaf_hash, range_closing, root_of
from permalog.tlog.note import Cosigner, Ed25519Signer, VerifierKey, encode, signed

ORGANIZATION = UUID("5a3c1e00-0000-4000-8000-00000000000a")
LOG = log_id_of(ORGANIZATION, None)
SIGNER = Ed25519Signer("audit.example.com", bytes(range(32)))
STRANGER = Ed25519Signer("audit.example.com", bytes(range(1, 33)))
WITNESS = Cosigner("witness.example/w1", bytes(range(2, 34)))
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
# Its keys are in another order as code points than as UTF-16.
_METADATA = '{"package": "left-pad", "\ue000": [1, 1e-7], "\U0001f600": "\\u0001"}'


class Entry(NamedTuple):
    """An event of the log, and what opens its commitment."""

    row: EventRow
    preimage: bytes
    opening: Opening | None


def entry(number: int, **members: Any) -> Entry:
    """The event of this number: one an hour, every fifth by a member of staff."""
    staff = number % 5 == 4
    salt = number.to_bytes(16, "big")
    person = Identity(
        "staff" if staff else "actor", f"u_{number % 3}", f"u{number % 3}@tests.example", "Zoë \U0001f600"
    )
    at = BEGIN + timedelta(hours=number)
    moment = at.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
    fields: dict[str, Any] = {
        "log_id": str(LOG),
        "id": str(UUID(int=id_floor(at).int | 2 << 62 | number)),
        "occurred_at": moment,
        "recorded_at": moment,
        "recorded_by": "postgres",
        "action": f"security.finding.{'created' if number % 2 else 'deleted'}",
        "outcome": "success",
        "actor_type": "staff" if staff else "user",
        "actor_id": None if staff else person.actor_id,
        "identity": person.commitment(salt),
        "resource_type": "security_finding",
        "resource_id": f"f_{number}",
        "correlation_id": None,
        "source": "api",
        "schema_version": 1,
        "before_state": None,
        "after_state": f'{{"n": {number}, "share": 0.5}}' if number % 7 == 3 else None,
        "metadata": '{"tiny": 0.10000000000000000001}' if number % 11 == 6 else _METADATA,
        **members,
    }
    row = EventRow(**fields)
    return Entry(row, leaf_preimage(row), Opening(person.commitment(salt), person.canonical(), salt))


class HeldKeys:
    """The log's key at hand, as `permalog.sealing.keys.Keys` gives it."""

    def signer(self) -> Ed25519Signer:
        return SIGNER

    def known(self) -> list[VerifierKey]:
        return [SIGNER.key]


def node_reader(leaves: Sequence[bytes]) -> Callable[[Node], bytes]:
    return lambda node: root_of(leaves[node.number << node.height : (node.number + 1) << node.height])


def bundle_of(
    entries: Sequence[Entry],
    selected: Callable[[Entry], bool] = lambda _: True,
    *,
    query: dict[str, Any] | None = None,
    viewer: str = "staff",
    signer: Ed25519Signer = SIGNER,
    witnessed: bool = False,
    **changed: Any,
) -> bytes:
    """What an honest writer makes of the events that are selected; `changed` members of its `Account` are lies."""
    leaves = [leaf_hash(one.preimage) for one in entries]
    chosen = [index for index, one in enumerate(entries) if selected(one)]
    size = len(leaves)
    if chosen:
        start, end = chosen[0], chosen[-1] + 1
        closing = range_closing(start, end, size, node_reader(leaves))
    else:
        start = end = size
        frontier = [node_reader(leaves)(Node(h, (size >> h) - 1)) for h in reversed(range(20)) if size >> h & 1]
        closing = Closing(size, size, size, tuple(frontier), ())
    checkpoint = Checkpoint(log_origin("audit.example.com", LOG), size, root_of(leaves))
    note = checkpoint.signed(signer)
    if witnessed:
        note = note._replace(signatures=(*note.signatures, WITNESS.cosign(note.text, 1_769_850_000)))
    account = Account(
        log_id=str(LOG), epoch=1, owner=BundleOwner(organization_id=str(ORGANIZATION)),
        as_of="2026-03-01T00:00:00.000000Z", made_by=Asker(type="user", id="u_9"), viewer=viewer,
        query=Query(**query or {}), unsealed=0, checkpoint=checkpoint, note=note.to_bytes(), closing=closing,
    )._replace(**changed)  # fmt: skip
    with BundleWriter(tempfile.TemporaryFile, start) as writer:
        for index in range(start, end):
            one = entries[index]
            if selected(one):
                writer.event(one.preimage, one.row.id, one.row.occurred_at)
            else:
                writer.left_out(leaves[index])
        openings = {one.opening for one in entries if selected(one) and one.opening}
        for opening in sorted(openings):
            if viewer == "staff" or b'"kind":"staff"' not in opening.identity:
                writer.identity(opening)
        return b"".join(writer.finished(account, signer)[1])


def contents_of(data: bytes) -> dict[str, bytes]:
    """What is in a bundle, by name."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(members: Iterable[tuple[str, bytes]]) -> bytes:
    """These members as a file that is well written, whatever they hold."""
    made: list[Packed] = []
    for name, content in members:
        packing = Packing(name, io.BytesIO(), MEMBERS.get(name, DEFLATED))
        packing.write(content)
        made.append(packing.end())
    return b"".join(zipped(made))


def resigned(contents: dict[str, bytes], signer: Ed25519Signer = SIGNER, **changed: Any) -> bytes:
    """The same with other contents, and a manifest that is made to fit and signed: only the log's key can do that."""
    manifest = json.loads(contents[MANIFEST])
    manifest |= changed
    manifest["members"] = []
    for name in [*MEMBERS][2:]:
        packing = Packing(name, io.BytesIO())
        packing.write(contents[name])
        one = packing.end()
        manifest["members"].append(
            {
                "name": name,
                "size": one.member.size,
                "sha256": encode(one.sha256),
                "packed_size": one.member.packed_size,
                "packed_sha256": encode(one.packed_sha256),
            }
        )
    data = rfc8785.dumps(manifest)
    note = signed(manifest_text(manifest["origin"], data), signer)
    return packed((contents | {MANIFEST: data, SIGNATURE: note.to_bytes()}).items())
