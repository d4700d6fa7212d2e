"""Who may look at whom: the algebra of masks, against loops and against itself."""

from __future__ import annotations

import copy
import itertools
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from archs.masks import CAUSAL, FULL, NOTHING, Mask, document, order, prefix

WIDTH, ROWS = 6, 2
CELLS = torch.arange(WIDTH)


def dense(mask: Mask) -> Tensor:
    return mask.dense(ROWS, CELLS, CELLS)


def grid(low: int, high: int) -> st.SearchStrategy[Tensor]:
    row = st.lists(st.integers(low, high), min_size=WIDTH, max_size=WIDTH)
    return st.lists(row, min_size=ROWS, max_size=ROWS).map(torch.tensor)


segment_grids, rank_grids = grid(-1, 2), grid(0, 4)
prefix_grids = grid(0, 1).map(Tensor.bool)
leaves = st.one_of(
    st.sampled_from([FULL, CAUSAL, NOTHING]),
    prefix_grids.map(prefix),
    segment_grids.map(document),
    rank_grids.map(order),
)
masks = st.recursive(
    leaves,
    lambda inner: st.tuples(inner, inner, st.booleans()).map(lambda p: p[0] & p[1] if p[2] else p[0] | p[1]),
    max_leaves=4,
)


@given(masks, masks, masks)
def test_and_distributes_over_or_and_or_over_and(a: Mask, b: Mask, c: Mask) -> None:
    assert torch.equal(dense(a & (b | c)), dense((a & b) | (a & c)))
    assert torch.equal(dense(a | (b & c)), dense((a | b) & (a | c)))


@given(masks, masks)
def test_and_and_or_are_those_of_their_truth_values(a: Mask, b: Mask) -> None:
    assert torch.equal(dense(a & b), dense(a) & dense(b))
    assert torch.equal(dense(a | b), dense(a) | dense(b))


@given(masks)
def test_full_and_nothing_are_the_two_neutral_elements(a: Mask) -> None:
    assert a & FULL == a == FULL & a
    assert a | NOTHING == a == NOTHING | a
    assert a | FULL == FULL == FULL | a
    assert torch.equal(dense(a & NOTHING), dense(NOTHING))
    assert not dense(NOTHING).any()
    assert dense(FULL).all()


def test_causal_is_the_lower_triangle() -> None:
    assert CAUSAL.dense(1, torch.arange(3), torch.arange(3)).long().tolist() == [
        [[1, 0, 0], [1, 1, 0], [1, 1, 1]],
    ]


@given(segment_grids)
def test_an_empty_prefix_is_causal(segments: Tensor) -> None:
    nothing_marked = torch.zeros(ROWS, WIDTH, dtype=torch.bool)
    assert (CAUSAL | prefix(None)) == CAUSAL
    assert torch.equal(dense(CAUSAL | prefix(nothing_marked)), dense(CAUSAL))
    assert torch.equal(
        dense((CAUSAL | prefix(nothing_marked)) & document(segments)), dense(CAUSAL & document(segments))
    )


@given(segment_grids)
def test_a_full_prefix_is_full(segments: Tensor) -> None:
    all_marked = torch.ones(ROWS, WIDTH, dtype=torch.bool)
    assert dense(CAUSAL | prefix(all_marked)).all()
    assert torch.equal(dense((CAUSAL | prefix(all_marked)) & document(segments)), dense(document(segments)))


@given(segment_grids)
def test_the_identity_order_is_causal(segments: Tensor) -> None:
    identity = CELLS.expand(ROWS, WIDTH)
    assert torch.equal(dense(order(identity)), dense(CAUSAL))
    assert torch.equal(dense(order(identity) & document(segments)), dense(CAUSAL & document(segments)))


