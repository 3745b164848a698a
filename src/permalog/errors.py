"""Every error that Permalog raises, as one tree.

    PermalogError
    ├── InvalidEvent (ValueError)       what was to be recorded breaks a rule; names the field
    │   ├── UnknownAction               the action is neither in the database's catalogue nor declared
    │   └── NotAllowed                  the right to import is missing
    ├── ContentConflict                 the same key or id was used before with other content
    ├── InvalidQuery (ValueError)       a filter, limit or export format breaks a rule; names the field
    │   └── InvalidCursor               a cursor of another log, of other filters, or none at all
    ├── EventNotFound (LookupError)     no such event in this log
    ├── NoEvidence                      no bundle can be made of this log: nothing is signed, or it was erased
    ├── NotSealed                       no signed checkpoint covers the event yet
    ├── RecorderFull                    so much waits already, or the recorder is closed
    ├── SpoolProblem                    the spool cannot be written
    ├── WitnessRefused                  a witness does not cosign a checkpoint; says why
    ├── WitnessUnusable                 the key or the state of a witness cannot be relied on
    ├── WitnessUnreachable              a witness did not answer as witnesses do
    ├── InvalidPolicy (ValueError)      a witness policy breaks a rule
    ├── AnchorConflict                  what was published as anchors is not in this database
    ├── PublishFailed                   a place did not take an anchor
    ├── KeyUnusable                     a signing key cannot be used; says why
    ├── OutsideUnusable                 what is kept outside the database cannot be read or written
    ├── SealingRefused                  a log is not signed, since what was signed last does not fit; says what to do
    ├── NotProven                       a proof, a tile, a note or a checkpoint does not stand; has a code
    │   ├── Malformed                   it is not written as its format says, and was not looked at further
    │   └── Refuted                     it is well written, and wrong
    └── DatabaseProblem                 the database is not as it must be
        ├── NotMigrated                 `permalog migrate` has not been run, or not this version's
        ├── UnsuitableDatabase          its character type is C or POSIX, its encoding not UTF-8, its version too old
        ├── MigrationFailed             a migration could not be applied
        └── EmbeddedUnavailable         the embedded PostgreSQL could not be started

The message is a sentence for whoever can mend it. No message holds personal data or a payload's values.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uuid import UUID

    from pydantic import ValidationError


class PermalogError(Exception):
    """The root of all errors of Permalog."""


class _FieldError(PermalogError, ValueError):
    """A value breaks a rule.

    Attributes:
        field: which one, as a dotted path such as ``actor.id`` or ``metadata.tags[3]``.
        reason: what is wrong with it, without the value itself.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field = field
        self.reason = reason


class InvalidEvent(_FieldError):
    """An event breaks a rule of docs/record-format.md, and was not recorded."""

    @classmethod
    def of(cls, error: ValidationError, prefix: str = "") -> InvalidEvent:
        """The first fault that pydantic found, as this project words it: the field, and no value."""
        fault = error.errors(include_url=False, include_input=False)[0]
        cause = fault.get("ctx", {}).get("error")
        if isinstance(cause, _FieldError):
            return cls(cause.field, cause.reason)
        path = ".".join(str(part) for part in (*([prefix] if prefix else ()), *fault["loc"]))
        return cls(path or "event", _REASONS.get(fault["type"]) or fault["msg"].removeprefix("Value error, "))


class UnknownAction(InvalidEvent):
    """The action is not one that the database knows."""

    def __init__(self, action: str) -> None:
        super().__init__("action", f"{action!r} is not in the catalogue; declare it and run `permalog migrate`")


class NotAllowed(InvalidEvent):
    """An event of more than seven days ago, without the right to import."""


class ContentConflict(PermalogError):
    """The same event key or id was used before with other content; nothing was written.

    Attributes:
        field: ``event_key`` or ``id``.
    """

    def __init__(self, field: str) -> None:
        super().__init__(f"{field}: was used before with other content")
        self.field = field


class InvalidQuery(_FieldError):
    """A filter, a limit or a format breaks a rule."""


class InvalidCursor(InvalidQuery):
    """The cursor was not made by this log with these filters."""


class EventNotFound(PermalogError, LookupError):
    """There is no such event in this log."""


class NoEvidence(PermalogError):
    """No evidence bundle can be made of this log now; the message says why."""


