"""Verifying an evidence bundle: the file and a public key, and nothing else. No database, no network, constant memory.

`verify_bundle` takes the steps of docs/evidence-bundle.md in their order, and raises at the first that fails.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, BinaryIO, Final, NamedTuple

import orjson

from permalog import bundle
from permalog.bundle import Manifest, Opening, Place
from permalog.bundle_zip import Placed, packed_digest, read_directory, unpacked
from permalog.canonical import read_preimage, read_preimages
from permalog.checkpoint import VerifiedCheckpoint, check_origin, verify_checkpoint
from permalog.errors import BundleCode, Malformed, ProofCode, Refuted
from permalog.merkle import Closing, Frontier, verify_range
from permalog.note import ED25519, Note, VerifierKey, decode, encode

Progress = Callable[[int], object]
"""Told now and then how many events were looked at since it was told last."""

_AT_ONCE: Final = 32
"""Events that are read together: faster than one by one, and than more than the processor's caches hold."""
_SAME_IN_BOTH: Final = ("actor_id", "resource_type", "resource_id", "outcome", "correlation_id", "source")
_IDENTITY: Final = frozenset({"kind", "actor_id", "email", "name", "ip_address", "user_agent", "value"})


class VerifiedBundle(NamedTuple):
    """What a bundle that stands has shown."""

    manifest: Manifest
    checkpoint: VerifiedCheckpoint
    is_trusted: bool
    """Whether the key came from elsewhere. If not, the file is whole, and says itself whose it is."""

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        manifest = self.manifest
        return {
            "log_id": manifest.log_id,
            "origin": manifest.origin,
            "epoch": manifest.epoch,
            "as_of": manifest.as_of,
            "viewer": manifest.viewer,
            "query": manifest.query.model_dump(exclude_none=True),
            "tree_size": manifest.tree.size,
            **manifest.counts.model_dump(),
            "first": manifest.first and manifest.first.model_dump(),
            "last": manifest.last and manifest.last.model_dump(),
            "keys": [str(one.key) for one in self.checkpoint.signatures],
            "trusted": self.is_trusted,
            "witnesses": [{"key": str(one.key), "time": one.time} for one in self.checkpoint.cosignatures],
        }


def verify_bundle(
    file: BinaryIO,
    keys: Iterable[VerifierKey] = (),
    *,
    witnesses: Iterable[VerifierKey] = (),
    progress: Progress = lambda _: None,
) -> VerifiedBundle:
    """The bundle is whole, and what it shows of its log is what the log's key has signed.

    1. The file is a zip as this format writes it, with the members of a bundle. 2. The manifest is written as it should
    be. 3. A key of the log has signed it. 4. Each member's packed bytes are those that it names. 5. The checkpoint is
    signed, and that of its tree. 6. The events are canonical, of this log, and such as the query selects; they and the
    hashes of what is left out lead to the root. 7. Each identity opens its commitment, and none is masked.

    Args:
        file: the bundle; it must be able to seek.
        keys: those of the log, got another way than with the bundle. Without any, those inside it are taken: they show
            that the file was not altered by somebody without their private half, and not whose log it is.
        witnesses: whose cosignatures count; how many are enough is for the caller to say.
        progress: see `Progress`.

    Raises:
        Malformed: something is not written as the format says.
        Refuted: it is, and is wrong. Both have a `BundleCode` or a `ProofCode`.
    """
    given = frozenset(keys)
    parts = _members(read_directory(file))
    data = _whole(file, parts[bundle.MANIFEST])
    manifest = Manifest.parse(data)
    check_origin(manifest.origin)
    own = VerifierKey.parse(manifest.key)
    _check_signed(_whole(file, parts[bundle.SIGNATURE]), manifest, data, own, given or {own})
    _check_members(file, manifest, parts)
    checkpoint = _check_tree(file, manifest, parts, given or {own}, witnesses)
    _Contents(file, manifest, parts, progress).check()
    return VerifiedBundle(manifest, checkpoint, bool(given))


def _members(found: Sequence[Placed]) -> dict[str, Placed]:
    """Step 1: exactly these members, in this order, packed so."""
    if [(one.member.name, one.member.method) for one in found] != list(bundle.MEMBERS.items()):
        raise Malformed(BundleCode.MEMBER, "the members of the file are not those of a bundle")
    for one in found:
        if one.member.size > bundle.LIMITS.get(one.member.name, one.member.size):
            raise Malformed(BundleCode.LIMIT, f"{one.member.name} is larger than the format allows")
    return {one.member.name: one for one in found}


