"""A witness cosigns only what continues what it cosigned last, whatever it is asked, and by however many at once."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import naive
from permalog.errors import Malformed, NotProven, ProofCode, Refusal, Refuted, WitnessRefused, WitnessUnusable
from permalog.tlog.checkpoint import Checkpoint
from permalog.tlog.merkle import EMPTY_ROOT, leaf_hash
from permalog.tlog.note import Cosigner, Ed25519Signer, Note, VerifierKey, encode
from permalog.tlog.witness import AddCheckpoint, State, TrustedLog, Witness, read_cosignature

PREFIX = "audit.example.com"
ORIGIN = f"{PREFIX}/log/e152bb82-5527-8d8b-8ded-3f5737b427b3"
LOG = Ed25519Signer(PREFIX, bytes(range(32)))
NEXT_KEY = Ed25519Signer(PREFIX, bytes(range(1, 33)))
COSIGNER = Cosigner("witness.example/w1", bytes(range(64, 96)))
TRUSTED = TrustedLog.parse(str(LOG.key))
LEAVES = [leaf_hash(b"%d" % number) for number in range(20)]
FORKED = [*LEAVES[:4], leaf_hash(b"other"), *LEAVES[5:]]
NOW = 1_769_850_000


@cache
def checkpoint(size: int, *, forked: bool = False, origin: str = ORIGIN) -> Checkpoint:
    return Checkpoint(origin, size, naive.root((FORKED if forked else LEAVES)[:size]))


def asked(
    old: int, size: int, *, forked: bool = False, origin: str = ORIGIN, signer: Ed25519Signer = LOG
) -> AddCheckpoint:
    """What an honest log, or a forked one, asks."""
    leaves = FORKED if forked else LEAVES
    proof = naive.proof(old, leaves[:size]) if 0 < old < size else []
    signed = checkpoint(size, forked=forked, origin=origin).signed(signer)
    return AddCheckpoint(old, tuple(proof), signed.to_bytes())


def witness(folder: Path, *trusted: TrustedLog, clock: Callable[[], float] = lambda: NOW) -> Witness:
    return Witness(COSIGNER, State(folder), trusted or [TRUSTED], clock=clock)


def refusal(of: Witness, body: bytes) -> WitnessRefused:
    with pytest.raises(WitnessRefused) as refused:
        of.add_checkpoint(body)
    return refused.value


def test_the_first_checkpoint_and_what_follows_are_cosigned(tmp_path: Path) -> None:
    one = witness(tmp_path)
    for old, size in pairwise([0, 1, 4, 4, 7, 16, 20]):
        signature = one.add_checkpoint(asked(old, size).to_bytes())
        text = checkpoint(size).text()
        (verified,) = Note(text, (signature,)).verify([COSIGNER.key])
        assert verified.time == NOW
        assert read_cosignature(f"{signature.line()}\n".encode(), text, COSIGNER.key) == signature


def test_the_empty_tree_is_a_beginning(tmp_path: Path) -> None:
    one = witness(tmp_path)
    one.add_checkpoint(asked(0, 0).to_bytes())
    one.add_checkpoint(asked(0, 5).to_bytes())
    assert refusal(one, asked(0, 0).to_bytes()).size == 5


def test_an_unknown_log_is_refused(tmp_path: Path) -> None:
    for origin in ("other.example/log/1", f"{PREFIX}.evil.example/log/1", f"{PREFIX}x", "audit.example"):
        assert refusal(witness(tmp_path), asked(0, 1, origin=origin).to_bytes()).refusal is Refusal.UNKNOWN


def test_what_no_trusted_key_has_signed_is_refused(tmp_path: Path) -> None:
    one = witness(tmp_path)
    stranger = Ed25519Signer("stranger.example", bytes(32))
    for signer in (NEXT_KEY, stranger):
        assert refusal(one, asked(0, 3, signer=signer).to_bytes()).refusal is Refusal.UNSIGNED
    note = Note.parse(asked(0, 3).checkpoint)
    other = checkpoint(4).signed(LOG).signatures
    wrong = AddCheckpoint(0, (), note._replace(signatures=other).to_bytes())
    assert refusal(one, wrong.to_bytes()).refusal is Refusal.UNSIGNED
    assert State(tmp_path).last(ORIGIN) == (0, EMPTY_ROOT)


def test_either_key_of_a_rotation_will_do(tmp_path: Path) -> None:
    one = witness(tmp_path, TRUSTED, TrustedLog.parse(str(NEXT_KEY.key)))
    one.add_checkpoint(asked(0, 3).to_bytes())
    one.add_checkpoint(asked(3, 5, signer=NEXT_KEY).to_bytes())


@pytest.mark.parametrize("old", [0, 3, 5, 6])
def test_another_old_size_is_a_conflict_that_names_the_known_one(tmp_path: Path, old: int) -> None:
    one = witness(tmp_path)
    one.add_checkpoint(asked(0, 4).to_bytes())
    refused = refusal(one, asked(old, 6).to_bytes())
    assert (refused.refusal, refused.size) == (Refusal.CONFLICT, 4)


def test_an_old_size_beyond_the_checkpoint_is_malformed(tmp_path: Path) -> None:
    one = witness(tmp_path)
    one.add_checkpoint(asked(0, 4).to_bytes())
    assert refusal(one, asked(4, 3).to_bytes()).refusal is Refusal.MALFORMED


def test_another_root_at_the_same_size_is_a_conflict(tmp_path: Path) -> None:
    one = witness(tmp_path)
    one.add_checkpoint(asked(0, 5).to_bytes())
    assert refusal(one, asked(5, 5, forked=True).to_bytes()).refusal is Refusal.CONFLICT
    assert State(tmp_path).last(ORIGIN) == (5, checkpoint(5).root)


def test_a_fork_is_inconsistent_and_changes_nothing(tmp_path: Path) -> None:
    one = witness(tmp_path)
    one.add_checkpoint(asked(0, 6).to_bytes())
    assert refusal(one, asked(6, 9, forked=True).to_bytes()).refusal is Refusal.INCONSISTENT
    one.add_checkpoint(asked(6, 9).to_bytes())


@pytest.mark.parametrize("proof", [[], LEAVES[:1], LEAVES[:9]])
def test_a_wrong_proof_is_inconsistent(tmp_path: Path, proof: list[bytes]) -> None:
    one = witness(tmp_path)
    one.add_checkpoint(asked(0, 6).to_bytes())
    assert refusal(one, asked(6, 9)._replace(proof=tuple(proof)).to_bytes()).refusal is Refusal.INCONSISTENT


def test_from_an_empty_tree_there_is_no_proof(tmp_path: Path) -> None:
    with_proof = asked(0, 6)._replace(proof=(LEAVES[0],))
    assert refusal(witness(tmp_path), with_proof.to_bytes()).refusal is Refusal.INCONSISTENT


def test_logs_do_not_know_of_each_other(tmp_path: Path) -> None:
    one = witness(tmp_path)
    one.add_checkpoint(asked(0, 6).to_bytes())
    one.add_checkpoint(asked(0, 3, origin=f"{PREFIX}/log/2").to_bytes())
    one.add_checkpoint(asked(0, 3, origin=f"{ORIGIN}/2").to_bytes())
    one.add_checkpoint(asked(6, 8).to_bytes())


GOOD = asked(4, 7).to_bytes()


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\n", GOOD[:-1], GOOD[1:], GOOD.replace(b"old 4", b"old 04"), GOOD.replace(b"old 4", b"old -4"),
        GOOD.replace(b"old 4", b"Old 4"), GOOD.replace(b"old 4", b"old 9999999999999999999"),
        GOOD.replace(b"old 4\n", b"old 4\r\n"), GOOD.replace(b"old 4\n", b"old 4\n\n"),
        GOOD.replace(b"old 4\n", b"old 4\n" + encode(bytes(31)).encode() + b"\n"),
        GOOD.replace(b"old 4\n", b"old 4\n" + encode(bytes(32)).encode()[:-2] + b"B=\n"),
        GOOD.replace(b"old 4\n", b"old 4\n" + (encode(bytes(32)).encode() + b"\n") * 64),
        GOOD.replace(b"\n7\n", b"\n07\n"), GOOD.replace(b"\n7\n", b"\n\xff\n"), GOOD + b"x" * 70_000,
        GOOD.partition(b"\n\n")[0] + b"\n\n", GOOD.replace("—".encode(), b"-"),
    ],
)  # fmt: skip
def test_what_is_no_request_is_malformed(tmp_path: Path, body: bytes) -> None:
    assert refusal(witness(tmp_path), body).refusal is Refusal.MALFORMED


@given(st.binary(max_size=300))
def test_no_bytes_make_it_fail(body: bytes) -> None:
    with pytest.raises(NotProven):
        AddCheckpoint.parse(body)


@pytest.mark.parametrize("text", ["", "Nonsense\n", checkpoint(3, origin="other.example").text()])
def test_a_damaged_state_stops_it(tmp_path: Path, text: str) -> None:
    one = witness(tmp_path)
    one.add_checkpoint(asked(0, 3).to_bytes())
    (file,) = (path for path in tmp_path.iterdir() if path.name != "key" and not path.name.endswith(".lock"))
    file.write_text(text)
    with pytest.raises(WitnessUnusable):
        one.add_checkpoint(asked(3, 5).to_bytes())


def test_a_state_belongs_to_one_key(tmp_path: Path) -> None:
    witness(tmp_path)
    with pytest.raises(WitnessUnusable):
        Witness(Cosigner("witness.example/w1", bytes(32)), State(tmp_path), [TRUSTED])


def test_of_all_forks_that_come_at_once_one_is_cosigned(tmp_path: Path) -> None:
    witness(tmp_path).add_checkpoint(asked(0, 4).to_bytes())
    bodies = [asked(4, size, forked=forked).to_bytes() for size in range(5, 15) for forked in (False, True)]
    ready = threading.Barrier(len(bodies))
    won: list[bytes] = []

    def ask(body: bytes) -> None:
        mine = witness(tmp_path)
        ready.wait()
        try:
            mine.add_checkpoint(body)
        except WitnessRefused as refused:
            assert refused.refusal is Refusal.CONFLICT  # noqa: PT017  the others' turn came after the winner's
        else:
            won.append(body)

    threads = [threading.Thread(target=ask, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


GROW = """
import sys
from pathlib import Path
from permalog.tlog.note import Cosigner
from permalog.tlog.witness import State, TrustedLog, Witness

