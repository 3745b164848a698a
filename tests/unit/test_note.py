"""Signed notes are those of C2SP, written in one way and read in no other."""

import base64
from typing import cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from permalog.errors import NotProven, ProofCode
from permalog.tlog.note import (
    COSIGNATURE,
    ED25519,
    MAX_BYTES,
    MAX_TIME,
    Cosigner,
    Ed25519Signer,
    Note,
    Signature,
    Verified,
    VerifierKey,
    signed,
)

# The example of the signed note specification, v1.0.0.
EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE = (
    "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYN"
    "ZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()
TEXT = "audit.example.com/log\n1\nAAAA\n"
LOG = Ed25519Signer("audit.example.com", bytes(range(32)))
OTHER = Ed25519Signer("audit.example.com", bytes(32))
WITNESS = Cosigner("witness.example/w1", bytes(range(1, 33)))
NOTE = signed(TEXT, LOG).to_bytes()


def refused(code: ProofCode, data: bytes, *keys: VerifierKey) -> None:
    with pytest.raises(NotProven) as found:
        Note.parse(data).verify(keys or [LOG.key])
    assert found.value.code is code


def test_the_example_of_the_specification_verifies() -> None:
    key = VerifierKey.parse(EXAMPLE_KEY)
    assert str(key) == EXAMPLE_KEY
    assert (key.name, key.key_id.hex(), key.type) == ("example.com/foo", "530d903a", ED25519)
    note = Note.parse(EXAMPLE)
    assert note.text == "This is an example message.\n"
    assert note.verify([key]) == [Verified(key, None)]
    assert note.to_bytes() == EXAMPLE


@given(st.integers(0, len(EXAMPLE) * 8 - 1))
def test_every_changed_bit_of_a_note_is_refused(bit: int) -> None:
    data = bytearray(EXAMPLE)
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(NotProven):
        Note.parse(bytes(data)).verify([VerifierKey.parse(EXAMPLE_KEY)])


@given(st.integers(0, len(EXAMPLE) - 1))
def test_every_note_that_was_cut_is_refused(length: int) -> None:
    with pytest.raises(NotProven):
        Note.parse(EXAMPLE[:length]).verify([VerifierKey.parse(EXAMPLE_KEY)])


def test_what_a_seed_has_signed_its_verifier_key_verifies() -> None:
    key = VerifierKey.parse(str(LOG.key))
    assert key == LOG.key
    assert Note.parse(NOTE).verify([key]) == [Verified(key, None)]


def test_a_text_may_hold_empty_lines_and_what_looks_like_a_signature() -> None:
    text = "a\n\n— example.com/foo Uw2QOg==\n\nb\n"
    data = signed(text, LOG).to_bytes()
    assert Note.parse(data).text == text
    Note.parse(data).verify([LOG.key])


def test_unknown_keys_are_ignored_and_known_ones_all_count() -> None:
    cosignature = WITNESS.cosign(TEXT, 1_700_000_000)
    note = Note(TEXT, (OTHER.sign(TEXT), LOG.sign(TEXT), cosignature))
    read = Note.parse(note.to_bytes())
    assert read == note
    assert read.verify([LOG.key]) == [Verified(LOG.key, None)]
    assert read.verify([WITNESS.key, OTHER.key]) == [Verified(OTHER.key, None), Verified(WITNESS.key, 1_700_000_000)]


def test_a_name_or_an_id_alone_makes_no_known_key() -> None:
    wrong = bytes(64)
    strangers = (
        Signature("elsewhere.example", LOG.key.key_id, wrong),
        Signature(LOG.key.name, b"\0\0\0\0", wrong),
        Signature(LOG.key.name, WITNESS.key.key_id, b"of some other type"),
    )
    Note(TEXT, (*strangers, LOG.sign(TEXT))).verify([LOG.key])
    refused(ProofCode.UNSIGNED, Note(TEXT, strangers).to_bytes())


def test_a_known_key_that_fails_rejects_what_others_have_signed() -> None:
    forged = Signature(LOG.key.name, LOG.key.key_id, bytes(64))
    refused(ProofCode.SIGNATURE, Note(TEXT, (OTHER.sign(TEXT), forged)).to_bytes(), LOG.key, OTHER.key)
    refused(ProofCode.SIGNATURE, Note(TEXT, (LOG.sign(TEXT), forged)).to_bytes())
    for length in (1, 63, 65):
        blob = (LOG.sign(TEXT).blob * 2)[:length]
        refused(ProofCode.SIGNATURE, Note(TEXT, (LOG.sign(TEXT)._replace(blob=blob),)).to_bytes())


def test_a_known_key_signs_once() -> None:
    twice = Note(TEXT, (WITNESS.cosign(TEXT, 1), WITNESS.cosign(TEXT, 2))).to_bytes()
    refused(ProofCode.SIGNATURE, twice, WITNESS.key)


LINE = NOTE.partition(b"\n\n")[2]


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\n", TEXT.encode(), TEXT.encode() + b"\n", NOTE + b"\n", NOTE + b" ", NOTE + b"x", NOTE[:-1], LINE,
        b"\n" + LINE, NOTE.replace(b"\n", b"\r\n"), NOTE.replace(b"\n\n", b"\n"), NOTE.replace(b"1\n", b"1\t\n"),
        NOTE.replace(b"1\n", b"1\x00\n"), NOTE.replace(b"1\n", b"1\x1f\n"), NOTE.replace(b"1\n", b"\xff\n"),
        NOTE.replace(b"1\n", b"\xed\xa0\x80\n"), NOTE + LINE.replace(b"audit", b"x") * 0 + b"\n" + b"",
        TEXT.encode() + b"\n" + b"".join(b"\xe2\x80\x94 a%d AAAAAAA=\n" % n for n in range(101)),
        b"x" * MAX_BYTES + NOTE,
    ],
)  # fmt: skip
def test_what_is_no_note_is_refused(data: bytes) -> None:
    refused(ProofCode.NOTE, data)