def _whole(file: BinaryIO, placed: Placed, sha256: bytes | None = None) -> bytes:
    """The bytes of a member that is bounded by `LIMITS`; one without a digest is stored, and signed or a signature."""
    digest = packed_digest(file, placed) if sha256 is None else sha256
    return b"".join(unpacked(file, placed, digest))


def _check_signed(
    signature: bytes, manifest: Manifest, data: bytes, signer: VerifierKey, known: AbstractSet[VerifierKey]
) -> None:
    """Step 3: one signature, of the manifest's key, which is known, over the digest of this manifest."""
    note = Note.parse(signature)
    if note.text != bundle.manifest_text(manifest.origin, data) or len(note.signatures) != 1:
        raise Refuted(BundleCode.SIGNATURE, "the signature is not one of this manifest")
    if signer.type != ED25519 or signer not in known:
        raise Refuted(
            ProofCode.UNSIGNED, f"{signer} has signed the manifest, which is not a key of the log that is known"
        )
    note.verify([signer])


def _check_members(file: BinaryIO, manifest: Manifest, parts: dict[str, Placed]) -> None:
    """Step 4. Nothing is unpacked before it: what is packed here is what was signed."""
    for one in manifest.members:
        placed = parts[one.name]
        if (one.size, one.packed_size) != (placed.member.size, placed.member.packed_size):
            raise Refuted(BundleCode.MEMBER, f"{one.name} has not the size that the manifest names")
        if encode(packed_digest(file, placed)) != one.packed_sha256:
            raise Refuted(BundleCode.MEMBER, f"the bytes of {one.name} are not those that the manifest names")


def _check_tree(
    file: BinaryIO,
    manifest: Manifest,
    parts: dict[str, Placed],
    keys: Iterable[VerifierKey],
    witnesses: Iterable[VerifierKey],
) -> VerifiedCheckpoint:
    """Step 5, and the README, of which only the digest says something."""
    digests = {one.name: decode(one.sha256) or b"" for one in manifest.members}
    _whole(file, parts[bundle.README], digests[bundle.README])
    note = _whole(file, parts[bundle.CHECKPOINT], digests[bundle.CHECKPOINT])
    verified = verify_checkpoint(note, manifest.origin, keys, witnesses)
    found = verified.checkpoint
    if (found.size, encode(found.root)) != (manifest.tree.size, manifest.tree.root):
        raise Refuted(BundleCode.CHECKPOINT, "the checkpoint is not that of the manifest's tree")
    return verified


