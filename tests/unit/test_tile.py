"""Tiles are those of tlog-tiles."""

from collections.abc import Callable
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import naive
from permalog.errors import NotProven, ProofCode
from permalog.tlog.merkle import (
    MAX_SIZE,
    Frontier,
    Node,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    range_closing,
    verify_consistency,
    verify_inclusion,
    verify_range,
)
from permalog.tlog.tile import Tile, node_reader, partial_tiles, tile_hashes, tile_with, tiles_changed, tiles_needed

LARGEST = 70_000


@cache
def leaves() -> list[bytes]:
    return [leaf_hash(b"%d" % number) for number in range(LARGEST)]


def grown(*sizes: int) -> tuple[Frontier, dict[tuple[int, int], bytes]]:
    """A tree that has grown through these sizes, and its tiles, each hash of which was appended when it came."""
    frontier, tiles = Frontier(), dict[tuple[int, int], bytes]()
    for size in sizes:
        old = frontier.size
        frontier, rows = frontier.grown(leaves()[old:size])
        given_out = [0] * len(rows)
        for tile, before in tiles_changed(old, size):
            at, new = given_out[tile.level], tile.width - before
            place = (tile.level, tile.number)
            data = tiles.get(place, b"")
            assert len(data) == 32 * before
            tiles[place] = data + b"".join(rows[tile.level][at : at + new])
            assert len(tiles[place]) == 32 * tile.width
            given_out[tile.level] += new
        assert given_out == list(map(len, rows))
    return frontier, tiles


@cache
def large_tree() -> tuple[Frontier, dict[tuple[int, int], bytes]]:
    return grown(1, 255, 256, 257, 65_536, LARGEST)


def from_tiles(tile: Tile) -> bytes:
    return large_tree()[1][tile.level, tile.number]


