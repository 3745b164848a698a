"""Checkpoints and tlog-proofs are those of C2SP, and stand only for the log that they name."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

import naive
from permalog.errors import NotProven, ProofCode
from permalog.tlog.checkpoint import Checkpoint, TlogProof, check_origin, log_origin, verify_checkpoint
from permalog.tlog.merkle import EMPTY_ROOT, MAX_SIZE, leaf_hash
from permalog.tlog.note import Cosigner, Ed25519Signer, Note, encode, signed

LOG_ID = UUID("e152bb82-5527-8d8b-8ded-3f5737b427b3")
ORIGIN = f"audit.example.com/log/{LOG_ID}"
LOG = Ed25519Signer("audit.example.com", bytes(range(32)))
NEXT_KEY = Ed25519Signer("audit.example.com", bytes(range(1, 33)))
WITNESSES = [Cosigner(f"witness.example/w{number}", bytes([number] * 32)) for number in (1, 2)]
LEAVES = [leaf_hash(b"%d" % number) for number in range(7)]
CHECKPOINT = Checkpoint(ORIGIN, 7, naive.root(LEAVES))
TEXT = CHECKPOINT.text()
NOTE = CHECKPOINT.signed(LOG).to_bytes()
INDEX = 4
PROOF = TlogProof(INDEX, tuple(naive.path(INDEX, LEAVES)), NOTE)


def test_a_checkpoint_is_three_lines() -> None:
    assert TEXT.split("\n") == [ORIGIN, "7", encode(naive.root(LEAVES)), ""]
    assert Checkpoint.parse(TEXT) == CHECKPOINT
    assert verify_checkpoint(NOTE, ORIGIN, [LOG.key]).checkpoint == CHECKPOINT


@given(
    st.integers(1, MAX_SIZE),
    st.binary(min_size=32, max_size=32),
    st.lists(st.text("a +é/—", min_size=1, max_size=5), max_size=2),
)
def test_every_checkpoint_is_read_again(size: int, root: bytes, extensions: list[str]) -> None:
    checkpoint = Checkpoint("some log+", size, root, tuple(extensions))
    assert Checkpoint.parse(checkpoint.text()) == checkpoint


def test_the_empty_tree_has_one_root() -> None:
    empty = Checkpoint(ORIGIN, 0, EMPTY_ROOT)
    assert Checkpoint.parse(empty.text()) == empty
    with pytest.raises(NotProven):
        Checkpoint(ORIGIN, 0, LEAVES[0]).text()


ROOT = encode(naive.root(LEAVES))


@pytest.mark.parametrize(
    "text",
    [
        "", "\n", "a\n", "a\n1\n", f"a\n1\n{ROOT}", f"\n1\n{ROOT}\n", f"a\n\n{ROOT}\n", f"a\n01\n{ROOT}\n",
        f"a\n00\n{ROOT}\n",
        f"a\n+1\n{ROOT}\n", f"a\n-1\n{ROOT}\n", f"a\n 1\n{ROOT}\n", f"a\n1 \n{ROOT}\n", f"a\n1.0\n{ROOT}\n",
        f"a\n1e1\n{ROOT}\n",
        f"a\n0x1\n{ROOT}\n", f"a\n1_0\n{ROOT}\n", f"a\n١\n{ROOT}\n", f"a\n{MAX_SIZE + 1}\n{ROOT}\n",
        f"a\n{'9' * 20}\n{ROOT}\n",
        f"a\n{'9' * 5000}\n{ROOT}\n", f"a\n1\n{ROOT[:-1]}\n", f"a\n1\n{ROOT} \n", f"a\n1\n{ROOT}=\n", "a\n1\nAAAA\n",
        f"a\n1\n{encode(bytes(33))}\n", f"a\n1\n{encode(bytes(31))}\n", f"a\n1\n{encode(bytes(32))[:-2]}B=\n",
        f"a\n1\n{ROOT}\n\n", f"a\n1\n{ROOT}\n\nb\n", f"a\r\n1\r\n{ROOT}\r\n", f"a\n1\n{ROOT}\nb\tc\n",
        f"a\x00\n1\n{ROOT}\n",
        f"a\n0\n{ROOT}\n", f"a\n1\n{ROOT}\nb",
    ],
)  # fmt: skip
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NotProven) as found:
        Checkpoint.parse(text)
    assert found.value.code is ProofCode.CHECKPOINT
    if text.endswith("\n") and not any(c < " " and c != "\n" for c in text):
        with pytest.raises(NotProven):
            verify_checkpoint(signed(text, LOG).to_bytes(), text.partition("\n")[0], [LOG.key])


@pytest.mark.parametrize(
    "checkpoint",
    [
        Checkpoint("a\nb", 1, LEAVES[0]), Checkpoint("", 1, LEAVES[0]), Checkpoint("a", -1, LEAVES[0]),
        Checkpoint("a", 1, b""),
        Checkpoint("a", MAX_SIZE + 1, LEAVES[0]), Checkpoint("a", 1, LEAVES[0], ("b\nc",)),
        Checkpoint("a", 1, LEAVES[0], ("",)),
    ],
)  # fmt: skip
def test_what_could_not_be_read_is_not_written(checkpoint: Checkpoint) -> None:
    with pytest.raises(NotProven):
        checkpoint.text()


def test_a_log_has_an_origin_of_its_own_in_each_epoch() -> None:
    assert log_origin("audit.example.com", LOG_ID) == ORIGIN
    assert log_origin("localhost:8080/audit", LOG_ID, 2) == f"localhost:8080/audit/log/{LOG_ID}/2"


@pytest.mark.parametrize(
    "origin",
    [
        "", "https://audit.example.com", "Audit.example.com", "audit.example.com/", "a//b", "a b", "a+b", "a\n", "/a",
        "a/ä", "a?b",
        "a#b", "a@b", "-a", "a.", "a:0", "a:", "a:123456", "a" * 256, "é", "a\u00a0", "a/%20",
    ],
)  # fmt: skip
def test_what_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(NotProven) as found:
        check_origin(origin)
    assert found.value.code is ProofCode.ORIGIN
    with pytest.raises(NotProven):
        Checkpoint(origin, 7, LEAVES[0]).signed(LOG)


def test_a_checkpoint_of_another_log_is_refused() -> None:
    for other in (ORIGIN + "/2", ORIGIN[:-1], ORIGIN.upper(), "audit.example.com"):
        with pytest.raises(NotProven) as found:
            verify_checkpoint(NOTE, other, [LOG.key])
        assert found.value.code is ProofCode.ORIGIN


def test_old_checkpoints_stay_valid_after_a_rotation() -> None:
    both = CHECKPOINT.signed(LOG, NEXT_KEY).to_bytes()
    for data, keys in ((NOTE, [NEXT_KEY.key, LOG.key]), (both, [LOG.key]), (both, [NEXT_KEY.key])):
        assert verify_checkpoint(data, ORIGIN, keys).checkpoint == CHECKPOINT
    with pytest.raises(NotProven) as found:
        verify_checkpoint(NOTE, ORIGIN, [NEXT_KEY.key])
    assert found.value.code is ProofCode.UNSIGNED


def cosigned() -> bytes:
    note = CHECKPOINT.signed(LOG)
    more = tuple(one.cosign(note.text, 1_700_000_000 + number) for number, one in enumerate(WITNESSES))
    return Note(note.text, note.signatures + more).to_bytes()


def test_the_witnesses_that_are_known_are_told_with_their_times() -> None:
    keys = [one.key for one in WITNESSES]
    verified = verify_checkpoint(cosigned(), ORIGIN, [LOG.key], keys)
    assert [(one.key, one.time) for one in verified.cosignatures] == [
        (keys[0], 1_700_000_000),
        (keys[1], 1_700_000_001),
    ]
    assert [one.key for one in verified.signatures] == [LOG.key]
    assert verify_checkpoint(cosigned(), ORIGIN, [LOG.key], keys[1:]).cosignatures == verified.cosignatures[1:]
    assert verify_checkpoint(NOTE, ORIGIN, [LOG.key], keys).cosignatures == []


def test_witnesses_do_not_stand_in_for_the_log() -> None:
    text = Note.parse(cosigned()).text
    alone = Note(text, tuple(one.cosign(text, 1) for one in WITNESSES)).to_bytes()
    with pytest.raises(NotProven) as found:
        verify_checkpoint(alone, ORIGIN, [LOG.key], [one.key for one in WITNESSES])
    assert found.value.code is ProofCode.UNSIGNED


def test_a_forged_cosignature_of_a_known_witness_rejects_the_checkpoint() -> None:
    note = Note.parse(cosigned())
    text = note.text.replace("\n7\n", "\n8\n")
    forged = Note(text, (LOG.sign(text), note.signatures[1])).to_bytes()
    assert verify_checkpoint(forged, ORIGIN, [LOG.key]).checkpoint.size == 8
    with pytest.raises(NotProven) as found:
        verify_checkpoint(forged, ORIGIN, [LOG.key], [WITNESSES[0].key])
    assert found.value.code is ProofCode.SIGNATURE


@given(st.integers(0, len(NOTE) * 8 - 1))
def test_every_changed_bit_of_a_signed_checkpoint_is_refused(bit: int) -> None:
    data = bytearray(NOTE)
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(NotProven):
        verify_checkpoint(bytes(data), ORIGIN, [LOG.key])


@pytest.mark.parametrize("extra", [None, b"\0", b"a salt"])
def test_a_proof_in_a_file_verifies(extra: bytes | None) -> None:
    data = PROOF._replace(extra=extra).to_bytes()
    hashes = "".join(f"{encode(one)}\n" for one in PROOF.hashes)
    line = f"extra {encode(extra)}\n" if extra else ""
    assert data == f"c2sp.org/tlog-proof@v1\n{line}index 4\n{hashes}\n".encode() + NOTE
    proof = TlogProof.parse(data)
    assert proof == PROOF._replace(extra=extra)
    assert proof.verify(LEAVES[INDEX], ORIGIN, [LOG.key]).checkpoint == CHECKPOINT


def test_a_proof_of_the_only_leaf_has_no_hashes() -> None:
    note = Checkpoint(ORIGIN, 1, LEAVES[0]).signed(LOG).to_bytes()
    data = TlogProof(0, (), note).to_bytes()
    assert data == b"c2sp.org/tlog-proof@v1\nindex 0\n\n" + note
    TlogProof.parse(data).verify(LEAVES[0], ORIGIN, [LOG.key])


@given(st.integers(0, len(PROOF.to_bytes()) * 8 - 1))
def test_every_changed_bit_of_a_proof_in_a_file_is_refused(bit: int) -> None:
    data = bytearray(PROOF.to_bytes())
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(NotProven):
        TlogProof.parse(bytes(data)).verify(LEAVES[INDEX], ORIGIN, [LOG.key])


def test_a_proof_in_a_file_proves_no_other_leaf_and_no_other_log() -> None:
    for leaf in (*LEAVES[:INDEX], *LEAVES[INDEX + 1 :], b""):
        with pytest.raises(NotProven):
            PROOF.verify(leaf, ORIGIN, [LOG.key])
    with pytest.raises(NotProven):
        PROOF.verify(LEAVES[INDEX], ORIGIN + "/2", [LOG.key])
    with pytest.raises(NotProven):
        PROOF.verify(LEAVES[INDEX], ORIGIN, [NEXT_KEY.key])


WRITTEN = PROOF.to_bytes()
HASH = encode(PROOF.hashes[0]).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"", WRITTEN[1:], b"\n" + WRITTEN, WRITTEN.replace(b"@v1", b"@v2"), WRITTEN.replace(b"index 4", b"index 04"),
        WRITTEN.replace(b"index 4", b"index  4"), WRITTEN.replace(b"index 4", b"index -4"),
        WRITTEN.replace(b"index 4", b"index"),
        WRITTEN.replace(b"index 4", b"index 9223372036854775808"), WRITTEN.replace(b"index 4", b"index 4 "),
        WRITTEN.replace(b"index 4\n", b""), WRITTEN.replace(b"index 4\n", b"index 4\nindex 4\n"),
        WRITTEN.replace(b"index", b"extra \nindex"), WRITTEN.replace(b"index", b"extra A\nindex"),
        WRITTEN.replace(b"index", b"extra AB==\nindex"), WRITTEN.replace(b"index", b"extra AA==\nextra AA==\nindex"),
        WRITTEN.replace(b"index 4\n", b"index 4\nextra AA==\n"), WRITTEN.replace(HASH, HASH[:-1]),
        WRITTEN.replace(HASH, HASH + b"="),
        WRITTEN.replace(HASH, HASH[:-2] + (b"B=" if HASH[-2:-1] != b"B" else b"C=")), WRITTEN.replace(HASH, b"AAAA"),
        WRITTEN.replace(HASH, HASH + b" "), WRITTEN.replace(b"index 4\n", b"index 4\n" + (HASH + b"\n") * 61),
        WRITTEN.partition(b"\n\n")[0], WRITTEN.replace(b"\n", b"\r\n"), WRITTEN.replace(b"index", b"Index"),
    ],
)  # fmt: skip
def test_what_is_no_proof_in_a_file_is_refused(data: bytes) -> None:
    assert data != WRITTEN
    with pytest.raises(NotProven) as found:
        TlogProof.parse(data)
    assert found.value.code is ProofCode.TLOG_PROOF


@pytest.mark.parametrize(
    "data", [WRITTEN + b"\n", WRITTEN[:-1], WRITTEN.partition(b"\n\n")[0] + b"\n\n", WRITTEN + b"x\n"]
)
def test_a_proof_in_a_file_ends_with_a_checkpoint_and_nothing_else(data: bytes) -> None:
    with pytest.raises(NotProven):
        TlogProof.parse(data)


def test_a_proof_that_could_not_be_read_is_not_written() -> None:
    for wrong in (
        PROOF._replace(leaf_index=-1),
        PROOF._replace(hashes=(b"",)),
        PROOF._replace(extra=b""),
        PROOF._replace(checkpoint=b""),
    ):
        with pytest.raises(NotProven):
            wrong.to_bytes()
