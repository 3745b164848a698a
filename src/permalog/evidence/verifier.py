"""Verifying an evidence bundle: the file and a public key, and nothing else. No database, no network, constant memory.

Both take the steps of docs/evidence-bundle.md in their order: `verify_bundle` raises at the first that fails,
`inspect_bundle` goes on as far as what has failed allows, and reports all.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple, NoReturn, TypeAlias
from uuid import UUID

from permalog.errors import BundleCode, Malformed, NotProven, ProofCode, Refuted
from permalog.evidence import bundle
from permalog.evidence.archive import Placed, packed_digest, read_directory, unpacked
from permalog.evidence.bundle import Manifest, Opening
from permalog.evidence.events import Checked, Checker, Rules, check_opening
from permalog.tlog.checkpoint import VerifiedCheckpoint, check_origin, verify_checkpoint
from permalog.tlog.findings import Finding, Report
from permalog.tlog.merkle import Closing, Frontier, verify_range
from permalog.tlog.note import ED25519, Note, VerifierKey, decode, encode

Progress = Callable[[int], object]
"""Told now and then how many events were looked at since it was told last."""


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
    helped: bool = False,
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
        helped: a second process checks a part of the events, if there are many. The program's main module must be one
            that can be imported, as `multiprocessing` asks.

    Raises:
        Malformed: something is not written as the format says.
        Refuted: it is, and is wrong. Both have a `BundleCode` or a `ProofCode`.
    """

    def refuse(error: NotProven, _index: int | None, _event: str | None) -> NoReturn:
        raise error

    found = _Verifier(file, frozenset(keys), tuple(witnesses), progress, refuse, helped=helped).verify()
    if found is None:
        raise AssertionError("what is not proven was raised")
    return found


def inspect_bundle(  # noqa: PLR0913  those of `verify_bundle`
    file: BinaryIO,
    keys: Iterable[VerifierKey] = (),
    *,
    witnesses: Iterable[VerifierKey] = (),
    progress: Progress = lambda _: None,
    helped: bool = False,
    report: Report,
) -> VerifiedBundle | None:
    """The same, but everything that is wrong goes to `report`; None if anything is.

    What cannot be looked at because of something else is passed over: without a manifest there is nothing to compare
    with, and a member that is not the one that was signed is not unpacked.
    """
    known: list[UUID] = []

    def take(error: NotProven, index: int | None, event: str | None) -> None:
        message = str(error).removesuffix(f" ({error.code})")
        log_id = known[0] if known else None
        report(Finding(error.code, message, log_id, None, index, None if event is None else UUID(event)))

    return _Verifier(file, frozenset(keys), tuple(witnesses), progress, take, known, helped=helped).verify()


_Take: TypeAlias = Callable[[NotProven, int | None, str | None], object]
"""Takes what is wrong, with the leaf index and the event where they are known."""


@dataclass(slots=True)
class _Verifier:
    """The steps, each of which may be wrong by itself."""

    file: BinaryIO
    given: AbstractSet[VerifierKey]
    witnesses: tuple[VerifierKey, ...]
    progress: Progress
    take: _Take
    known: list[UUID] | None = None
    """Gets the id of the log when it is read."""
    helped: bool = False
    faults: int = 0

    def verify(self) -> VerifiedBundle | None:
        """All steps; None if something was wrong."""
        with self._step():
            parts = _members(read_directory(self.file))
            data = _whole(self.file, parts[bundle.MANIFEST])
            manifest = Manifest.parse(data)
            check_origin(manifest.origin)
            own = VerifierKey.parse(manifest.key)
        if self.faults:
            return None
        if self.known is not None:
            self.known.append(UUID(manifest.log_id))
        keys = self.given or {own}
        with self._step():
            _check_signed(_whole(self.file, parts[bundle.SIGNATURE]), manifest, data, own, keys)
        intact = {one.name for one in manifest.members if self._is_intact(one, parts[one.name])}
        checkpoint: VerifiedCheckpoint | None = None
        with self._step():
            checkpoint = self._check_tree(manifest, parts, intact, keys)
        with Checker(Rules.of(manifest)) as checker:
            contents = _Contents(self.file, manifest, parts, self.progress, self.wrong, checker)
            if self.helped:
                checker.get_help(manifest.counts.events)
            if {bundle.EVENTS, bundle.LEAVES} <= intact:
                with self._step():
                    contents.check_events()
            if bundle.IDENTITIES in intact:
                with self._step():
                    contents.check_identities()
        if self.faults or checkpoint is None:
            return None
        return VerifiedBundle(manifest, checkpoint, bool(self.given))

    def _check_tree(
        self, manifest: Manifest, parts: dict[str, Placed], intact: AbstractSet[str], keys: Iterable[VerifierKey]
    ) -> VerifiedCheckpoint | None:
        """Step 5, and the README, of which only the digest says something."""
        digests = {one.name: decode(one.sha256) or b"" for one in manifest.members}
        if bundle.README in intact:
            _whole(self.file, parts[bundle.README], digests[bundle.README])
        if bundle.CHECKPOINT not in intact:
            return None
        note = _whole(self.file, parts[bundle.CHECKPOINT], digests[bundle.CHECKPOINT])
        verified = verify_checkpoint(note, manifest.origin, keys, self.witnesses)
        found = verified.checkpoint
        if (found.size, encode(found.root)) != (manifest.tree.size, manifest.tree.root):
            raise Refuted(BundleCode.CHECKPOINT, "the checkpoint is not that of the manifest's tree")
        return verified

    def wrong(self, error: NotProven, index: int | None = None, event: str | None = None) -> None:
        """Something is."""
        self.faults += 1
        self.take(error, index, event)

    @contextmanager
    def _step(self) -> Generator[None]:
        """Takes what a step raises; the next goes on."""
        try:
            yield
        except NotProven as error:
            self.wrong(error)

    def _is_intact(self, one: bundle.ManifestMember, placed: Placed) -> bool:
        """Step 4. Nothing is unpacked before it: what is packed here is what was signed."""
        if (one.size, one.packed_size) != (placed.member.size, placed.member.packed_size):
            self.wrong(Refuted(BundleCode.MEMBER, f"{one.name} has not the size that the manifest names"))
            return False
        if encode(packed_digest(self.file, placed)) != one.packed_sha256:
            self.wrong(Refuted(BundleCode.MEMBER, f"the bytes of {one.name} are not those that the manifest names"))
            return False
        return True


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


