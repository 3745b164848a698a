"""What verifying finds: one vocabulary for a live database, an evidence bundle and an archive.

A finding has a stable code (docs/verification.md lists them all), and says where: the log, its epoch, the leaf index
and the event, as far as each is known. Failures break the proof; notices are for whoever looks after the log.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Final, Literal, NamedTuple, TypeAlias
from uuid import UUID

from permalog.errors import BundleCode, PermalogError, ProofCode

Severity: TypeAlias = Literal["failure", "notice"]


class VerifyCode(StrEnum):
    """What was found. Stable, and listed in docs/verification.md."""

    # Events and their leaves
    EVENT_CHANGED = "event.changed"
    """The leaf of the row is not the one that was sealed: a column was changed, or the stored hash of the leaf."""
    EVENT_MISSING = "event.missing"
    """A leaf stands for an event that is not there."""
    EVENT_UNPLACED = "event.unplaced"
    """An event has no leaf, and does not wait for one: it was put in beside the recorder, or its leaf was cut off."""
    EVENT_DOUBLED = "event.doubled"
    """An event has more than one leaf, or two rows have its id."""
    EVENT_TIME = "event.time"
    """The id of an event does not carry its time, so that it stands in a wrong place in lists."""
    UNSEALED_UNKNOWN = "unsealed.unknown"
    """The list of waiting events names one that is not there, or that has a leaf already."""

    # Trees
    TILE_CHANGED = "tile.changed"
    """A stored hash is not that of what stands below it, or a tile's columns do not say what it holds."""
    TILE_MISSING = "tile.missing"
    """A tile that a tree of this size has is not there, or is too narrow."""
    TILE_EXTRA = "tile.extra"
    """There is a tile, or a part of one, that a tree of this size does not have."""
    HEAD_MISSING = "head.missing"
    """A log has tiles or checkpoints, and no head."""
    HEAD_CHANGED = "head.changed"
    """The size or the frontier in a log's head is not that of its tiles."""

    # Checkpoints
    CHECKPOINT_MALFORMED = "checkpoint.malformed"
    """A checkpoint is no signed note, is that of another log, or its columns do not say what the note says."""
    CHECKPOINT_SIGNATURE = "checkpoint.signature"
    """A checkpoint is not signed by the log's key."""
    CHECKPOINT_ROOT = "checkpoint.root"
    """The tree had another root at the size of a checkpoint: the log is not the one that was signed."""
    CHECKPOINT_SIZE = "checkpoint.size"
    """A checkpoint is of more leaves than the tree has: its end was cut off."""
    CHECKPOINT_MISSING = "checkpoint.missing"
    """Leaves are covered by no checkpoint, two minutes and more after they were sealed."""
    COSIGNATURE_WRONG = "cosignature.wrong"
    """A witness's stored signature does not verify, or is of another checkpoint."""
    EPOCH_BROKEN = "epoch.broken"
    """An epoch is left out, begins without a checkpoint, or is not the one from which the next says that it goes on."""

    # What stands outside the database
    OUTSIDE_SIZE = "outside.size"
    """The tree is smaller than what was signed last: it was rolled back, restored, or its end was cut off."""
    OUTSIDE_ROOT = "outside.root"
    """The tree is not the one that was signed last: it was rewritten."""
    ANCHOR_WRONG = "anchor.wrong"
    """The anchors are not well formed, not signed by their key, or not the history of one anchor log."""
    ANCHOR_UNOPENED = "anchor.unopened"
    """No stored checkpoint is the one that was anchored: it was removed, or its log was rewritten after it."""
    WITNESS_WRONG = "witness.wrong"
    """A witnessed checkpoint is not well formed, or not signed by a witness that is known."""
    WITNESS_SIZE = "witness.size"
    """A witness has seen more leaves than the tree has."""
    WITNESS_ROOT = "witness.root"
    """A witness has seen another tree."""

    WITNESS_QUORUM = "witness.quorum"
    """Fewer witnesses have cosigned than the policy asks for: the checkpoint of a bundle, or leaves of a live log for
    more than fifteen minutes."""

    # What stands beside the events
    LOG_OWNER = "log.owner"
    """The id of a log is not that of its owner: logs were exchanged."""
    LOG_MISSING = "log.missing"
    """There are rows of a log that was never opened, or whose row was removed."""
    IDENTITY_CHANGED = "identity.changed"
    """An identity does not open its commitment: personal data or the salt were changed."""
    IDENTITY_MISSING = "identity.missing"
    """An event refers to an identity that is not there."""
    IDENTITY_OTHER = "identity.other"
    """The identity of an event is that of another person or kind of actor."""
    ACTIVITY_WRONG = "activity.wrong"
    """A count of the summary is not that of the sealed events."""
    EVENT_KEY_WRONG = "event_key.wrong"
    """An idempotency key names an event that is not there, or has another digest than that of its content."""

    # The database's own guards
    SCHEMA_TRIGGER = "schema.trigger"
    """A trigger that keeps the log append-only is gone, off, changed, or was added."""
    SCHEMA_GRANT = "schema.grant"
    """Somebody has a right that migrations do not give, or lacks one that they do."""
    SCHEMA_POLICY = "schema.policy"
    """Row-level security is off, or a policy is not that of the migrations."""
    SCHEMA_OWNER = "schema.owner"
    """A part of the log belongs to another role than the migrations make its owner."""
    SCHEMA_PARTITION = "schema.partition"
    """A partition was detached, is missing, or is there that migrations do not make."""
    SCHEMA_CHANGED = "schema.changed"
    """A table, column, constraint or function is not that of the migrations."""

    # Notices
    LATE = "late"
    """An event was recorded long after the time that it gives for itself, as an import does."""
    SEALED_LATE = "sealed_late"
    """By its own account an event was recorded an hour and more before one that was sealed before it: a transaction
    stood open so long, sealing stood still, or its time was forged before it was sealed."""
    UNSEALED_LONG = "unsealed.long"
    """An event waits for sealing for too long: until then nothing protects it."""
    NOT_SIGNED = "not_signed"
    """No key was given: signatures were not checked."""
    NOT_SIGNED_YET = "not_signed_yet"
    """The newest leaves are covered by no checkpoint yet."""
    NOT_WITNESSED_YET = "not_witnessed_yet"
    """The newest leaves are covered by no checkpoint that has the cosignatures that the policy asks for."""
    NOT_ANCHORED = "not_anchored"
    """The checkpoint of a bundle is not among the anchors that were given: it is newer, or another soon followed it."""
    RESTORED = "restored"
    """An epoch begins with a checkpoint that the database does not hold: it was restored to what was before."""
    ERASED = "erased"
    """The owner was erased: checkpoints stand, events are gone."""