@given(segment_grids, segment_grids, prefix_grids, rank_grids, rank_grids)
def test_every_rule_agrees_with_a_loop_over_cells(
    q_segments: Tensor, k_segments: Tensor, is_prefix: Tensor, q_rank: Tensor, k_rank: Tensor
) -> None:
    crossing, own = dense(document(q_segments, k_segments)), dense(document(q_segments))
    prefixed, ordered = dense(prefix(is_prefix)), dense(order(q_rank, k_rank))
    for b, q, k in itertools.product(range(ROWS), range(WIDTH), range(WIDTH)):
        asking = int(q_segments[b, q])
        assert bool(crossing[b, q, k]) == (asking != -1 and asking == int(k_segments[b, k]))
        assert bool(own[b, q, k]) == (asking != -1 and asking == int(q_segments[b, k]))
        assert bool(prefixed[b, q, k]) == bool(is_prefix[b, k])
        assert bool(ordered[b, q, k]) == (int(k_rank[b, k]) <= int(q_rank[b, q]))


def test_several_prefixes_in_one_row_stay_in_their_documents() -> None:
    segments = torch.tensor([[0, 0, 0, 1, 1, -1]])
    is_prefix = torch.tensor([[True, True, False, True, True, True]])
    seen = ((CAUSAL | prefix(is_prefix)) & document(segments)).dense(1, CELLS, CELLS)
    assert seen[0].long().tolist() == [
        [1, 1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [0, 0, 0, 1, 1, 0],
        [0, 0, 0, 1, 1, 0],
        [0, 0, 0, 0, 0, 0],
    ]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda mask: pickle.loads(pickle.dumps(mask))])
def test_a_copied_causal_still_equals_causal_and_nothing_else(copied) -> None:
    for mask in (CAUSAL, FULL, NOTHING):
        assert copied(mask) == mask
        assert hash(copied(mask)) == hash(mask)
        assert [copied(mask) == other for other in (CAUSAL, FULL, NOTHING)].count(True) == 1


@given(masks)
def test_a_composed_mask_survives_copy_and_pickle(mask: Mask) -> None:
    for twin in (copy.copy(mask), copy.deepcopy(mask), pickle.loads(pickle.dumps(mask))):
        assert torch.equal(dense(twin), dense(mask))
        assert str(twin) == str(mask)


def test_a_composed_mask_equals_no_plain_one() -> None:
    segments = torch.zeros(ROWS, WIDTH, dtype=torch.long)
    assert CAUSAL & document(segments) != CAUSAL
    assert CAUSAL | prefix(torch.zeros(ROWS, WIDTH, dtype=torch.bool)) != CAUSAL


@given(masks, masks, masks)
def test_a_name_read_as_an_expression_is_the_mask(a: Mask, b: Mask, c: Mask) -> None:
    named = {"a": Mask(a.rule, "a"), "b": Mask(b.rule, "b"), "c": Mask(c.rule, "c")}
    one, two, three = named.values()
    for mask in (one & (two | three), (one & two) | three, (one | two) & (two | three), one | two & three):
        # Python's & binds tighter than |, as ours does: a bracket too few changes the value.
        assert torch.equal(dense(eval(str(mask), named | {"full": FULL, "nothing": NOTHING})), dense(mask))


def test_names_are_readable() -> None:
    segments = torch.zeros(ROWS, WIDTH, dtype=torch.long)
    both = (CAUSAL | prefix(segments.bool())) & document(segments)
    assert str(both) == "(causal | prefix) & document"
    assert str(CAUSAL & document(segments)) == "causal & document"
    assert str(CAUSAL & document(None)) == "causal"
    assert str(CAUSAL & document(segments) | prefix(segments.bool())) == "(causal & document) | prefix"


@given(masks)
def test_one_query_at_the_end_of_a_cache_sees_the_full_masks_row(mask: Mask) -> None:
    for row in range(WIDTH):
        step = mask.dense(ROWS, torch.tensor([row]), torch.arange(row + 1))
        assert torch.equal(step[:, 0], dense(mask)[:, row, : row + 1])


def test_documents_of_unnamed_queries_are_refused() -> None:
    with pytest.raises(ValueError, match="segments of the queries"):
        document(None, torch.zeros(1, 3, dtype=torch.long))
