"""What docs/record-format.md takes from the code. ``PYTHONPATH=src python tests/record_vectors.py`` writes it anew."""

import ast
import hashlib
import inspect
import json
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from permalog import errors
from permalog.identity import Identity
from permalog.tlog.anchor import Anchor, anchor_leaf, anchor_origin
from permalog.tlog.canonical import EventRow, leaf_hash, leaf_preimage
from permalog.tlog.checkpoint import Checkpoint, TlogProof, log_origin
from permalog.tlog.merkle import Frontier, Node, consistency_proof, inclusion_proof, range_closing, root_of
from permalog.tlog.note import Cosigner, Ed25519Signer, Note

DOCUMENT = Path(__file__).parents[1] / "docs" / "record-format.md"

IDENTITIES = {
    "a user with an IPv6 address": (
        bytes(range(16)),
        Identity("actor", "u_1", "ada@acme.example", "Ada Löwe", "2001:db8::7", "Mozilla/5.0 (X11; Linux)"),
    ),
    "a member of staff": (bytes(range(16, 32)), Identity("staff", "s_9", "sam@vendor.example", "Sam")),
    "a personal value": (bytes(range(32, 48)), Identity("github_login", value="ada-löwe")),
}
USER, STAFF, LOGIN = (identity.commitment(salt) for salt, identity in IDENTITIES.values())

BASE = EventRow(
    log_id="e152bb82-5527-8d8b-8ded-3f5737b427b3",
    id="019c1339-ea7b-71c8-8000-00000000002a",
    occurred_at="2026-01-31T08:44:48.635456Z",
    recorded_at="2026-01-31T08:44:49.000000Z",
    recorded_by="app",
    action="security.finding.dismissed",
    outcome="success",
    actor_type="user",
    actor_id="u_1",
    identity=USER,
    resource_type="security_finding",
    resource_id="fnd_1",
    correlation_id="op_1",
    source="web",
    schema_version=1,
    before_state='{"status": "open"}',
    after_state='{"status": "ignored"}',
    metadata='{"login": {"$identity": "' + LOGIN.hex() + '"}, "reason": "tolerable_risk"}',
)


class Vector(NamedTuple):
    """What is awkward about an event, and the columns in which it differs from the first one."""

    title: str
    row: EventRow


def _system(**columns: str | None) -> EventRow:
    """An event with no more than there must be, and these columns."""
    bare = BASE._replace(
        actor_type="system", actor_id=None, identity=None, correlation_id=None, source=None,
        before_state=None, after_state=None, metadata="{}",
    )  # fmt: skip
    return bare._replace(**columns)


VECTORS = [
    Vector("A user from an IPv6 address, and a personal value", BASE),
    Vector("Staff: no actor id", BASE._replace(actor_type="staff", actor_id=None, identity=STAFF, metadata="{}")),
    Vector("The system: no more than there must be", _system()),
    Vector(
        "Microseconds, and a year far off",
        _system(
            id="003b8efd-f2bf-73e7-bfff-ffffffffffff",
            occurred_at="1978-02-08T16:07:57.887999Z",
            recorded_at="2026-01-31T08:44:49.000001Z",
        ),
    ),
    Vector(
        "Null, empty and absent",
        _system(before_state="{}", metadata='{"list": [], "null": null, "empty": "", "false": false, "object": {}}'),
    ),
    Vector(
        "Keys in the order of UTF-16: U+1F600 (D83D DE00) before U+E000 and U+FFFF",
        _system(
            metadata='{"": 0, "\\r": 1, "1": 2, "Z": 3, "a": 4, "10": 5, "ö": 6, "\ue000": 7, "\uffff": 8, "😀": 9}'
        ),
    ),
    Vector(
        "Escapes: no more than RFC 8785 asks for",
        _system(
            resource_id='a/b "c" \\ \t é 😀',
            metadata='{"s": "\\b\\t\\n\\f\\r\\"\\\\/\\u0001\\u001f\x7f\u2028é😀", "combining": "e\u0301"}',
        ),
    ),
    Vector(
        "Numbers that a double has: by value, whatever their digits",
        _system(
            metadata='{"a": 1.0, "b": -0.50, "c": 1000000000000000000000, "d": 0.0000001, "e": 0.000001, '
            '"f": 9007199254740992, "g": 123456789012345680000, "h": 0.1, "i": 0.0}'
        ),
    ),
    Vector("A decimal that no double has: the raw form", _system(metadata='{"a": 0.1, "b": 0.10000000000000000001}')),
    Vector(
        "An integer that no double has: the raw form, of all payloads",
        _system(before_state='{"n": 1.0}', after_state='{"n": 9007199254740993}', metadata='{"ö": "\\n"}'),
    ),
    Vector("Nested 64 deep: still canonical", _system(metadata='{"a": ' + "[" * 63 + "]" * 63 + "}")),
    Vector("Nested 65 deep: the raw form", _system(metadata='{"a": ' + "[" * 64 + "]" * 64 + "}")),
]


LOG_SEED, WITNESS_SEED, TIME = bytes(range(64, 96)), bytes(range(96, 128)), 1_769_850_000
SIGNER = Ed25519Signer("audit.example.com", LOG_SEED)
WITNESS = Cosigner("witness.example/w1", WITNESS_SEED)
LEAVES = [leaf_hash(vector.row) for vector in VECTORS]
ORIGIN = log_origin("audit.example.com", UUID(BASE.log_id))


def subtree(node: Node) -> bytes:
    """The hash of a complete subtree of the vectors' tree."""
    start = node.number << node.height
    return root_of(LEAVES[start : start + (1 << node.height)])


