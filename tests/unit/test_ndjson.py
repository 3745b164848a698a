"""Lines in bounded memory."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from permalog_server import ndjson
from permalog_server.ndjson import Line, lines_of


@given(st.lists(st.binary(max_size=40).filter(lambda text: b"\n" not in text)))
def test_lines_are_those_of_the_file_without_the_blank_ones(lines: list[bytes]) -> None:
    text = b"".join(line + b"\n" for line in lines)
    found = [(line.number, line.text) for line in lines_of(io.BytesIO(text))]
    assert found == [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]


@pytest.mark.parametrize("size", [99, 100, 101, 250, 1000])
def test_a_line_is_too_long_exactly_beyond_the_limit(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(ndjson, "MAX_LINE", 100)
    monkeypatch.setattr(ndjson, "_PIECE", 30)
    long, after = lines_of(io.BytesIO(b"x" * size + b"\ny\n"))
    assert long.too_long is (size > 100)
    assert long.size == size + 1
    assert after == Line(2, b"y", 2)


def test_a_last_line_without_newline_is_cut_off() -> None:
    assert list(lines_of(io.BytesIO(b"x\ny"))) == [Line(1, b"x", 2), Line(2, b"y", 1, cut_off=True)]