NOTICES: Final = frozenset(
    {
        VerifyCode.LATE,
        VerifyCode.SEALED_LATE,
        VerifyCode.UNSEALED_LONG,
        VerifyCode.NOT_SIGNED,
        VerifyCode.NOT_SIGNED_YET,
        VerifyCode.NOT_WITNESSED_YET,
        VerifyCode.NOT_ANCHORED,
        VerifyCode.RESTORED,
        VerifyCode.ERASED,
    }
)
"""The codes that break no proof."""


class Finding(NamedTuple):
    """One thing that was found, and where."""

    code: VerifyCode | BundleCode | ProofCode
    """The last two of a bundle."""
    message: str
    """A sentence, without personal data."""
    log_id: UUID | None = None
    epoch: int | None = None
    leaf_index: int | None = None
    event_id: UUID | None = None

    @property
    def severity(self) -> Severity:
        """``failure``: something is not proven. ``notice``: it is, and somebody should look."""
        return "notice" if self.code in NOTICES else "failure"

    def as_json(self) -> dict[str, object]:
        """For machines; what is not known is null."""
        return {
            "code": self.code.value,
            "severity": self.severity,
            "message": self.message,
            "log_id": None if self.log_id is None else str(self.log_id),
            "epoch": self.epoch,
            "leaf_index": self.leaf_index,
            "event_id": None if self.event_id is None else str(self.event_id),
        }


class Broken(PermalogError):
    """Verifying found something that is not proven.

    Attributes:
        finding: what, and where.
    """

    def __init__(self, finding: Finding) -> None:
        where = "" if finding.log_id is None else f" (log {finding.log_id}"
        where += "" if finding.leaf_index is None else f", leaf {finding.leaf_index}"
        where += "" if finding.event_id is None else f", event {finding.event_id}"
        super().__init__(f"{finding.code}: {finding.message}{where}{')' if where else ''}")
        self.finding = finding


Report: TypeAlias = Callable[[Finding], None]
"""Takes each finding as it is made: it collects them, prints them, or raises on the first."""
