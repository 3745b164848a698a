"""What is known from outside a log, for whoever verifies it: published anchors, what witnesses keep, a policy.

Pure functions over texts, for a live database and an evidence bundle alike.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from uuid import UUID

from permalog.errors import NotProven
from permalog.evidence.verifier import VerifiedBundle
from permalog.tlog.anchor import anchor_leaf, anchor_origin, read_anchors
from permalog.tlog.checkpoint import Checkpoint
from permalog.tlog.findings import Finding, Report, VerifyCode
from permalog.tlog.note import Note, VerifierKey
from permalog.tlog.witness_policy import WitnessPolicy
from permalog.verifying.rules import Claim, Source


def read_published(
    texts: Mapping[int, Iterable[bytes]],
    prefix: str,
    keys: Collection[VerifierKey],
    witnesses: Collection[VerifierKey],
    report: Report,
) -> dict[bytes, int]:
    """The anchored leaves and their indices: 100 bytes of memory each.

    Args:
        texts: all that was published, by the epochs of the anchor log, from the first leaf on.
        prefix: ``PERMALOG_ORIGIN``.
        keys: those of the logs.
        witnesses: whose cosignatures of the anchor log must hold where they are there.
        report: is told of an epoch that does not stand.
    """
    found: dict[bytes, int] = {}
    for epoch, each in texts.items():
        try:
            for batch in read_anchors(each, anchor_origin(prefix, epoch), keys, witnesses):
                found.update(zip(batch.leaves, range(batch.start, batch.start + len(batch.leaves)), strict=True))
        except NotProven as error:
            report(Finding(VerifyCode.ANCHOR_WRONG, str(error)))
    return found


def read_witnessed(
    notes: Iterable[bytes], witnesses: Collection[VerifierKey], report: Report
) -> dict[tuple[UUID, int], list[Claim]]:
    """What witnesses have seen, by log and epoch: checkpoints as they keep them."""
    found: dict[tuple[UUID, int], list[Claim]] = {}
    for data in notes:
        try:
            note = Note.parse(data)
            if witnesses:
                note.verify(witnesses)
            checkpoint = Checkpoint.parse(note.text)
            key = place_of(checkpoint.origin)
        except (NotProven, ValueError) as error:
            report(Finding(VerifyCode.WITNESS_WRONG, str(error)))
        else:
            found.setdefault(key, []).append(Claim(checkpoint.size, checkpoint.root, Source.WITNESS))
    return found


def check_bundle(
    found: VerifiedBundle, anchored: Mapping[bytes, int] | None, policy: WitnessPolicy | None, report: Report
) -> None:
    """A bundle's checkpoint has the cosignatures that a policy asks for, and is among the anchors.

    That it is not among them is a notice: of the checkpoints of a minute only the newest is anchored, and the next
    minute's anchor is not there yet.
    """
    log_id, checkpoint = UUID(found.manifest.log_id), found.checkpoint.checkpoint
    if policy is not None and not policy.is_satisfied([one.key for one in found.checkpoint.cosignatures]):
        message = f"the checkpoint has not the {policy.quorum} cosignature(s) that the policy asks for"
        report(Finding(VerifyCode.WITNESS_QUORUM, message, log_id, found.manifest.epoch))
    if anchored is not None and anchor_leaf(checkpoint) not in anchored:
        message = f"the checkpoint of {checkpoint.size} leaves is not among the anchors"
        report(Finding(VerifyCode.NOT_ANCHORED, message, log_id, found.manifest.epoch))


def place_of(origin: str) -> tuple[UUID, int]:
    """The log and the epoch of ``<prefix>/log/<log_id>[/<epoch>]``.

    Raises:
        ValueError: it is no such origin.
    """
    _, parted, rest = origin.rpartition("/log/")
    name, _, epoch = rest.partition("/")
    if not parted:
        raise ValueError("the checkpoint is not that of a log")
    return UUID(name), int(epoch or 1)