def note() -> Note:
    """The checkpoint over the vectors' leaves, cosigned."""
    signed = Checkpoint(ORIGIN, len(LEAVES), root_of(LEAVES)).signed(SIGNER)
    return signed._replace(signatures=(*signed.signatures, WITNESS.cosign(signed.text, TIME)))


def leaf_vectors() -> str:
    parts = ["The identities:\n"]
    for title, (salt, identity) in IDENTITIES.items():
        parts.append(
            f"```\n{title}\nsalt        {salt.hex()}\nidentity    {identity.canonical().decode()}\n"
            f"commitment  {identity.commitment(salt).hex()}\n```\n"
        )
    for number, (title, row) in enumerate(VECTORS, 1):
        parts.append(f"**{number}. {title}**\n")
        columns = {name: column for name, column in _plain(row).items() if number == 1 or column != _plain(BASE)[name]}
        parts.append(f"```json\n{json.dumps(columns, indent=1)}\n```\n")
        preimage = leaf_preimage(row)
        parts.append(f"```\n{_visible(preimage.decode())}\n```\n")
        parts.append(f"{len(preimage)} bytes, leaf `{leaf_hash(row).hex()}`\n")
    return "\n".join(parts)


def tree_vectors() -> str:
    """Roots and proofs over the vectors' leaves."""
    size = len(LEAVES)
    closing = range_closing(3, 6, size, subtree)
    roots = "\n".join(f"{n:>2}  {Frontier().grown(LEAVES[:n]).frontier.root().hex()}" for n in range(size + 1))
    return (
        f"The leaves of the vectors above, in their order, have these roots at the sizes 0 to {size}:\n\n"
        f"```\n{roots}\n```\n\n"
        f"The inclusion of the leaf with the index 4 among {size}:\n\n{_hashes(inclusion_proof(4, size, subtree))}\n"
        f"The consistency of the sizes 5 and {size}:\n\n{_hashes(consistency_proof(5, size, subtree))}\n"
        f"What closes the leaves 3, 4 and 5 of {size}, left and right:\n\n"
        f"{_hashes(closing.left)}\n{_hashes(closing.right)}"
    )


def a_checkpoint() -> str:
    proof = TlogProof(4, tuple(inclusion_proof(4, len(LEAVES), subtree)), note().to_bytes())
    return (
        f"```\n{note().to_bytes().decode()}```\n\n"
        "This is the tree of the vectors above. The seeds of the log and of the witness, their verifier keys, and the\n"
        "time of the cosignature:\n\n"
        f"```\n{LOG_SEED.hex()}\n{WITNESS_SEED.hex()}\n{SIGNER.key}\n{WITNESS.key}\n{TIME}\n```\n\n"
        f"The leaf with the index 4 in a tlog-proof:\n\n```\n{proof.to_bytes().decode()}```\n"
    )


def an_epoch() -> str:
    text = Checkpoint(ORIGIN, len(LEAVES), root_of(LEAVES)).text()
    first = hashlib.sha256(b"\0" + text.encode()).hexdigest()
    return f"A log that goes on after the checkpoint above has this leaf 0 in its next epoch:\n\n```\n{first}\n```\n"


def an_anchor() -> str:
    """The checkpoint of the vectors as the one leaf of an anchor log."""
    checkpoint = Checkpoint.parse(note().text)
    leaf = anchor_leaf(checkpoint)
    signed = Checkpoint(anchor_origin(SIGNER.key.name), 1, root_of([leaf])).signed(SIGNER)
    return (
        f"The leaf of the checkpoint above, and the text that publishes it:\n\n```\n{leaf.hex()}\n```\n\n"
        f"```\n{Anchor(0, (leaf,), signed.to_bytes()).to_bytes().decode()}```\n"
    )


def codes() -> str:
    return table_of(errors.ProofCode)


def table_of(vocabulary: type) -> str:
    """Codes with their docstrings, which Python does not keep."""
    [node] = ast.parse(inspect.getsource(vocabulary)).body
    assert isinstance(node, ast.ClassDef)
    body = node.body
    lines = ["| code | |", "|---|---|"]
    for code, told in zip(body[1::2], body[2::2], strict=True):
        assert isinstance(code, ast.Assign)
        assert isinstance(told, ast.Expr)
        lines.append(f"| `{ast.literal_eval(code.value)}` | {' '.join(ast.literal_eval(told.value).split())} |")
    return "\n".join(lines) + "\n"


BLOCKS = {
    "leaf vectors": leaf_vectors,
    "tree vectors": tree_vectors,
    "epoch vector": an_epoch,
    "a checkpoint": a_checkpoint,
    "an anchor": an_anchor,
    "codes": codes,
}


def rendered(name: str) -> str:
    """A part of the document as it must be, marks included."""
    return f"<!-- {name}: made by tests/record_vectors.py -->\n{BLOCKS[name]()}<!-- end of {name} -->\n"


def written(name: str) -> str:
    """The part as it is."""
    text, end = DOCUMENT.read_text(), f"<!-- end of {name} -->\n"
    return text[text.index(f"<!-- {name}:") : text.index(end) + len(end)]


def _hashes(hashes: list[bytes] | tuple[bytes, ...]) -> str:
    return "```\n" + "".join(f"{one.hex()}\n" for one in hashes) + "```\n"


def _plain(row: EventRow) -> dict[str, object]:
    return {**row._asdict(), "identity": None if row.identity is None else row.identity.hex()}


def _visible(text: str) -> str:
    """Characters that an editor hides or breaks lines at, in the form <U+XXXX>."""
    return "".join(f"<U+{ord(c):04X}>" if c in "\x7f\u2028\u0301\ue000\uffff" else c for c in text)


if __name__ == "__main__":
    for block in BLOCKS:
        DOCUMENT.write_text(DOCUMENT.read_text().replace(written(block), rendered(block)))
