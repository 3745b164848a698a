"""Writing an evidence bundle: leaves and identities one by one, then the file. It reaches no database itself."""

from __future__ import annotations

import io
from collections.abc import Callable, Generator
from contextlib import ExitStack
from types import TracebackType
from typing import BinaryIO, Final, NamedTuple, Self

from permalog.evidence import bundle
from permalog.evidence.archive import DEFLATED, Method, Packed, Packing, zipped
from permalog.evidence.bundle import Counts, LeafList, Manifest, ManifestMember, Opening, Place, Range, TreeHead
from permalog.evidence.readme import readme
from permalog.tlog.checkpoint import Checkpoint
from permalog.tlog.merkle import Closing
from permalog.tlog.note import Signer, encode, signed

_BUFFER: Final = 1 << 16


class Account(NamedTuple):
    """What a bundle says of itself beside what is in it."""

    log_id: str
    epoch: int
    owner: bundle.BundleOwner
    as_of: str
    made_by: bundle.Asker
    viewer: str
    query: bundle.Query
    unsealed: int
    checkpoint: Checkpoint
    note: bytes
    """The checkpoint, signed by the key that signs the bundle, with its cosignatures."""
    closing: Closing


class BundleWriter:
    """Takes the leaves of the range in their order, then the identities in that of their commitments.

    What is written waits in files that `new_file` makes, each of which is closed with this.
    """

    def __init__(self, new_file: Callable[[], BinaryIO], start: int) -> None:
        """``start``: the index of the first leaf."""
        self._files: Final = ExitStack()
        self._list: Final = LeafList()
        self._start: Final = start
        self._first: Place | None = None
        self._last: Place | None = None
        self._identities = 0
        self._new_file: Final = new_file
        self._leaves, self._events, self._people = (
            _Buffered(self._packing(name)) for name in (bundle.LEAVES, bundle.EVENTS, bundle.IDENTITIES)
        )

    def event(self, preimage: bytes, event_id: str, occurred_at: str) -> None:
        """The next leaf is this event's."""
        index = self._start + self._list.events + self._list.left_out
        place = Place.model_construct(leaf_index=index, id=event_id, occurred_at=occurred_at)
        self._first, self._last = self._first or place, place
        self._list.event()
        self._events.write(preimage + b"\n")

    def left_out(self, leaf: bytes) -> None:
        """The next leaf is left out."""
        self._leaves.write(self._list.hash(leaf))

    def identity(self, opening: Opening) -> None:
        """The next identity."""
        self._people.write(opening.line() + b"\n")
        self._identities += 1

    def finished(self, account: Account, signer: Signer) -> tuple[Manifest, Generator[bytes]]:
        """The signed manifest, and the file in pieces, which must be taken before this is closed."""
        self._leaves.write(self._list.end())
        manifest, members = self._manifest(account, signer)
        data = manifest.to_bytes()
        note = signed(bundle.manifest_text(manifest.origin, data), signer)
        head = [self._whole(bundle.MANIFEST, data), self._whole(bundle.SIGNATURE, note.to_bytes())]
        return manifest, zipped([*head, *members])

    def _manifest(self, account: Account, signer: Signer) -> tuple[Manifest, list[Packed]]:
        closing, checkpoint = account.closing, account.checkpoint
        manifest = Manifest.model_validate(
            {
                "format": bundle.FORMAT,
                "version": bundle.VERSION,
                "log_id": account.log_id,
                "origin": checkpoint.origin,
                "epoch": account.epoch,
                "owner": account.owner,
                "as_of": account.as_of,
                "made_by": account.made_by,
                "viewer": account.viewer,
                "time_zone": "UTC",
                "query": account.query,
                "tree": TreeHead(size=checkpoint.size, root=encode(checkpoint.root)),
                "range": Range(
                    start=closing.start, end=closing.end,
                    left=[encode(one) for one in closing.left], right=[encode(one) for one in closing.right],
                ),
                "counts": Counts(
                    events=self._list.events, left_out=self._list.left_out,
                    identities=self._identities, unsealed=account.unsealed,
                ),
                "first": self._first,
                "last": self._last,
                "key": str(signer.key),
                "members": [],
            }
        )  # fmt: skip
        members = [
            self._whole(bundle.README, readme(manifest).encode()),
            self._whole(bundle.CHECKPOINT, account.note),
            *(one.end() for one in (self._leaves, self._events, self._people)),
        ]
        return manifest.model_copy(update={"members": [_named(one) for one in members]}), members

    def _packing(self, name: str, method: Method = DEFLATED) -> Packing:
        return Packing(name, self._files.enter_context(self._new_file()), method)

    def _whole(self, name: str, data: bytes) -> Packed:
        packing = Packing(name, io.BytesIO(), bundle.MEMBERS[name])
        packing.write(data)
        return packing.end()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the files that wait."""
        self._files.close()


class _Buffered:
    """Hands bytes on by the ten thousand: packing them line by line takes twice the time."""

    def __init__(self, packing: Packing) -> None:
        self._packing: Final = packing
        self._waiting: Final[list[bytes]] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        self._waiting.append(data)
        self._size += len(data)
        if self._size > _BUFFER:
            self._flush()

    def end(self) -> Packed:
        self._flush()
        return self._packing.end()

    def _flush(self) -> None:
        self._packing.write(b"".join(self._waiting))
        self._waiting.clear()
        self._size = 0


def _named(packed: Packed) -> ManifestMember:
    member = packed.member
    return ManifestMember(
        name=member.name,
        size=member.size,
        sha256=encode(packed.sha256),
        packed_size=member.packed_size,
        packed_sha256=encode(packed.packed_sha256),
    )