@pytest.mark.parametrize(
    "line",
    [
        "- a AAAAAAA=", "—a AAAAAAA=", "— a", "—  AAAAAAA=", "— a  AAAAAAA=", "— a AAAAAAA= ", "— a b AAAAAAA=",
        "— a+b AAAAAAA=", "— a\u00a0b AAAAAAA=", "— a\u2028 AAAAAAA=", "— a AAAAAAA", "— a AAAAAAB=", "— a AAAA=AAA",
        "— a AAAAAA==", "— a AAAA", "— a AAAAAAA=AAAA", "— a AAAAAAA-", "— a AAAAAA_=", "— a =", "a AAAAAAA=",
        "— a ＡAAAAAA=",
    ],
)  # fmt: skip
def test_what_is_no_signature_line_is_refused(line: str) -> None:
    # It need not be that of a known key.
    refused(ProofCode.SIGNATURE_LINE, NOTE + f"{line}\n".encode())


def test_a_line_that_stands_there_twice_is_refused() -> None:
    stranger = "— a AAAAAAA=\n".encode()
    Note.parse(NOTE + stranger).verify([LOG.key])
    refused(ProofCode.SIGNATURE_LINE, NOTE + LINE)
    refused(ProofCode.SIGNATURE_LINE, NOTE + stranger * 2)


def test_a_hundred_signatures_are_read() -> None:
    strangers = [Signature(f"a{number}", b"\0\0\0\0", b"x") for number in range(99)]
    Note.parse(Note(TEXT, (*strangers, LOG.sign(TEXT))).to_bytes()).verify([LOG.key])


@pytest.mark.parametrize("text", ["", "no newline", "a\r\n", "a\tb\n", "a\0\n"])
def test_a_text_that_could_not_be_read_is_not_written(text: str) -> None:
    with pytest.raises(NotProven):
        signed(text, LOG).to_bytes()


