"""Frames are found whole, or not at all, whatever happens to their bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from permalog.recording import frames
from permalog.recording.frames import DAMAGED, GIVEN, VOID

PARTS = st.binary(max_size=40)


def frame(number: int, event: bytes = b"an event\n", identities: bytes = b"an identity\n", flags: int = 0) -> bytes:
    return frames.encode(number, bytes(16), bytes([number] * 16), b"user/u", event, identities, b"", flags)


def read(data: bytes, *, final: bool = True, limit: int = 1_000) -> frames.Found:
    return frames.read(data, 0, limit=limit, whole=True, final=final)


@given(st.integers(0, 2**64 - 1), st.tuples(PARTS, PARTS, PARTS, PARTS), st.sampled_from([0, GIVEN, DAMAGED]))
def test_what_is_written_is_read(number: int, parts: tuple[bytes, bytes, bytes, bytes], flags: int) -> None:
    owner, event, identities, note = parts
    data = frames.encode(number, b"l" * 16, b"e" * 16, owner, event, identities, note, flags)
    found = read(data)
    assert found == ([frames.Frame(0, len(data), flags, number, b"l" * 16, b"e" * 16, *parts)], [], len(data))


def test_the_header_is_as_documented() -> None:
    assert frames.HEADER_BYTES == 4 + 4 + 4 + 2 + 3 * 4 + 1 + 8 + 16 + 16
    assert frame(1)[:4] == b"\xf5PL1"


def test_a_torn_tail_is_recognised_at_every_byte() -> None:
    whole = frame(1) + frame(2)
    last = frame(3)
    for length in range(1, len(last)):
        found = read(whole + last[:length])
        assert [one.number for one in found.frames] == [1, 2]
        assert [(gap.kind, gap.start, gap.data) for gap in found.gaps] == [("torn", len(whole), last[:length])]
        assert found.end == len(whole) + length


@pytest.mark.parametrize("length", [1, 64, 5_000])
def test_space_that_was_made_and_never_filled_is_torn(length: int) -> None:
    (gap,) = read(frame(1) + bytes(length)).gaps
    assert gap.kind == "torn"
    (gap,) = read(frame(1) + frame(2)[: frames.HEADER_BYTES] + bytes(len(frame(2)) - frames.HEADER_BYTES)).gaps
    assert gap.kind == "torn"


def test_whatever_bit_flips_the_other_events_are_read_and_this_one_is_set_aside() -> None:
    three = [frame(1), frame(2), frame(3)]
    data = b"".join(three)
    for place in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << place % 8
        hit = place // 8 // len(three[0])
        found = read(bytes(flipped))
        assert [one.number for one in found.frames] == [n + 1 for n in range(3) if n != hit]
        (gap,) = found.gaps
        assert gap.kind == "damaged"
        assert gap.data == bytes(flipped[hit * len(three[0]) :][: len(three[0])])


@given(st.binary(max_size=300), st.integers(0, 3))
def test_rubbish_is_never_taken_for_an_event_and_never_hides_one(rubbish: bytes, before: int) -> None:
    found = read(b"".join(frame(n + 1) for n in range(before)) + rubbish + frame(9))
    assert [one.number for one in found.frames] == [*range(1, before + 1), 9]
    assert b"".join(gap.data for gap in found.gaps) == rubbish


def test_the_marker_inside_an_event_is_no_frame() -> None:
    inner = frame(7)
    found = read(frame(1, event=inner) + frame(2))
    assert [one.number for one in found.frames] == [1, 2]
    flipped = bytearray(frame(1, event=b"x" + frames.MAGIC * 3) + frame(2))
    flipped[20] ^= 1
    assert [one.number for one in read(bytes(flipped)).frames] == [2]


def test_void_frames_are_passed_over_and_a_limit_is_kept() -> None:
    data = frame(1) + frame(2, flags=VOID) + frame(3) + frame(4)
    assert [one.number for one in read(data, limit=2).frames] == [1, 3]
    assert read(data, limit=2).end == len(data) - len(frame(4))
    assert read(frame(1, flags=VOID)).end == len(frame(1, flags=VOID))


def test_more_is_asked_for_where_the_bytes_do_not_reach() -> None:
    data = frame(1) + frame(2)[:-1]
    assert frames.read(data, 0, limit=9, whole=False, final=True) == (read(frame(1)).frames, [], len(frame(1)))
