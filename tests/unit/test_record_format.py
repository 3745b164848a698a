"""docs/record-format.md says what the code does, to the byte."""

import json

import pytest

import naive
import record_vectors as vectors
from permalog.tlog.canonical import EventRow, leaf_hash
from permalog.tlog.checkpoint import TlogProof, verify_checkpoint
from permalog.tlog.note import VerifierKey


@pytest.mark.parametrize("name", sorted(vectors.BLOCKS))
def test_the_document_holds_what_the_code_makes(name: str) -> None:
    assert vectors.written(name) == vectors.rendered(name), "PYTHONPATH=src python tests/record_vectors.py"


def blocks(text: str) -> list[str]:
    """What stands between fences."""
    return [part.partition("\n")[2] for part in text.split("```")[1::2]]


def test_a_stranger_gets_the_leaves_from_the_columns_in_the_document() -> None:
    text = vectors.written("leaf vectors")
    first: dict[str, object] = {}
    leaves: list[bytes] = []
    for part in text.split("```json\n")[1:]:
        columns = first | json.loads(part.partition("```")[0])
        first = first or columns
        identity = columns["identity"]
        row = EventRow(**{**columns, "identity": identity and bytes.fromhex(str(identity))})  # pyright: ignore[reportArgumentType]
        leaves.append(leaf_hash(row))
        assert f"leaf `{leaves[-1].hex()}`" in part
    assert leaves == vectors.LEAVES
    roots = [line.split()[1] for line in blocks(vectors.written("tree vectors"))[0].splitlines()]
    assert roots == [naive.root(leaves[:size]).hex() for size in range(len(leaves) + 1)]


def test_the_checkpoint_and_the_proof_in_the_document_verify() -> None:
    note, keys, proof = blocks(vectors.written("a checkpoint"))
    *_, log, witness, time = keys.splitlines()
    known = [VerifierKey.parse(log)], [VerifierKey.parse(witness)]
    verified = verify_checkpoint(note.encode(), vectors.ORIGIN, *known)
    assert [str(one.time) for one in verified.cosignatures] == [time]
    TlogProof.parse(proof.encode()).verify(vectors.LEAVES[4], vectors.ORIGIN, *known)