class NotSealed(PermalogError):
    """No signed checkpoint covers the event yet: sealing takes seconds, where it runs."""


class RecorderFull(PermalogError):
    """As much as may wait waits already, or the recorder is closed: the event was not accepted."""


class SpoolProblem(PermalogError):
    """The spool cannot be written (full, removed, no right), or set up: the event was not accepted."""


class ProofCode(StrEnum):
    """What is the matter with a proof, a tile, a note or a checkpoint. Stable, and listed in docs/record-format.md."""

    BOUNDS = "proof.bounds"
    """A size, an index or a range is out of bounds: sizes reach 2^63 - 1, and an index is below its tree's size."""
    LENGTH = "proof.length"
    """A proof has more or fewer hashes than its size and index ask for."""
    HASH = "proof.hash"
    """A hash has not 32 bytes."""
    INCLUSION = "inclusion.root"
    """The leaf at this index does not lead to this root."""
    OLD_ROOT = "consistency.old_root"
    """The older root is not that of the tree that the proof speaks of."""
    NEW_ROOT = "consistency.new_root"
    """The newer root is not that of a tree that begins with the older one."""
    RANGE = "range.root"
    """The leaves of a range do not lead to this root."""
    FRONTIER = "frontier.malformed"
    """A stored frontier is cut, too long, or not one of its size."""
    TILE_PATH = "tile.path"
    """Not the path of a hash tile as tlog-tiles writes it."""
    TILE_WIDTH = "tile.width"
    """A tile has not as many hashes as its width says."""
    NOTE = "note.malformed"
    """Not a signed note: no UTF-8, control characters, no signatures, or too large."""
    SIGNATURE_LINE = "note.signature_line"
    """A line below the text of a note is no signature, or stands there twice."""
    SIGNATURE = "note.signature"
    """The signature of a known key is wrong, or a known key has signed twice."""
    UNSIGNED = "note.unsigned"
    """None of the known keys has signed."""
    KEY = "key.malformed"
    """Not a verifier key or a name of one, of a type that is not known here, or its id does not fit."""
    CHECKPOINT = "checkpoint.malformed"
    """The text of a note is no checkpoint: origin, size and root, each on its line."""
    ORIGIN = "checkpoint.origin"
    """The checkpoint is that of another log, or its origin is none."""
    WITNESS_AHEAD = "witness.ahead"
    """A witness has cosigned another tree, or a larger one, than the one that is here."""
    TLOG_PROOF = "tlog_proof.malformed"
    """Not a tlog-proof file."""
    ANCHOR = "anchor.malformed"
    """Not a published anchor."""
    ANCHOR_ORDER = "anchor.order"
    """An anchor does not start where the one before ended, or is not of the size that it was signed at."""
    ANCHOR_ROOT = "anchor.root"
    """The leaves of the anchors do not lead to the root that was signed."""
    WITNESS_REQUEST = "witness.request"
    """Not what a witness is asked: the old size, a consistency proof, and a checkpoint."""


class BundleCode(StrEnum):
    """What is the matter with an evidence bundle. Stable, and listed in docs/evidence-bundle.md."""

    FILE = "bundle.file"
    """Not a zip as this format writes it: a cut, a byte too many, another name, order or feature of zip."""
    LIMIT = "bundle.limit"
    """A part is larger than the format allows."""
    MANIFEST = "bundle.manifest"
    """The manifest is not canonical JSON, or lacks, adds or contradicts something."""
    SIGNATURE = "bundle.signature"
    """The signature is not one of this manifest."""
    MEMBER = "bundle.member"
    """A member is missing, is not named by the manifest, or its bytes are not those that the manifest names."""
    CHECKPOINT = "bundle.checkpoint"
    """The checkpoint is not that of the tree of which the manifest speaks."""
    LEAVES = "bundle.leaves"
    """The list of leaves is not written as the format says."""
    COUNT = "bundle.count"
    """There are more or fewer events, leaves or identities than the manifest says, or others at the ends."""
    EVENT = "bundle.event"
    """An event is not in its canonical form, or is one of another log."""
    QUERY = "bundle.query"
    """An event is there that the query does not select."""
    IDENTITY = "bundle.identity"
    """An identity does not open its commitment, is out of order, or is one that must stay masked."""


