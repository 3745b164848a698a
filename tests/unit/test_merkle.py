"""The tree is that of RFC 6962, and no proof stands but the right one."""

import itertools
from collections.abc import Callable
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import naive
from permalog.errors import Malformed, NotProven, ProofCode, Refuted
from permalog.tlog.merkle import (
    EMPTY_ROOT,
    MAX_SIZE,
    Closing,
    Frontier,
    Node,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    range_closing,
    root_of,
    verify_consistency,
    verify_inclusion,
    verify_range,
)

LEAVES = [leaf_hash(number.to_bytes(2, "big")) for number in range(600)]
sizes = st.one_of(st.integers(1, 40), st.integers(1, len(LEAVES)))


@cache
def subtree(node: Node) -> bytes:
    start = node.number << node.height
    return naive.root(LEAVES[start : start + (1 << node.height)])


def naive_root(size: int) -> bytes:
    return naive.root(LEAVES[:size])


@st.composite
def places(draw: st.DrawFn) -> tuple[int, int]:
    """A leaf index and a size."""
    size = draw(sizes)
    return draw(st.integers(0, size - 1)), size


@st.composite
def growths(draw: st.DrawFn) -> tuple[int, int]:
    """An old size and a new one."""
    new = draw(sizes)
    return draw(st.integers(1, new)), new


@st.composite
def ranges(draw: st.DrawFn) -> tuple[int, int, int]:
    """Start, end and size."""
    size = draw(sizes)
    start = draw(st.integers(0, size - 1))
    return start, draw(st.integers(start + 1, size)), size


def flipped(data: bytes, bit: int) -> bytes:
    return (int.from_bytes(data, "big") ^ 1 << bit).to_bytes(len(data), "big")


def refuses(code: ProofCode, check: Callable[..., None], *arguments: object) -> None:
    with pytest.raises(NotProven) as refused:
        check(*arguments)
    assert refused.value.code is code


def test_the_roots_of_the_standard_leaves_are_those_of_rfc_6962() -> None:
    leaves = list(map(leaf_hash, naive.STANDARD_LEAVES))
    assert [root_of(leaves[:size]).hex() for size in range(9)] == naive.STANDARD_ROOTS
    assert [naive.root(leaves[:size]).hex() for size in range(9)] == naive.STANDARD_ROOTS
    assert naive.STANDARD_ROOTS[0] == EMPTY_ROOT.hex()


def test_leaves_and_nodes_cannot_be_taken_for_each_other() -> None:
    left, right = LEAVES[:2]
    assert leaf_hash(left + right) != node_hash(left, right)


