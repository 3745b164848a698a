"""The parts of an evidence bundle: its manifest, what the log's key signs of it, its lists. Pure functions over bytes.

    manifest.json      what was asked, and what is in here                        `Manifest`
    manifest.sig       a signed note over the manifest's digest                   `manifest_text`
    README.txt         for whoever opens the file
    checkpoint.txt     the log's signed checkpoint, with cosignatures of witnesses
    leaves.txt         the leaves of the range, in order: which are here, and the hashes of those that are left out
    events.ndjson      the preimages of the leaves that are here, a line each
    identities.ndjson  identities that open commitments, a line each              `Opening`

docs/evidence-bundle.md has it byte by byte.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Annotated, ClassVar, Final, Literal, NamedTuple, Self, TypeAlias
from uuid import UUID

import orjson
import rfc8785
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from permalog.errors import BundleCode, Malformed
from permalog.evidence.archive import DEFLATED, STORED, Method
from permalog.ids import log_id_of
from permalog.tlog.note import decode, encode

FORMAT: Final = "permalog-evidence-bundle"
VERSION: Final = 1
SIGNED_TEXT: Final = "permalog evidence bundle v1"

MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "manifest.sig"
README: Final = "README.txt"
CHECKPOINT: Final = "checkpoint.txt"
LEAVES: Final = "leaves.txt"
EVENTS: Final = "events.ndjson"
IDENTITIES: Final = "identities.ndjson"

MEMBERS: Final[dict[str, Method]] = {
    MANIFEST: STORED,
    SIGNATURE: STORED,
    README: DEFLATED,
    CHECKPOINT: DEFLATED,
    LEAVES: DEFLATED,
    EVENTS: DEFLATED,
    IDENTITIES: DEFLATED,
}
"""Every member, in the order of the file, and how it is packed. There are no others."""

LIMITS: Final = {MANIFEST: 1_000_000, SIGNATURE: 1_000_000, README: 100_000, CHECKPOINT: 1_000_000}
"""The most bytes of the members that are read as a whole."""
LONGEST_LINE: Final = 1 << 30
"""The most bytes of a line: more than the largest event that PostgreSQL can store."""
_MOST: Final = 2**53 - 1

Hash: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{43}=$")]
"""32 bytes in base64."""
Moment: TypeAlias = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{6}Z$")]
"""RFC 3339 in UTC with six decimals: these compare as text."""
LogUuid: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
Count: TypeAlias = Annotated[int, Field(ge=0, le=_MOST)]


class _Part(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True, strict=True)


class BundleOwner(_Part):
    """Whose log it is; exactly one."""

    organization_id: LogUuid | None = None
    user_id: str | None = None

    def log_id(self) -> UUID:
        """The id that the log of this owner has."""
        return log_id_of(None if self.organization_id is None else UUID(self.organization_id), self.user_id)


class Asker(_Part):
    """Who made the bundle."""

    type: Literal["user", "staff", "api_key", "system"]
    id: str | None = None
    email: str | None = None
    name: str | None = None


class Query(_Part):
    """Which events were asked for: the filters that were given, each as the list takes it. All hold at once."""

    action: Annotated[list[str], Field(min_length=1)] | None = None
    actor_id: str | None = None
    actor_email: str | None = None
    resource_type: str | None = None
    resource_id: str | None = None
    outcome: str | None = None
    correlation_id: str | None = None
    source: str | None = None
    search: str | None = None
    start: Moment | None = None
    """Inclusive."""
    end: Moment | None = None
    """Exclusive."""


class Place(_Part):
    """One event: where it stands, which it is, and when it happened."""

    leaf_index: Count
    id: LogUuid
    occurred_at: Moment


class TreeHead(_Part):
    """The tree at the checkpoint."""

    size: Count
    root: Hash


class Range(_Part):
    """The leaves from the first event to the last, and the hashes that close them to the root (RFC 6962)."""

    start: Count
    end: Count
    left: Annotated[list[Hash], Field(max_length=64)]
    right: Annotated[list[Hash], Field(max_length=64)]


class Counts(_Part):
    """How much is in here."""

    events: Count
    left_out: Count
    """Leaves of the range that stand as hashes."""
    identities: Count
    unsealed: Count
    """Events that the query selects and that had no leaf below the checkpoint: they are not in here."""


class ManifestMember(_Part):
    """A member: its bytes, and the same as they are packed into the file."""

    name: str
    size: Count
    sha256: Hash
    packed_size: Count
    packed_sha256: Hash


class Manifest(_Part):
    """What was asked, when, by whom, and what the answer is."""

    format: Literal["permalog-evidence-bundle"]
    version: Literal[1]
    log_id: LogUuid
    origin: str
    epoch: Annotated[int, Field(ge=1, le=_MOST)]
    owner: BundleOwner
    as_of: Moment
    made_by: Asker
    viewer: Literal["staff", "customer"]
    """To a customer, staff are masked: their identities are not in here."""
    time_zone: Literal["UTC"]
    query: Query
    tree: TreeHead
    range: Range
    counts: Counts
    first: Place | None = None
    last: Place | None = None
    key: str
    """The verifier key that has signed the manifest and the checkpoint.

    Whoever wants more than integrity has got it another way, and compares."""
    members: Annotated[list[ManifestMember], Field(max_length=len(MEMBERS))]

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        """What the parts say of each other."""
        counts, reach = self.counts, self.range
        if str(self.owner.log_id()) != self.log_id or (self.owner.organization_id is None) == (
            self.owner.user_id is None
        ):
            raise ValueError("the log is not that of the owner")
        if not self.origin.endswith(f"/log/{self.log_id}" + (f"/{self.epoch}" if self.epoch > 1 else "")):
            raise ValueError("the origin is not that of the log and its epoch")
        if reach.end - reach.start != counts.events + counts.left_out or reach.end > self.tree.size:
            raise ValueError("the range has not as many leaves as there are events and left-out ones")
        if counts.events == 0 and not (self.first is self.last is None and reach.start == self.tree.size):
            raise ValueError("a bundle without events has its empty range at the end of the tree")
        if counts.events and not (
            self.first and self.last and (self.first.leaf_index, self.last.leaf_index) == (reach.start, reach.end - 1)
        ):
            raise ValueError("the range does not reach from the first event to the last")
        return self

    def digest(self) -> bytes:
        """The SHA-256 of the member `manifest.json`."""
        return hashlib.sha256(self.to_bytes()).digest()

    def to_bytes(self) -> bytes:
        """The member `manifest.json`: RFC 8785, without a newline; what is absent is left out."""
        return rfc8785.dumps(self.model_dump(exclude_none=True))

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Reads exactly what `to_bytes` writes.

        Raises:
            Malformed: it is not canonical JSON, or its members are not those of a manifest (`MANIFEST`).
        """
        try:
            manifest = cls.model_validate(orjson.loads(data))
            canonical = manifest.to_bytes()
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, fault["loc"])) or "it"
            raise Malformed(BundleCode.MANIFEST, f"the manifest does not stand: {place}: {fault['msg']}") from None
        except ValueError:
            raise Malformed(BundleCode.MANIFEST, "the manifest is no JSON") from None
        if [one.name for one in manifest.members] != list(MEMBERS)[2:]:
            raise Malformed(BundleCode.MANIFEST, "the manifest does not name the members of a bundle")
        if canonical != data:
            raise Malformed(BundleCode.MANIFEST, "the manifest is not written in its canonical form")
        return manifest


