"""Hash tiles: the tree as C2SP tlog-tiles stores and serves it, 256 hashes a tile. Pure functions over bytes.

    tile/<L>/<N>          a full tile: the roots of 256^L leaves each, from <N> * 256 of them on; 8,192 bytes
    tile/<L>/<N>.p/<W>    a partial tile: its first <W> hashes, 1 to 255

<N> is written in groups of three digits, all but the last with an ``x`` before them: 1234067 is ``x001/x234/067``.
A partial tile is a prefix of the full one, and is never hashed into the level above. Log entries are private here:
there are no entry bundles, and their paths are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from permalog.errors import Malformed, ProofCode
from permalog.tlog.merkle import HASH_BYTES, MAX_SIZE, Node, NodeReader, root_of

WIDTH: Final = 256
"""Hashes in a full tile."""
HEIGHT: Final = 8
"""A full tile's hashes are the leaves of a subtree of this height."""
TOP_LEVEL: Final = 7
"""The highest level that a tree of 2^63 - 1 leaves has."""

_PATH: Final = re.compile(r"tile/([0-9]{1,2})/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")
_GROUP: Final = 1000


class Tile(NamedTuple):
    """A hash tile: its level, its number within the level, and how many hashes it has, 1 to 256."""

    level: int
    number: int
    width: int = WIDTH

    def path(self) -> str:
        """``tile/<L>/<N>``, with ``.p/<W>`` if it is partial."""
        rest, last = divmod(self.number, _GROUP)
        groups = [f"{last:03}"]
        while rest:
            rest, group = divmod(rest, _GROUP)
            groups.append(f"x{group:03}")
        partial = "" if self.width == WIDTH else f".p/{self.width}"
        return f"tile/{self.level}/{'/'.join(reversed(groups))}{partial}"

    @classmethod
    def parse(cls, path: str) -> Tile:
        """Reads exactly what `path` writes.

        Raises:
            Malformed: leading zeros, needless groups, a tile that no tree of up to 2^63 - 1 leaves has, or anything
                else (`TILE_PATH`).
        """
        found = _PATH.fullmatch(path)
        # Ten groups are more than any number here has: it bounds the time that a hostile path takes.
        if found is None or len(path) > len("tile/00/.p/256") + 5 * 10:
            raise Malformed(ProofCode.TILE_PATH, "not the path of a hash tile")
        level, width = int(found[1]), int(found[3] or WIDTH)
        tile = cls(level, int(found[2].replace("x", "").replace("/", "")), width)
        if tile.path() != path or width > WIDTH or level > TOP_LEVEL or tile.leaves() > MAX_SIZE:
            raise Malformed(ProofCode.TILE_PATH, "not the path of a hash tile")
        return tile

    def leaves(self) -> int:
        """How many leaves a tree must have for this tile to be in it."""
        return (self.number * WIDTH + self.width) << HEIGHT * self.level


def partial_tiles(size: int) -> list[Tile]:
    """The partial tiles of a tree, from the leaves up: what a checkpoint of this size needs beside full tiles."""
    counts = [size >> HEIGHT * level for level in range(TOP_LEVEL + 1)]
    return [Tile(level, n // WIDTH, n % WIDTH) for level, n in enumerate(counts) if n % WIDTH]


def tiles_changed(old: int, new: int) -> Iterator[tuple[Tile, int]]:
    """The tiles that a tree changes or gains as it grows, as they are then, each with the hashes that it had before.

    Level by level from the leaves up, and in order within each: the order of `permalog.tlog.merkle.Growth.rows`.

    Raises:
        Malformed: not 0 <= old <= new <= 2^63 - 1.
    """
    if not 0 <= old <= new <= MAX_SIZE:
        raise Malformed(ProofCode.BOUNDS, "a size is out of bounds")
    level = 0
    while old < new:
        for number in range(old // WIDTH, (new - 1) // WIDTH + 1):
            yield Tile(level, number, min(new - number * WIDTH, WIDTH)), max(old - number * WIDTH, 0)
        old, new, level = old // WIDTH, new // WIDTH, level + 1


def tile_hashes(data: bytes, width: int = WIDTH) -> list[bytes]:
    """The hashes of a tile of this width.

    Raises:
        Malformed: it has not exactly that many (`TILE_WIDTH`).
    """
    if len(data) != width * HASH_BYTES or not 1 <= width <= WIDTH:
        raise Malformed(ProofCode.TILE_WIDTH, f"the tile has {len(data)} bytes, which is not {width} hashes")
    return [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]


def tile_with(node: Node) -> Tile:
    """The smallest tile from which the hash of a complete subtree comes: that of its own hash, or of those below it."""
    level, above = divmod(node.height, HEIGHT)
    number, last = divmod((node.number + 1 << above) - 1, WIDTH)
    return Tile(level, number, last + 1)


def node_reader(read: Callable[[Tile], bytes]) -> NodeReader:
    """Gives the hashes of complete subtrees from tiles, as proofs need them.

    `read` gets the smallest tile that is needed, and gives the bytes of that one, of a wider one, or of the full one.
    """

    def hash_of(node: Node) -> bytes:
        tile = tile_with(node)
        data = read(tile)
        hashes = tile_hashes(data, len(data) // HASH_BYTES)
        if len(hashes) < tile.width:
            raise Malformed(ProofCode.TILE_WIDTH, f"the tile has {len(hashes)} hashes, and {tile.width} are needed")
        return root_of(hashes[tile.width - (1 << node.height % HEIGHT) : tile.width])

    return hash_of


def tiles_needed(prove: Callable[[NodeReader], object]) -> list[Tile]:
    """The tiles of which a proof is made, each once and as wide as is needed, so that they can be fetched together.

    ``tiles_needed(lambda read: inclusion_proof(index, size, read))``
    """
    widths: dict[tuple[int, int], int] = {}

    def note(node: Node) -> bytes:
        tile = tile_with(node)
        place = (tile.level, tile.number)
        widths[place] = max(tile.width, widths.get(place, 0))
        return bytes(HASH_BYTES)

    prove(note)
    return [Tile(*place, width) for place, width in sorted(widths.items())]