@dataclass(slots=True)
class _Contents:
    """Steps 6 and 7: the three lists, each read once from its beginning to its end."""

    file: BinaryIO
    manifest: Manifest
    parts: dict[str, Placed]
    progress: Progress
    wrong: Callable[[NotProven, int | None, str | None], None]
    checker: Checker
    events: int = 0
    left_out: int = 0
    last: tuple[int, str, str] | None = None

    def check_events(self) -> None:
        """Step 6."""
        lines = self._lines(bundle.EVENTS, BundleCode.EVENT)
        self._check_root(self._leaves(lines))
        if next(lines, None) is not None:
            raise Malformed(BundleCode.COUNT, "there are more events than leaves.txt places")
        counts = self.manifest.counts
        if (self.events, self.left_out) != (counts.events, counts.left_out) or self.last != _named(self.manifest.last):
            raise Refuted(
                BundleCode.COUNT, "the events are not as many as the manifest says, or do not end with its last"
            )

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
        is_event = False
        for run in bundle.leaf_runs(self._lines(bundle.LEAVES, BundleCode.LEAVES)):
            is_event = isinstance(run, int)
            if isinstance(run, bytes):
                if not self.events:
                    raise Malformed(BundleCode.LEAVES, "the range does not begin with an event")
                self.left_out += 1
                yield run
                continue
            missing = run
            for part in self.checker.check(lines, run):
                missing -= len(part.leaves)
                self._take_part(part)
                yield from part.leaves
            if missing:
                raise Malformed(BundleCode.COUNT, "there are fewer events than leaves.txt places")
        if self.events and not is_event:
            raise Malformed(BundleCode.LEAVES, "the range does not end with an event")

    def _take_part(self, part: Checked) -> None:
        index = self.manifest.range.start + self.events + self.left_out
        for fault in part.faults:
            where = index + fault.offset
            self.wrong(Refuted(fault.code, f"the event at leaf {where} {fault.what}"), where, fault.event_id)
        if not self.events and part.first is not None and (index, *part.first) != _named(self.manifest.first):
            message = f"the event at leaf {index} is not the first that the manifest names"
            self.wrong(Refuted(BundleCode.COUNT, message), index, part.first[0])
        self.events += len(part.leaves)
        self.last = None if part.last is None else (index + len(part.leaves) - 1, *part.last)
        self.progress(len(part.leaves))

    def check_identities(self) -> None:
        """Step 7."""
        found, last = 0, b""
        for line in self._lines(bundle.IDENTITIES, BundleCode.IDENTITY):
            found += 1
            try:
                opening = Opening.parse(line)
                if opening.commitment <= last:
                    raise Malformed(BundleCode.IDENTITY, "the identities are not in the order of their commitments")
                last = opening.commitment
                check_opening(opening, self.manifest.viewer)
            except NotProven as error:
                self.wrong(error, None, None)
        if found != self.manifest.counts.identities:
            raise Refuted(BundleCode.COUNT, "there are not as many identities as the manifest says")

    def _lines(self, name: str, code: BundleCode) -> Iterator[bytes]:
        sha256 = next(decode(one.sha256) or b"" for one in self.manifest.members if one.name == name)
        return bundle.lines_of(unpacked(self.file, self.parts[name], sha256), code)


def _named(place: bundle.Place | None) -> tuple[int, str, str] | None:
    return None if place is None else (place.leaf_index, place.id, place.occurred_at)