@pytest.mark.parametrize(
    "text",
    [
        "", "a", EXAMPLE_KEY + "=", EXAMPLE_KEY[:-1], " " + EXAMPLE_KEY, EXAMPLE_KEY + "\n",
        EXAMPLE_KEY.replace("530d", "530D"),
        EXAMPLE_KEY.replace("530d", "530e"), EXAMPLE_KEY.replace("foo", "bar"), EXAMPLE_KEY.replace("foo", "f o"),
        EXAMPLE_KEY.replace("example.com/foo", ""), EXAMPLE_KEY.replace("foo", "f+o"),
        EXAMPLE_KEY.replace("+Ae", "+AO"),
        "example.com/foo+530d903a+", "example.com/foo+530d903a+AQ==",
    ],
)  # fmt: skip
def test_what_is_no_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(NotProven) as found:
        VerifierKey.parse(text)
    assert found.value.code is ProofCode.KEY


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\n", "a\u2003b", "\ud800"])
def test_a_key_has_a_name_without_spaces_and_pluses(name: str) -> None:
    with pytest.raises(NotProven):
        Ed25519Signer(name, bytes(32))


def test_a_seed_has_32_bytes_and_a_type_is_known() -> None:
    for length in (0, 31, 33, 64):
        with pytest.raises(NotProven):
            Ed25519Signer("a", bytes(length))
    with pytest.raises(NotProven):
        VerifierKey("a", 0x02, bytes(32))


def test_a_cosignature_is_made_of_the_bytes_of_the_specification() -> None:
    blob = WITNESS.cosign(TEXT, 1_679_315_147).blob
    message = b"cosignature/v1\ntime 1679315147\n" + TEXT.encode()
    private = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
    assert blob == (1_679_315_147).to_bytes(8, "big") + private.sign(message)
    assert WITNESS.key.type == COSIGNATURE
    assert base64.b64decode(str(WITNESS.key).split("+", 2)[2])[0] == 4


def test_one_key_of_two_types_has_two_ids() -> None:
    ours = Ed25519Signer("a", bytes(32)).key
    assert ours.public_key == Cosigner("a", bytes(32)).key.public_key
    assert ours.key_id != Cosigner("a", bytes(32)).key.key_id


@given(st.integers(0, MAX_TIME), st.integers(0, 71 * 8 + 7))
def test_every_changed_bit_of_a_cosignature_is_refused(time: int, bit: int) -> None:
    made = WITNESS.cosign(TEXT, time)
    assert WITNESS.key.verify(TEXT, made.blob) == time
    changed = bytearray(made.blob)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(NotProven) as found:
        WITNESS.key.verify(TEXT, bytes(changed))
    assert found.value.code is ProofCode.SIGNATURE


def test_a_cosignature_of_a_time_out_of_bounds_is_neither_made_nor_taken() -> None:
    for time in (-1, MAX_TIME + 1):
        with pytest.raises(ValueError, match="out of bounds"):
            WITNESS.cosign(TEXT, time)
    late = MAX_TIME + 1
    private = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
    blob = late.to_bytes(8, "big") + private.sign(f"cosignature/v1\ntime {late}\n{TEXT}".encode())
    for wrong in (blob, blob[8:], blob[:71], blob + b"\0", b""):
        with pytest.raises(NotProven):
            WITNESS.key.verify(TEXT, wrong)


def test_a_log_signature_is_no_cosignature_and_the_other_way_round() -> None:
    seed = bytes(32)
    one, other = Ed25519Signer("a", seed), Cosigner("a", seed)
    with pytest.raises(NotProven):
        other.key.verify(TEXT, one.sign(TEXT).blob)
    with pytest.raises(NotProven):
        one.key.verify(TEXT, other.cosign(TEXT, 1).blob)


def test_a_signer_may_be_another_system() -> None:
    class Elsewhere:
        key = LOG.key

        def sign(self, text: str) -> Signature:
            return LOG.sign(text)

    assert signed(TEXT, Elsewhere()).to_bytes() == NOTE
    assert cast("object", LOG.sign(TEXT)) == Elsewhere().sign(TEXT)
