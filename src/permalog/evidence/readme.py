"""The README of an evidence bundle: what an auditor needs to know who has never heard of this program."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from permalog.evidence.bundle import Manifest

_WIDTH: Final = 100


def readme(manifest: Manifest) -> str:
    """The text for this bundle; all that it says of its contents stands in the manifest, too."""
    return _TEXT.format(facts=_facts(manifest), masking=_MASKED if manifest.viewer == "customer" else _UNMASKED)


def _facts(manifest: Manifest) -> str:
    counts, tree, owner = manifest.counts, manifest.tree, manifest.owner
    whose = f"organisation {owner.organization_id}" if owner.organization_id else f"user {owner.user_id}"
    asked = manifest.query.model_dump(exclude_none=True)
    filters = [f"{name} = {_shown(value)}" for name, value in asked.items()]
    ends = [
        f"{place.occurred_at}, leaf {place.leaf_index}, event {place.id}" if place else "none"
        for place in (manifest.first, manifest.last)
    ]
    rows = {
        "Log": f"{manifest.log_id} of {whose}",
        "Signed as": manifest.origin,
        "As of": f"{manifest.as_of} (all times here are in UTC)",
        "Made by": f"{manifest.made_by.type} {manifest.made_by.id or ''}",
        "Asked for": "; ".join(filters) or "everything",
        "Events": f"{counts.events} are in here; {counts.left_out} leaves between the first and the last are left out",
        "First": ends[0],
        "Last": ends[1],
        "Identities": str(counts.identities),
        "Not yet sealed": f"{counts.unsealed} matching events, which are not in here",
        "Tree": f"{tree.size} leaves, root {tree.root}",
    }
    return "\n".join(
        fill(f"{name + ':':<16}{value}", _WIDTH, subsequent_indent=" " * 16, break_long_words=False)
        for name, value in rows.items()
    )


def _shown(value: object) -> str:
    return " or ".join(map(str, value)) if isinstance(value, list) else str(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


_MASKED: Final = """\
This bundle was made for a customer: the product's own staff are masked. Their events are in here, with
the actor type "staff" and a commitment; who of the staff it was cannot be found out from it, not even
with a list of all of them."""
_UNMASKED: Final = """\
This bundle was made for the product's own staff: it opens identities of members of staff. Do not hand
it to a customer; one that may be handed over is made with --as user:ID, or by a customer's own token."""

_TEXT: Final = """\
EVIDENCE FROM AN AUDIT LOG

This file holds events of an append-only audit log, and what it takes to see, without access to the system
that they come from, that they are what was recorded and that none of them was changed, removed, added or
put elsewhere since the log was signed.

{facts}


HOW TO CHECK IT

1. Get the log's verifier key from its operator by another way than this file. It is one line, such as
   audit.example.com+61974a17+ASVDuS/xCVUR...
2. With Permalog installed (no database, no network):

       permalog verify --bundle FILE.zip --key 'THE VERIFIER KEY'

   It ends with 0 if everything stands, with 1 if something does not, and says what; with 2 if it could
   not check. Without --key it takes the key that stands in this file. Then it shows only that the file is
   whole: whoever made it all up could have put in a key of their own.
3. Or write your own verifier: Permalog's docs/evidence-bundle.md describes every byte of this file.

Check the file as it is. One that was unpacked and packed again is refused.


WHAT IS IN IT

manifest.json      the query, who asked and when, counts, first and last, the tree, and the digest of
                   everything below
manifest.sig       the signature of the log's key over the digest of manifest.json
checkpoint.txt     the log's checkpoint: its size and the root hash of its Merkle tree, signed by the log's
                   key, perhaps with signatures of independent witnesses
leaves.txt         every leaf of the tree from the first event in here to the last, in order: "events N"
                   stands for the next N lines of events.ndjson, any other line is the hash of one left out
events.ndjson      the events, one a line, exactly as they were hashed
identities.ndjson  who is behind the commitments (64 hex digits) in the events, as far as the reader was
                   allowed to see it and it was not erased when this file was made


WHAT IT PROVES

- Each event in here stands in the log that the checkpoint describes, at its place, unchanged in every
  member, the time at which the database received it ("recorded_at") included.
- Between the first and the last event in here, the number of events that were left out is exact, and none
  of them can be exchanged: their hashes are part of the tree.
- Each identity is the one that was bound to its event when that was recorded.
- Whoever holds the log's key has stated that these are all the events that the query selects, as of the
  time given. If that is untrue, any event that was withheld refutes it, with a proof that it is in the log.


WHAT IT DOES NOT PROVE

- That what was left out does not match the query: a hash does not tell. Ask for the whole log, or for the
  period without other filters, if you do not want to rely on the statement.
- That a search text or an e-mail address was applied correctly. All other filters are checked.
- Anything about events that were not sealed yet; their number stands above.
- That events tell the truth about what happened outside the log.
- With the signing key and the database in one hand, that history was not rewritten before it was seen
  outside: that is what witnesses and published anchors are for. Compare the checkpoint with one you hold.

A bundle without events shows that at its time the log had so many leaves and this root, and the signed
statement that none of them matches.

{masking}

An identity that was erased cannot be opened any more; its commitment stays, and so do all proofs. A
bundle that was made before holds what it held: treat this file as personal data.


WHEN IT FAILS

The verifier names a code. bundle.file, bundle.member, bundle.manifest: the file was altered, cut or packed
again. bundle.signature, note.signature, note.unsigned: it was not signed by the key that you gave.
bundle.checkpoint, range.root, bundle.leaves, bundle.count, bundle.event, bundle.query, bundle.identity:
it was signed, and contradicts itself; ask its maker. docs/evidence-bundle.md explains each.
"""