def manifest_text(origin: str, manifest: bytes) -> str:
    """What the log's key signs, as the text of a signed note.

    Its second line is an origin, which has a slash or a letter: no reader of checkpoints, which have their size there,
    takes it for one; nor does it begin as a cosignature does.
    """
    return f"{SIGNED_TEXT}\n{origin}\n{encode(hashlib.sha256(manifest).digest())}\n"


class Opening(NamedTuple):
    """What makes a commitment tell of whom it is: the identity in its canonical form, and the salt."""

    commitment: bytes
    identity: bytes
    """RFC 8785, absent members left out: `permalog.identity.Identity.canonical`."""
    salt: bytes

    def line(self) -> bytes:
        """The line of `identities.ndjson`, without its newline."""
        return b'{"commitment":"%s","identity":%s,"salt":"%s"}' % (
            self.commitment.hex().encode(),
            self.identity,
            self.salt.hex().encode(),
        )

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """Reads exactly what `line` writes.

        Raises:
            Malformed: the line is not written so (`IDENTITY`).
        """
        found = _OPENING.fullmatch(line)
        if found is None:
            raise Malformed(BundleCode.IDENTITY, "a line of the identities is not written as the format says")
        return cls(bytes.fromhex(found[1].decode()), found[2], bytes.fromhex(found[3].decode()))


_OPENING: Final = re.compile(rb'\{"commitment":"([0-9a-f]{64})","identity":(\{.*\}),"salt":"([0-9a-f]{32})"\}')
_RUN: Final = re.compile(rb"events ([1-9][0-9]{0,15})")


class LeafList:
    """Writes `leaves.txt`: ``events <n>`` for as many lines of `events.ndjson`, or the base64 of a left-out hash."""

    def __init__(self) -> None:
        self.events = 0
        self.left_out = 0
        self._run = 0

    def event(self) -> None:
        """The next leaf is the next event."""
        self._run += 1
        self.events += 1

    def hash(self, leaf: bytes) -> bytes:
        """The next leaf is left out; returns what is to be written now."""
        self.left_out += 1
        return self.end() + encode(leaf).encode() + b"\n"

    def end(self) -> bytes:
        """What is still to be written."""
        run, self._run = self._run, 0
        return b"events %d\n" % run if run else b""


def leaf_runs(lines: Iterator[bytes]) -> Iterator[int | bytes]:
    """Reads `leaves.txt`: how many events come next, or the hash of one leaf that is left out.

    1. Each line is one of the two. 2. No two lines of events follow each other.

    Raises:
        Malformed: one of these (`LEAVES`).
    """
    was_run = False
    for line in lines:
        if found := _RUN.fullmatch(line):
            if was_run:
                raise Malformed(BundleCode.LEAVES, "two lines for events follow each other in leaves.txt")
            yield int(found[1])
        elif len(line) == 44 and (leaf := decode(line.decode("ascii", "replace"))) and len(leaf) == 32:  # noqa: PLR2004
            yield leaf
        else:
            raise Malformed(BundleCode.LEAVES, "a line of leaves.txt is neither a count of events nor a hash")
        was_run = found is not None


def lines_of(chunks: Iterator[bytes], code: BundleCode) -> Iterator[bytes]:
    """The lines of a member, each ended by a newline, in memory of one line.

    Raises:
        Malformed: the last line is not ended (`code`), or one is longer than 2^30 bytes (`LIMIT`).
    """
    rest: list[bytes] = []
    held = 0
    for chunk in chunks:
        first, *lines = chunk.split(b"\n")
        if not lines:
            rest.append(first)
            held += len(first)
            if held > LONGEST_LINE:
                raise Malformed(BundleCode.LIMIT, f"a line is longer than {LONGEST_LINE} bytes")
            continue
        yield b"".join((*rest, first))
        yield from lines[:-1]
        rest, held = [lines[-1]], len(lines[-1])
    if held:
        raise Malformed(code, "the last line of a member is not ended by a newline")