def widths(size: int) -> list[list[int]]:
    """The widths of the tiles of each level, by the formula of the specification."""
    levels: list[list[int]] = []
    while entries := size >> 8 * len(levels):
        levels.append([256] * (entries // 256) + ([entries % 256] if entries % 256 else []))
    return levels


@pytest.mark.parametrize("size", [1, 255, 256, 257, 65_536, 70_000])
def test_a_tree_has_the_tiles_of_the_specification(size: int) -> None:
    frontier, tiles = grown(size)
    expected = widths(size)
    assert {place: len(data) // 32 for place, data in tiles.items()} == {
        (level, number): width for level, row in enumerate(expected) for number, width in enumerate(row)
    }
    assert partial_tiles(size) == [
        Tile(level, len(row) - 1, row[-1]) for level, row in enumerate(expected) if row[-1] < 256
    ]
    assert tiles[0, 0] == b"".join(leaves()[:256][:size])
    for (level, number), data in tiles.items():
        for at, found in enumerate(tile_hashes(data, len(data) // 32)):
            if level == 2 or (level == 1 and at % 50 == 0):
                place = number * 256 + at
                assert found == naive.root(leaves()[place << 8 * level : place + 1 << 8 * level])
    assert frontier.root() == naive.root(leaves()[:size])


def test_seventy_thousand_leaves_are_the_example_of_the_specification() -> None:
    levels = widths(70_000)
    assert [(row.count(256), row[-1]) for row in levels] == [(273, 112), (1, 17), (0, 1)]
    assert partial_tiles(256) == [Tile(1, 0, 1)]
    assert partial_tiles(0) == []


def test_tiles_do_not_depend_on_the_steps_in_which_a_tree_grew() -> None:
    assert large_tree() == grown(70_000)


@given(st.integers(1, LARGEST), st.data())
def test_proofs_from_tiles_stand(size: int, data: st.DataObject) -> None:
    root = Frontier().grown(leaves()[:size]).frontier.root() if size < 3000 else grown_root(size)
    index = data.draw(st.integers(0, size - 1))
    read = node_reader(from_tiles)
    verify_inclusion(leaves()[index], index, size, inclusion_proof(index, size, read), root)
    old = index + 1
    verify_consistency(old, grown_root(old), size, root, consistency_proof(old, size, read))
    start = max(0, index - 300)
    verify_range(leaves()[start:old], range_closing(start, old, size, read), root)


@cache
def grown_root(size: int) -> bytes:
    """A root from the tiles, as one that holds no frontier computes it."""
    heights = [height for height in reversed(range(size.bit_length())) if size >> height & 1]
    at, hashes = 0, list[bytes]()
    for height in heights:
        hashes.append(node_reader(from_tiles)(Node(height, at >> height)))
        at += 1 << height
    return Frontier(size, tuple(hashes)).root()


@given(st.integers(1, LARGEST), st.data())
def test_a_proof_needs_the_tiles_it_says_and_none_that_is_not_in_its_tree(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    needed = tiles_needed(lambda read: inclusion_proof(index, size, read))
    fetched = {(tile.level, tile.number): from_tiles(tile)[: 32 * tile.width] for tile in needed}
    assert all(tile.leaves() <= size for tile in needed)
    assert len(fetched) == len(needed)
    proof = inclusion_proof(index, size, node_reader(lambda tile: fetched[tile.level, tile.number]))
    assert proof == inclusion_proof(index, size, node_reader(from_tiles))


def test_a_tile_too_narrow_for_a_proof_is_refused() -> None:
    read = node_reader(lambda tile: from_tiles(tile)[: 32 * (tile.width - 1)])
    with pytest.raises(NotProven) as refused:
        read(Node(0, 7))
    assert refused.value.code is ProofCode.TILE_WIDTH


@pytest.mark.parametrize(("length", "width"), [(0, 0), (31, 1), (33, 1), (64, 1), (8193, 256), (8224, 257), (0, 256)])
def test_a_tile_of_another_length_is_refused(length: int, width: int) -> None:
    with pytest.raises(NotProven) as refused:
        tile_hashes(bytes(length), width)
    assert refused.value.code is ProofCode.TILE_WIDTH


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(0, 67, 12), "tile/0/067.p/12"),
        (Tile(0, 1_234_067), "tile/0/x001/x234/067"),
        (Tile(1, 1000, 255), "tile/1/x001/000.p/255"),
        (Tile(7, 0, 127), "tile/7/000.p/127"),
    ],
)
def test_paths_are_those_of_the_specification(tile: Tile, path: str) -> None:
    assert tile.path() == path
    assert Tile.parse(path) == tile


@given(st.integers(0, 6), st.integers(0, 2**55), st.integers(1, 256))
def test_every_path_is_read_again(level: int, number: int, width: int) -> None:
    tile = Tile(level, number % (MAX_SIZE >> 8 * (level + 1)), width)
    assert Tile.parse(tile.path()) == tile


@pytest.mark.parametrize(
    "path",
    [
        "", "tile/0", "tile/0/", "/tile/0/000", "tile/0/000/", "tile/0/0", "tile/0/00", "tile/0/0000", "tile/00/000",
        "tile/-1/000", "tile/+0/000", "tile/0/x000/000", "tile/0/x000/x001/000", "tile/0/001/000", "tile/0/x001",
        "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/257", "tile/0/000.p/999",
        "tile/0/000.p/012", "tile/0/000.p/", "tile/0/000.p/1/", "tile/0/000.p/-1",
        "tile/0/000.P/1", "tile/0/000.p/1\n", "tile/0/000\n", " tile/0/000", "tile/0/x٠٠١/000", "tile/٠/000",
        "tile/entries/000", "tile/8/000", "tile/64/000", "tile/7/000", "tile/7/000.p/128",
        "tile/0/" + "x999/" * 6 + "999",
        "tile/0/" + "x001/" * 1000 + "000", "tile/0/../000", "tile//0/000", "tile/0//000",
    ],
)  # fmt: skip
def test_any_other_path_is_refused(path: str) -> None:
    with pytest.raises(NotProven) as refused:
        Tile.parse(path)
    assert refused.value.code is ProofCode.TILE_PATH


@given(st.integers(0, MAX_SIZE), st.integers(0, 5000), st.integers(0, 600))
def test_the_tiles_that_change_are_those_that_grow(old: int, more: int, small: int) -> None:
    for start, end in ((old, min(old + more, MAX_SIZE)), (small, small + more)):
        changed = list(tiles_changed(start, end))
        for level in range(8):
            entries = [(tile.number * 256 + before, tile.number * 256 + tile.width)
                       for tile, before in changed if tile.level == level]  # fmt: skip
            if start >> 8 * level == end >> 8 * level:
                assert entries == []
            else:
                assert entries[0][0] == start >> 8 * level
                assert entries[-1][1] == end >> 8 * level
                assert all(one[1] == other[0] for one, other in pairwise(entries))


@pytest.mark.parametrize(("old", "new"), [(-1, 0), (2, 1), (0, MAX_SIZE + 1)])
def test_a_tree_does_not_shrink(old: int, new: int) -> None:
    with pytest.raises(NotProven):
        list(tiles_changed(old, new))


@given(st.integers(0, 62), st.integers(0, 10_000))
def test_a_subtree_comes_from_the_smallest_tile_that_holds_it(height: int, number: int) -> None:
    node = Node(height, number)
    tile = tile_with(node)
    assert tile.leaves() == number + 1 << height
    assert 1 <= tile.width <= 256


@given(st.sampled_from([1, 32, 33, 64, 8192]))
def test_reading_hashes_of_a_tile_keeps_their_order(length: int) -> None:
    data = bytes(range(256)) * 32
    check: Callable[[], list[bytes]] = lambda: tile_hashes(data[:length], length // 32)  # noqa: E731
    if length % 32:
        with pytest.raises(NotProven):
            check()
    else:
        assert b"".join(check()) == data[:length]