class NotProven(PermalogError):
    """Something that should prove does not.

    Attributes:
        code: what is the matter, for programs.
    """

    def __init__(self, code: ProofCode | BundleCode, reason: str) -> None:
        super().__init__(f"{reason} ({code})")
        self.code = code


class Malformed(NotProven):
    """It is not written as its format says."""


class Refuted(NotProven):
    """It is well written, and wrong: what it says of the log is not so."""


class Refusal(StrEnum):
    """Why a witness does not cosign, as C2SP tlog-witness tells the cases apart."""

    UNKNOWN = "unknown"
    """It knows no log of this origin."""
    UNSIGNED = "unsigned"
    """No key that it trusts for this log has signed, or a signature of one is wrong."""
    MALFORMED = "malformed"
    """The request is not written as the format says, or the old size is larger than the checkpoint's."""
    CONFLICT = "conflict"
    """The witness has last cosigned another size than the old one, or another root at this size."""
    INCONSISTENT = "inconsistent"
    """The proof does not show that the tree begins with the one that was cosigned last."""


class WitnessRefused(PermalogError):
    """A witness does not cosign a checkpoint.

    Attributes:
        refusal: why, for programs.
        size: what the witness has last cosigned, where it says so (`CONFLICT`).
    """

    def __init__(self, refusal: Refusal, reason: str, size: int | None = None) -> None:
        super().__init__(reason)
        self.refusal = refusal
        self.size = size


class WitnessUnusable(PermalogError):
    """A witness cannot go on: its key or its state is not as it left them. It never starts over by itself."""


class WitnessUnreachable(PermalogError):
    """A witness gave no answer in time, or not one that witnesses give."""


class InvalidPolicy(PermalogError, ValueError):
    """A witness policy breaks a rule."""


class AnchorConflict(PermalogError):
    """What was published as anchors is not in this database: nothing more is signed until somebody has looked."""


class PublishFailed(PermalogError):
    """A place did not take an anchor; it is offered again."""


class KeyUnusable(PermalogError):
    """A signing key cannot be used: it is missing, no key, or others may read it."""


class OutsideUnusable(PermalogError):
    """What was signed last, outside the database, cannot be read or written. Nothing is signed then."""


class RefusedBecause(StrEnum):
    """Why a log is not signed."""

    SMALLER = "smaller"
    """The tree has fewer leaves than were signed: the database was rolled back or restored, or its end was cut off."""
    DIFFERENT = "different"
    """The tree does not begin with the one that was signed: the database was restored and went on, or was rewritten."""
    FORGOTTEN = "forgotten"
    """The database has checkpoints, and outside of it there is no word of what was signed last."""
    RENAMED = "renamed"
    """What was signed last has another origin: PERMALOG_ORIGIN was changed."""


class SealingRefused(PermalogError):
    """Nothing is signed for a log, because it would contradict what was signed, or that is not known.

    Attributes:
        log_id: which one.
        because: why, for programs.
    """

    def __init__(self, log_id: UUID, because: RefusedBecause, reason: str) -> None:
        super().__init__(
            f"log {log_id}: {reason}. Nothing is signed for it until this is settled: if the database was restored or"
            " moved on purpose, run `permalog log resume --after-restore`; if not, somebody has changed it: keep a"
            " copy, and see docs/operations.md"
        )
        self.log_id = log_id
        self.because = because


class DatabaseProblem(PermalogError):
    """The database is not as it must be."""


class NotMigrated(DatabaseProblem):
    """The database has no Permalog schema, or another version's: run `permalog migrate`."""


class UnsuitableDatabase(DatabaseProblem):
    """The database cannot hold a log correctly: its character type, encoding or version is wrong."""


class MigrationFailed(DatabaseProblem):
    """A migration could not be applied; the database is as it was before."""


class EmbeddedUnavailable(DatabaseProblem):
    """The embedded PostgreSQL could not be started."""


_REASONS = {
    "missing": "is required",
    "extra_forbidden": "unknown member",
    "unexpected_keyword_argument": "unknown member",
    "string_type": "must be a string",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "holds a NUL character, which cannot be stored",
    "string_unicode": "holds a lone surrogate, which is no character",
    "dict_type": "must be an object",
    "dataclass_type": "must be an object",
    "model_type": "must be an object",
    "uuid_parsing": "must be a UUID",
    "uuid_type": "must be a UUID",
}
