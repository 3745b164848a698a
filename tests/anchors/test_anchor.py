"""Published anchors prove what was signed when, to whoever holds a checkpoint, and tell others nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import naive
from permalog.errors import Malformed, NotProven, ProofCode, Refuted
from permalog.tlog.anchor import (
    MAX_LEAVES,
    Anchor,
    AnchoredFact,
    Opened,
    anchor_leaf,
    anchor_origin,
    open_anchors,
    read_anchors,
)
from permalog.tlog.checkpoint import Checkpoint
from permalog.tlog.merkle import leaf_hash
from permalog.tlog.note import Cosigner, Ed25519Signer, encode

PREFIX = "audit.example.com"
ORIGIN = anchor_origin(PREFIX)
SIGNER = Ed25519Signer(PREFIX, bytes(range(32)))
THIEF = Ed25519Signer(PREFIX, bytes(range(1, 33)))
WITNESS = Cosigner("witness.example/w1", bytes([7] * 32))
CHECKPOINTS = [
    Checkpoint(f"{PREFIX}/log/{log}", size, naive.root([leaf_hash(b"%d/%d" % (log, n)) for n in range(size)]))
    for size in (1, 2, 5)
    for log in range(3)
]
LEAVES = [anchor_leaf(one) for one in CHECKPOINTS]


def published(*sizes: int, signer: Ed25519Signer = SIGNER, leaves: list[bytes] = LEAVES) -> list[bytes]:
    """The texts of an anchor log that grew through these sizes."""
    texts: list[bytes] = []
    start = 0
    for size in sizes:
        note = Checkpoint(ORIGIN, size, naive.root(leaves[:size])).signed(signer)
        texts.append(Anchor(start, tuple(leaves[start:size]), note.to_bytes()).to_bytes())
        start = size
    return texts


TEXTS = published(3, 4, 9)
KNOWN = {anchor_leaf(one): one for one in CHECKPOINTS}


def opened(texts: list[bytes], known: dict[bytes, Checkpoint]) -> Opened:
    return open_anchors(read_anchors(texts, ORIGIN, [SIGNER.key]), known)


def test_whoever_holds_the_checkpoints_gets_the_facts() -> None:
    found = opened(TEXTS, KNOWN)
    assert found.facts == [AnchoredFact(n, *one[:3]) for n, one in enumerate(CHECKPOINTS)]
    assert found.unopened == []


def test_a_checkpoint_that_is_gone_is_missed() -> None:
    assert opened(TEXTS, {leaf: one for leaf, one in KNOWN.items() if one != CHECKPOINTS[4]}).unopened == [4]


def test_a_rewritten_log_opens_nothing() -> None:
    # With the log's own key: everything in the database fits, and what was published does not.
    forged = CHECKPOINTS[4]._replace(root=bytes(32))
    known = {leaf: one for leaf, one in KNOWN.items() if one != CHECKPOINTS[4]} | {anchor_leaf(forged): forged}
    assert opened(TEXTS, known).unopened == [4]


def test_a_published_text_tells_neither_whose_nor_how_large() -> None:
    text = b"".join(TEXTS).decode()
    assert "/log/" not in text
    for one in CHECKPOINTS:
        assert encode(one.root) not in text


@pytest.mark.parametrize(
    ("texts", "code"),
    [
        (TEXTS[1:], ProofCode.ANCHOR_ORDER),
        ([TEXTS[0], TEXTS[2]], ProofCode.ANCHOR_ORDER),
        ([TEXTS[0], TEXTS[0]], ProofCode.ANCHOR_ORDER),
        ([TEXTS[1], TEXTS[0]], ProofCode.ANCHOR_ORDER),
        ([TEXTS[0].replace(encode(LEAVES[0]).encode(), encode(LEAVES[5]).encode())], ProofCode.ANCHOR_ROOT),
        ([*TEXTS[:2], *published(3, 4, 9, leaves=LEAVES[:2] + LEAVES[3:] + LEAVES[:1])[2:]], ProofCode.ANCHOR_ROOT),
        (published(3, signer=THIEF), ProofCode.UNSIGNED),
        (published(3, signer=Ed25519Signer("other.example", bytes(32))), ProofCode.UNSIGNED),
        ([Anchor(0, tuple(LEAVES[:2]), Anchor.parse(TEXTS[0]).checkpoint).to_bytes()], ProofCode.ANCHOR_ORDER),
    ],
)
def test_what_does_not_continue_is_refuted(texts: list[bytes], code: ProofCode) -> None:
    with pytest.raises(NotProven) as refuted:
        opened(texts, KNOWN)
    assert refuted.value.code is code


def test_a_checkpoint_of_another_anchor_log_does_not_count() -> None:
    with pytest.raises(Refuted) as refuted:
        list(read_anchors(TEXTS, anchor_origin(PREFIX, 2), [SIGNER.key]))
    assert refuted.value.code is ProofCode.ORIGIN


def test_cosignatures_of_witnesses_are_read() -> None:
    anchor = Anchor.parse(TEXTS[0])
    text = Checkpoint(ORIGIN, 3, naive.root(LEAVES[:3])).text()
    cosigned = anchor.checkpoint + f"{WITNESS.cosign(text, 5).line()}\n".encode()
    (batch,) = read_anchors([anchor._replace(checkpoint=cosigned).to_bytes()], ORIGIN, [SIGNER.key], [WITNESS.key])
    assert [one.time for one in batch.checkpoint.cosignatures] == [5]


@given(st.data())
def test_every_changed_bit_is_refused(data: st.DataObject) -> None:
    texts = list(TEXTS)
    which = data.draw(st.integers(0, len(texts) - 1))
    place = data.draw(st.integers(0, len(texts[which]) * 8 - 1))
    changed = bytearray(texts[which])
    changed[place // 8] ^= 1 << place % 8
    texts[which] = bytes(changed)
    with pytest.raises(NotProven):
        opened(texts, KNOWN)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        TEXTS[0].replace(b"@v1", b"@v2"),
        TEXTS[0].replace(b"start 0", b"start 00"),
        TEXTS[0].replace(b"start 0", b"start -1"),
        TEXTS[0].replace(b"start 0", b"start 9999999999999999999"),
        TEXTS[0].replace(b"start 0\n", b"start 0\n\n"),
        TEXTS[0].replace(encode(LEAVES[0]).encode() + b"\n", b""),
        TEXTS[0].replace(encode(LEAVES[0]).encode(), encode(LEAVES[0][:31]).encode()),
        TEXTS[0][:-1],
        b"\n" + TEXTS[0],
    ],
)
def test_what_is_no_anchor_is_refused(data: bytes) -> None:
    with pytest.raises(NotProven):
        opened([data], KNOWN)


def test_a_text_has_leaves_and_not_too_many() -> None:
    anchor = Anchor.parse(TEXTS[0])
    for leaves in ((), (bytes(32),) * (MAX_LEAVES + 1), (bytes(31),)):
        with pytest.raises(Malformed):
            anchor._replace(leaves=leaves).to_bytes()