folder, key, bodies = sys.argv[1:]
one = Witness(Cosigner("witness.example/w1", bytes(range(64, 96))), State(Path(folder)), [TrustedLog.parse(key)])
asked = [bytes.fromhex(body) for body in Path(bodies).read_text().split()]
for size, body in enumerate(asked, 1):
    one.add_checkpoint(body)
    print(size, flush=True)
while True:
    one.add_checkpoint(asked[-1].replace(b"old 19", b"old 20"))
"""
"""A process that cosigns one size after the other, and tells of each only after it was answered."""


@pytest.mark.parametrize("answers", [1, 4, 9, 15, 19])
def test_what_was_answered_is_remembered_after_a_kill(tmp_path: Path, answers: int) -> None:
    folder, bodies = tmp_path / "state", tmp_path / "bodies"
    bodies.write_text("\n".join(asked(size, size + 1).to_bytes().hex() for size in range(len(LEAVES))))
    with subprocess.Popen(
        [sys.executable, "-c", GROW, folder, str(LOG.key), bodies], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        for _ in range(answers):
            assert process.stdout.readline()
        process.kill()
        answered = answers + len(process.stdout.read().splitlines())
    size, root = State(folder).last(ORIGIN)
    assert answered <= size <= answered + 1
    assert root == checkpoint(size).root
    one = witness(folder)
    # No other history from an older size on; and the one that it knows goes on.
    assert refusal(one, asked(answered - 1, len(LEAVES), forked=True).to_bytes()).refusal is Refusal.CONFLICT
    one.add_checkpoint(asked(size, len(LEAVES)).to_bytes())


def test_it_does_not_answer_what_it_could_not_keep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = witness(tmp_path)
    one.add_checkpoint(asked(0, 4).to_bytes())

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            one.add_checkpoint(asked(4, 6).to_bytes())
    assert State(tmp_path).last(ORIGIN) == (4, checkpoint(4).root)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".new-")]
    one.add_checkpoint(asked(4, 6).to_bytes())


def test_trust_is_written_as_a_key_or_as_an_origin_and_a_key() -> None:
    assert TRUSTED.covers(PREFIX)
    assert TRUSTED.covers(ORIGIN)
    assert not TRUSTED.covers(f"{PREFIX}x/log")
    one = TrustedLog.parse(f"{ORIGIN}={LOG.key}")
    assert one.covers(ORIGIN)
    assert not one.covers(f"{ORIGIN}/2")
    for text in ("", "x", f"={LOG.key}", f"{ORIGIN}=", f"a b={LOG.key}", str(COSIGNER.key)):
        with pytest.raises(Malformed):
            TrustedLog.parse(text)


def test_an_answer_must_be_lines_of_this_witness() -> None:
    text = checkpoint(4).text()
    line = f"{COSIGNER.cosign(text, NOW).line()}\n".encode()
    other = Cosigner("witness.example/w2", bytes(32))
    others = f"{other.cosign(text, NOW).line()}\n".encode()
    assert read_cosignature(others + line, text, COSIGNER.key).name == "witness.example/w1"
    wrong = f"{COSIGNER.cosign(checkpoint(5).text(), NOW).line()}\n".encode()
    cases: list[tuple[bytes, VerifierKey, ProofCode]] = [
        (b"", COSIGNER.key, ProofCode.NOTE),
        (line[:-1], COSIGNER.key, ProofCode.NOTE),
        (b"\n" + line, COSIGNER.key, ProofCode.NOTE),
        (b"more\n\n" + line, COSIGNER.key, ProofCode.NOTE),
        (b"x" * 70_000, COSIGNER.key, ProofCode.NOTE),
        (others, COSIGNER.key, ProofCode.UNSIGNED),
        (wrong, COSIGNER.key, ProofCode.SIGNATURE),
    ]
    for answer, key, code in cases:
        with pytest.raises((Malformed, Refuted)) as refused:
            read_cosignature(answer, text, key)
        assert refused.value.code is code
