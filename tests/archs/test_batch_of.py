"""The one currency: positions, target indices, rows, moving."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from archs import FAMILIES
from archs.batch import TARGET_MULTIPLE, Batch, index_targets, positions_within


@pytest.mark.parametrize(
    ("segments", "positions"),
    [
        ([0, 0, 0, 0], [0, 1, 2, 3]),
        ([0, 0, 1, 1, 0], [0, 1, 0, 1, 2]),
        ([-1, -1, 0, 0, 1], [0, 1, 0, 1, 0]),
        ([0, 1, 1, -1, -1], [0, 0, 1, 0, 1]),
        ([2, 0, 2, 0, 2], [0, 0, 1, 1, 2]),
    ],
)
def test_positions_count_within_each_document(segments: list[int], positions: list[int]) -> None:
    tokens = torch.zeros(1, len(segments), dtype=torch.long)
    assert positions_within(tokens, torch.tensor([segments])).tolist() == [positions]


def test_positions_without_segments_are_slots() -> None:
    assert positions_within(torch.zeros(2, 3), None).tolist() == [[0, 1, 2], [0, 1, 2]]


@given(st.lists(st.lists(st.integers(-1, 3), min_size=7, max_size=7), min_size=1, max_size=3))
def test_positions_agree_with_counting(segments: list[list[int]]) -> None:
    counted = [[row[:t].count(row[t]) for t in range(7)] for row in segments]
    grid = torch.tensor(segments)
    assert positions_within(grid, grid).tolist() == counted


def test_target_index_holds_the_asked_cells_and_is_padded_to_a_multiple() -> None:
    index = index_targets(torch.tensor([[0.0, 1.0, 0.0], [0.5, 0.0, 2.0]]))
    assert index[:3].tolist() == [1, 3, 5]
    assert index[3:].eq(-1).all()
    assert len(index) == TARGET_MULTIPLE
    assert len(index_targets(torch.zeros(2, 3))) == TARGET_MULTIPLE
    assert len(index_targets(torch.ones(1, TARGET_MULTIPLE))) == TARGET_MULTIPLE
    assert len(index_targets(torch.ones(1, TARGET_MULTIPLE + 1))) == 2 * TARGET_MULTIPLE


def test_padding_of_the_target_index_has_weight_zero_even_if_cell_zero_is_asked() -> None:
    batch = Batch.of(torch.tensor([[7, 8, 9]]), weights=torch.tensor([[1.0, 0.0, 0.5]]))
    index, targets, weights = batch.asked()
    assert index[:2].tolist() == [0, 2]
    assert targets[:2].tolist() == [7, 9]
    assert weights[:2].tolist() == [1.0, 0.5]
    assert weights[2:].eq(0).all()
    assert weights.sum() == batch.totals["tokens"] == 1.5
    assert batch.supervised == 2


def test_nothing_is_asked_without_weights() -> None:
    batch = Batch.of(torch.tensor([[7, 8, 9]]))
    assert batch.supervised == 0
    assert batch.totals == {"tokens": 0.0}
    assert batch.asked()[2].eq(0).all()


def test_pair_labels_count_only_where_they_are_asked() -> None:
    batch = Batch.of(torch.zeros(3, 2, dtype=torch.long), pair_label=torch.tensor([1, -1, 0]))
    assert batch.totals["pair"] == 2.0


@pytest.mark.parametrize("kind", FAMILIES)
def test_losses_of_a_batchs_rows_add_up_to_the_whole(
    kind: str, make_family, make_batch, loss, layouts
) -> None:
    family, whole = make_family(kind), make_batch(*layouts["packed and padded"])
    parts = [loss(family, whole.rows(slice(row, row + 1))) for row in range(2)]
    torch.testing.assert_close(sum(parts), loss(family, whole))
    assert all(part > 0 for part in parts)


def test_rows_cut_every_tensor_and_keep_the_totals(make_batch, layouts) -> None:
    whole = make_batch(*layouts["packed"])
    part = whole.rows(slice(1, 2))
    assert part.totals == whole.totals
    for name, value in part.tensors():
        if name != "target_index":
            assert torch.equal(value, dict(whole.tensors())[name][1:2]), name
    assert {name for name, _ in part.tensors()} == {name for name, _ in whole.tensors()}
    assert (
        part.target_index[: part.supervised].tolist() == part.weights.flatten().nonzero().flatten().tolist()
    )


def test_moving_keeps_every_tensor_and_the_totals(make_batch) -> None:
    batch = make_batch()
    moved = batch.to("meta")
    assert moved.device == torch.device("meta")
    assert all(value.is_meta for _, value in moved.tensors())
    assert [name for name, _ in moved.tensors()] == [name for name, _ in batch.tensors()]
    assert moved.totals == batch.totals
    assert batch.device == torch.device("cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="pins memory for an accelerator")
def test_pinning_pins_every_tensor(make_batch) -> None:
    assert all(value.is_pinned() for _, value in make_batch().pin_memory().tensors())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a second device")
def test_a_batch_made_on_a_device_stays_there(make_batch) -> None:
    tokens = make_batch().tokens.to("cuda")
    assert {value.device.type for _, value in Batch.of(tokens).tensors()} == {"cuda"}