@given(st.lists(st.integers(0, 300), max_size=8))
def test_a_frontier_that_grows_in_any_steps_has_the_naive_root_and_the_nodes_of_tiles(steps: list[int]) -> None:
    frontier, rows = Frontier(), [[], []]
    for start, end in pairwise(itertools.accumulate([0, *steps])):
        if end > len(LEAVES):
            break
        grown = frontier.grown(LEAVES[start:end])
        frontier = Frontier.from_bytes(grown.frontier.to_bytes())
        assert frontier == grown.frontier
        assert frontier.size == end
        assert frontier.root() == naive_root(end)
        assert len(frontier.hashes) == end.bit_count()
        for row, new in zip(rows, grown.rows, strict=False):
            row.extend(new)
    size = frontier.size
    assert rows[0] == LEAVES[:size]
    assert rows[1] == [subtree(Node(8, number)) for number in range(size // 256)]


def test_a_frontier_one_leaf_at_a_time_is_that_of_all_leaves_together() -> None:
    frontier = Frontier()
    for leaf in LEAVES:
        frontier = frontier.grown([leaf]).frontier
    assert frontier == Frontier().grown(LEAVES).frontier
    assert frontier.grown([]) == (frontier, [])


@given(sizes, st.data())
def test_a_stored_frontier_of_any_other_length_is_refused(size: int, data: st.DataObject) -> None:
    stored = Frontier().grown(LEAVES[:size]).frontier.to_bytes()
    other = data.draw(st.integers(0, len(stored) + 64).filter(lambda length: length != len(stored)))
    refuses(ProofCode.FRONTIER, Frontier.from_bytes, stored[:other].ljust(other, b"\0"))  # pyright: ignore[reportArgumentType]


def test_a_frontier_does_not_grow_beyond_the_largest_size() -> None:
    full = Frontier(MAX_SIZE, tuple(LEAVES[:63]))
    assert Frontier.from_bytes(full.to_bytes()) == full
    refuses(ProofCode.BOUNDS, full.grown, LEAVES[:1])  # pyright: ignore[reportArgumentType]
    refuses(ProofCode.FRONTIER, Frontier.from_bytes, (1 << 63).to_bytes(8, "big") + LEAVES[0])  # pyright: ignore[reportArgumentType]


@given(places())
def test_any_leaf_is_proven_in_a_tree_of_any_size(place: tuple[int, int]) -> None:
    index, size = place
    proof = inclusion_proof(index, size, subtree)
    assert proof == naive.path(index, LEAVES[:size])
    verify_inclusion(LEAVES[index], index, size, proof, naive_root(size))
    assert naive.included(LEAVES[index], index, size, proof, naive_root(size))


@given(growths())
def test_any_two_sizes_are_consistent(growth: tuple[int, int]) -> None:
    old, new = growth
    proof = consistency_proof(old, new, subtree)
    assert proof == naive.proof(old, LEAVES[:new])
    verify_consistency(old, naive_root(old), new, naive_root(new), proof)
    assert naive.consistent(old, naive_root(old), new, naive_root(new), proof)


def test_all_small_trees_are_proven_and_consistent() -> None:
    for size in range(1, 34):
        root = naive_root(size)
        for index in range(size):
            verify_inclusion(LEAVES[index], index, size, inclusion_proof(index, size, subtree), root)
            proof = consistency_proof(index + 1, size, subtree)
            verify_consistency(index + 1, naive_root(index + 1), size, root, proof)


@given(ranges())
def test_any_range_is_closed(bounds: tuple[int, int, int]) -> None:
    start, end, size = bounds
    closing = range_closing(*bounds, subtree)
    verify_range(iter(LEAVES[start:end]), closing, naive_root(size))
    if end == start + 1:
        proof = inclusion_proof(start, size, subtree)
        assert sorted([*closing.left, *closing.right]) == sorted(proof)


@given(places(), st.data())
def test_every_changed_bit_of_an_inclusion_proof_is_refused(place: tuple[int, int], data: st.DataObject) -> None:
    index, size = place
    hashes = [LEAVES[index], naive_root(size), *naive.path(index, LEAVES[:size])]
    which = data.draw(st.integers(0, len(hashes) - 1))
    hashes[which] = flipped(hashes[which], data.draw(st.integers(0, 255)))
    leaf, root, *proof = hashes
    refuses(ProofCode.INCLUSION, verify_inclusion, leaf, index, size, proof, root)
    assert not naive.included(leaf, index, size, proof, root)


@given(places(), st.data())
def test_an_inclusion_proof_stands_for_no_other_index(place: tuple[int, int], data: st.DataObject) -> None:
    index, size = place
    other = data.draw(st.integers(-1, size + 1).filter(lambda found: found != index))
    with pytest.raises(NotProven):
        verify_inclusion(LEAVES[index], other, size, naive.path(index, LEAVES[:size]), naive_root(size))


@given(growths(), st.data())
def test_every_changed_bit_of_a_consistency_proof_is_refused(growth: tuple[int, int], data: st.DataObject) -> None:
    old, new = growth
    hashes = [naive_root(old), naive_root(new), *naive.proof(old, LEAVES[:new])]
    which = data.draw(st.integers(0, len(hashes) - 1))
    hashes[which] = flipped(hashes[which], data.draw(st.integers(0, 255)))
    old_root, new_root, *proof = hashes
    with pytest.raises(Refuted) as refused:
        verify_consistency(old, old_root, new, new_root, proof)
    assert refused.value.code in {ProofCode.OLD_ROOT, ProofCode.NEW_ROOT}
    assert not naive.consistent(old, old_root, new, new_root, proof)


@given(ranges(), st.data())
def test_every_changed_bit_of_a_closed_range_is_refused(bounds: tuple[int, int, int], data: st.DataObject) -> None:
    start, end, size = bounds
    closing = range_closing(*bounds, subtree)
    hashes = [naive_root(size), *LEAVES[start:end], *closing.left, *closing.right]
    which = data.draw(st.integers(0, len(hashes) - 1))
    hashes[which] = flipped(hashes[which], data.draw(st.integers(0, 255)))
    root, *rest = hashes
    leaves, outside = rest[: end - start], rest[end - start :]
    left = len(closing.left)
    changed = closing._replace(left=tuple(outside[:left]), right=tuple(outside[left:]))
    refuses(ProofCode.RANGE, verify_range, leaves, changed, root)


@given(ranges(), st.data())
def test_a_range_with_leaves_exchanged_left_out_or_added_is_refused(
    bounds: tuple[int, int, int], data: st.DataObject
) -> None:
    start, end, size = bounds
    closing, root, leaves = range_closing(*bounds, subtree), naive_root(size), LEAVES[start:end]
    refuses(ProofCode.LENGTH, verify_range, leaves[:-1], closing, root)
    refuses(ProofCode.LENGTH, verify_range, [*leaves, leaves[0]], closing, root)
    at = data.draw(st.integers(0, len(leaves) - 1))
    refuses(ProofCode.LENGTH, verify_range, leaves[:at] + leaves[at + 1 :], closing, root)
    other = data.draw(st.integers(0, len(leaves) - 1))
    if at != other:
        leaves[at], leaves[other] = leaves[other], leaves[at]
        refuses(ProofCode.RANGE, verify_range, leaves, closing, root)


def lengthened(hashes: tuple[bytes, ...], by: int) -> tuple[bytes, ...]:
    return hashes[:by] if by < 0 else hashes + tuple(LEAVES[:by])


@given(ranges(), st.sampled_from([-1, 1, 2]), st.data())
def test_every_wrong_length_is_refused(bounds: tuple[int, int, int], by: int, data: st.DataObject) -> None:
    start, end, size = bounds
    root = naive_root(size)
    path, proof = naive.path(start, LEAVES[:size]), naive.proof(end, LEAVES[:size])
    if path or by > 0:
        wrong = lengthened(tuple(path), by)
        refuses(ProofCode.LENGTH, verify_inclusion, LEAVES[start], start, size, wrong, root)
    if proof or by > 0:
        wrong = lengthened(tuple(proof), by)
        refuses(ProofCode.LENGTH, verify_consistency, end, naive_root(end), size, root, wrong)
    closing = range_closing(*bounds, subtree)
    side = data.draw(st.sampled_from(["left", "right"]))
    given_hashes: tuple[bytes, ...] = getattr(closing, side)
    if given_hashes or by > 0:
        wrong_closing = closing._replace(**{side: lengthened(given_hashes, by)})
        refuses(ProofCode.LENGTH, verify_range, LEAVES[start:end], wrong_closing, root)


def test_a_hash_moved_from_one_side_of_a_range_to_the_other_is_refused() -> None:
    closing = range_closing(2, 3, 4, subtree)
    moved = closing._replace(left=(), right=closing.left + closing.right)
    refuses(ProofCode.LENGTH, verify_range, LEAVES[2:3], moved, naive_root(4))


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_hash_of_another_length_is_refused(length: int) -> None:
    root, bad = naive_root(2), bytes(length)
    for leaf, sibling, top in [(bad, LEAVES[1], root), (LEAVES[0], bad, root), (LEAVES[0], LEAVES[1], bad)]:
        refuses(ProofCode.HASH, verify_inclusion, leaf, 0, 2, [sibling], top)
        refuses(ProofCode.HASH, verify_range, [leaf], Closing(0, 1, 2, (), (sibling,)), top)
        refuses(ProofCode.HASH, verify_consistency, 1, leaf, 2, top, [sibling])


@pytest.mark.parametrize(("index", "size"), [(-1, 1), (0, 0), (1, 1), (5, 4), (0, MAX_SIZE + 1), (0, -1)])
def test_an_index_or_a_size_out_of_bounds_is_refused(index: int, size: int) -> None:
    refuses(ProofCode.BOUNDS, verify_inclusion, LEAVES[0], index, size, [], LEAVES[0])
    with pytest.raises(Malformed):
        inclusion_proof(index, size, subtree)


@pytest.mark.parametrize(("old", "new"), [(0, 1), (0, 0), (2, 1), (-1, 1), (1, MAX_SIZE + 1)])
def test_sizes_out_of_order_are_refused(old: int, new: int) -> None:
    refuses(ProofCode.BOUNDS, verify_consistency, old, EMPTY_ROOT, new, LEAVES[0], [])
    with pytest.raises(Malformed):
        consistency_proof(old, new, subtree)


@pytest.mark.parametrize("bounds", [(0, 0, 1), (1, 0, 2), (-1, 1, 2), (0, 3, 2), (0, 1, MAX_SIZE + 1)])
def test_a_range_that_is_empty_or_out_of_bounds_is_refused(bounds: tuple[int, int, int]) -> None:
    refuses(ProofCode.BOUNDS, verify_range, LEAVES[:1], Closing(*bounds, (), ()), LEAVES[0])
    with pytest.raises(Malformed):
        range_closing(*bounds, subtree)


@cache
def alike(height: int) -> bytes:
    """The hash of a subtree all of whose leaves are the same."""
    return LEAVES[0] if height == 0 else node_hash(alike(height - 1), alike(height - 1))


@given(st.data(), st.one_of(st.just(MAX_SIZE), st.just(1 << 62), st.integers(1 << 40, MAX_SIZE)))
def test_trees_up_to_the_largest_size_are_proven(data: st.DataObject, size: int) -> None:
    def read(node: Node) -> bytes:
        return alike(node.height)

    def large_root(leaves: int) -> bytes:
        heights = [height for height in reversed(range(63)) if leaves >> height & 1]
        return Frontier(leaves, tuple(map(alike, heights))).root()

    old = data.draw(st.integers(1, size))
    verify_consistency(old, large_root(old), size, large_root(size), consistency_proof(old, size, read))
    verify_inclusion(LEAVES[0], old - 1, size, inclusion_proof(old - 1, size, read), large_root(size))
    start = data.draw(st.integers(max(0, old - 50), old - 1))
    verify_range([LEAVES[0]] * (old - start), range_closing(start, old, size, read), large_root(size))