@dataclass(slots=True)
class _Contents:
    """Steps 6 and 7: the three lists, each read once from its beginning to its end."""

    file: BinaryIO
    manifest: Manifest
    parts: dict[str, Placed]
    progress: Progress
    events: int = 0
    left_out: int = 0
    last: Place | None = None
    exact: list[tuple[str, Any]] = field(init=False)
    """What the query says of members that stand in an event as they stand in it."""
    is_filtered: bool = field(init=False)

    def __post_init__(self) -> None:
        query = self.manifest.query
        self.exact = [(name, value) for name in _SAME_IN_BOTH if (value := getattr(query, name)) is not None]
        self.is_filtered = query != bundle.Query()

    def check(self) -> None:
        lines = self._lines(bundle.EVENTS, BundleCode.EVENT)
        self._check_root(self._leaves(lines))
        if next(lines, None) is not None:
            raise Malformed(BundleCode.COUNT, "there are more events than leaves.txt places")
        counts = self.manifest.counts
        if (self.events, self.left_out) != (counts.events, counts.left_out) or self.last != self.manifest.last:
            raise Refuted(
                BundleCode.COUNT, "the events are not as many as the manifest says, or do not end with its last"
            )
        self._check_identities()

    def _check_root(self, leaves: Iterator[bytes]) -> None:
        reach, tree = self.manifest.range, self.manifest.tree
        left, right, [root] = ([decode(one) or b"" for one in side] for side in (reach.left, reach.right, [tree.root]))
        if reach.start < reach.end:
            verify_range(leaves, Closing(reach.start, reach.end, tree.size, tuple(left), tuple(right)), root)
            return
        # An empty range stands at the end: left of it is the whole tree, as the largest complete subtrees make it.
        if len(left) != tree.size.bit_count() or right:
            raise Malformed(ProofCode.LENGTH, "the hashes that close an empty range are not those of its tree's size")
        if Frontier(tree.size, tuple(left)).root() != root:
            raise Refuted(ProofCode.RANGE, "the hashes that close an empty range do not lead to the root")
        if next(leaves, None) is not None:
            raise Malformed(BundleCode.COUNT, "there are leaves in an empty range")

    def _leaves(self, lines: Iterator[bytes]) -> Iterator[bytes]:
        """The hash of every leaf of the range, each event looked at on the way."""
        sha256 = hashlib.sha256
        is_event = False
        for run in bundle.leaf_runs(self._lines(bundle.LEAVES, BundleCode.LEAVES)):
            is_event = isinstance(run, int)
            if isinstance(run, bytes):
                if not self.events:
                    raise Malformed(BundleCode.LEAVES, "the range does not begin with an event")
                self.left_out += 1
                yield run
                continue
            for start in range(0, run, _AT_ONCE):
                batch = list(islice(lines, min(_AT_ONCE, run - start)))
                self._check_events(batch)
                if len(batch) < min(_AT_ONCE, run - start):
                    raise Malformed(BundleCode.COUNT, "there are fewer events than leaves.txt places")
                yield from [sha256(b"\0" + line).digest() for line in batch]
        if self.events and not is_event:
            raise Malformed(BundleCode.LEAVES, "the range does not end with an event")

    def _check_events(self, lines: list[bytes]) -> None:
        try:
            events = read_preimages(lines)
        except ValueError:
            events = [self._read(line, number) for number, line in enumerate(lines)]
        log_id, reach = self.manifest.log_id, self.manifest.range
        index = reach.start + self.events + self.left_out
        for number, event in enumerate(events):
            if event["log_id"] != log_id:
                raise self._wrong(BundleCode.EVENT, number, "is of another log")
            if self.is_filtered and not self._is_selected(event):
                raise self._wrong(BundleCode.QUERY, number, "is not one that the query selects")
        if events and not self.events and _place(events[0], index) != self.manifest.first:
            raise self._wrong(BundleCode.COUNT, 0, "is not the first that the manifest names")
        if events:
            self.last = _place(events[-1], index + len(events) - 1)
        self.events += len(events)
        self.progress(len(events))

    def _read(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            return read_preimage(line)
        except ValueError as error:
            raise self._wrong(BundleCode.EVENT, number, f"is {error}") from None

    def _is_selected(self, event: dict[str, Any]) -> bool:
        """All filters but the two that only the database can compare: an address, and a search."""
        query, at = self.manifest.query, event["occurred_at"]
        if (query.start is not None and at < query.start) or (query.end is not None and at >= query.end):
            return False
        if query.action is not None and event["action"] not in query.action:
            return False
        # The id of a member of staff stands in their identity only.
        return all(
            event.get(name) == value or (name == "actor_id" and event["actor_type"] == "staff")
            for name, value in self.exact
        )

    def _wrong(self, code: BundleCode, number: int, what: str) -> Refuted:
        index = self.manifest.range.start + self.events + self.left_out + number
        return Refuted(code, f"the event at leaf {index} {what}")

    def _check_identities(self) -> None:
        found, last = 0, b""
        for line in self._lines(bundle.IDENTITIES, BundleCode.IDENTITY):
            opening = Opening.parse(line)
            if opening.commitment <= last:
                raise Malformed(BundleCode.IDENTITY, "the identities are not in the order of their commitments")
            self._check_opening(opening)
            found, last = found + 1, opening.commitment
        if found != self.manifest.counts.identities:
            raise Refuted(BundleCode.COUNT, "there are not as many identities as the manifest says")

    def _check_opening(self, opening: Opening) -> None:
        try:
            members: Any = orjson.loads(opening.identity)
        except ValueError:
            members = None
        if not isinstance(members, dict) or not {"kind"} <= members.keys() <= _IDENTITY:  # pyright: ignore[reportUnknownMemberType]
            raise Malformed(BundleCode.IDENTITY, "the members of an identity are not those of one")
        # For text under ASCII keys orjson writes what RFC 8785 asks for.
        is_text = all(isinstance(value, str) for value in members.values())  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        if not is_text or orjson.dumps(members, option=orjson.OPT_SORT_KEYS) != opening.identity:
            raise Malformed(BundleCode.IDENTITY, "an identity is not in its canonical form")
        if hashlib.sha256(b"\2" + opening.salt + opening.identity).digest() != opening.commitment:
            raise Refuted(BundleCode.IDENTITY, f"an identity does not open its commitment {opening.commitment.hex()}")
        if self.manifest.viewer == "customer" and members["kind"] == "staff":
            raise Refuted(BundleCode.IDENTITY, "a bundle for a customer opens the identity of a member of staff")

    def _lines(self, name: str, code: BundleCode) -> Iterator[bytes]:
        sha256 = next(decode(one.sha256) or b"" for one in self.manifest.members if one.name == name)
        return bundle.lines_of(unpacked(self.file, self.parts[name], sha256), code)


def _place(event: dict[str, Any], index: int) -> Place:
    return Place.model_construct(leaf_index=index, id=event["id"], occurred_at=event["occurred_at"])
