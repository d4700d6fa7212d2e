"""What a changed token changes, measured on outputs alone: independent of the masks' own algebra."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from archs import FAMILIES, Family
from archs.batch import Batch

SINGLE = [kind for kind in FAMILIES if kind != "encoder_decoder"]


def changed(family: Family, before: Batch, after: Batch) -> Tensor:
    """Rows (B,T) whose hidden states differ."""
    with torch.no_grad():
        return (family.hidden(before).rows - family.hidden(after).rows).abs().amax(-1) > 1e-7


def other(tokens: Tensor, where: Tensor) -> Tensor:
    """The tokens, another one in every cell of `where` (B,T) bool."""
    return torch.where(where, (tokens + 1) % 50, tokens)


def asked(family: Family, batch: Batch) -> dict[int, Tensor]:
    """Hidden state at each asked cell of a batch of one row, by column."""
    with torch.no_grad():
        hidden = family.hidden(batch).targets
    return dict(zip(batch.target_index[: batch.supervised].tolist(), hidden, strict=False))


@pytest.mark.parametrize("layout", ["packed", "packed and padded"])
@pytest.mark.parametrize("kind", FAMILIES)
def test_a_document_changes_nothing_in_another(
    kind: str, layout: str, make_family, make_batch, layouts
) -> None:
    segments, source_segments = layouts[layout]
    family, batch = make_family(kind), make_batch(segments, source_segments)
    for document in (0, 1):
        inside = segments == document
        after = replace(
            batch,
            tokens=other(batch.tokens, inside),
            source=other(batch.source, source_segments == document),
        )
        rows = changed(family, batch, after)
        assert not (rows & ~inside).any()
        assert (rows & inside).sum() == inside.sum(), "every cell of the document itself changes"
        with torch.no_grad():
            targets = (family.hidden(batch).targets - family.hidden(after).targets).abs().amax(-1) > 1e-7
        real = batch.target_index >= 0
        columns = batch.target_index[real]
        assert not (targets[real] & ~inside.flatten()[columns]).any()


@pytest.mark.parametrize("kind", FAMILIES)
def test_padding_changes_nothing(kind: str, make_family, make_batch, layouts) -> None:
    segments, source_segments = layouts["packed and padded"]
    family, batch = make_family(kind), make_batch(segments, source_segments)
    after = replace(
        batch,
        tokens=other(batch.tokens, segments < 0),
        source=other(batch.source, source_segments < 0),
    )
    assert not (changed(family, batch, after) & (segments >= 0)).any()


def test_source_padding_is_invisible_to_an_encoder_decoder(make_family, make_batch, layouts) -> None:
    _, source_segments = layouts["padded"]
    family, batch = make_family("encoder_decoder"), make_batch(source_segments=source_segments)
    padded = replace(batch, source=other(batch.source, source_segments < 0))
    assert not changed(family, batch, padded).any()
    # Cut away, it changes nothing either; and a real source cell changes everything.
    alone = Batch.of(batch.tokens[1:], source=batch.source[1:, :4])
    with torch.no_grad():
        torch.testing.assert_close(family.hidden(alone).rows, family.hidden(batch).rows[1:])
    real = replace(batch, source=other(batch.source, torch.arange(7) == 3))
    assert changed(family, batch, real).all()


@pytest.mark.parametrize(
    ("kind", "cell", "expected"),
    [
        ("encoder_ae", 4, [1, 1, 1, 1, 1, 1]),
        ("decoder_ar", 2, [0, 0, 1, 1, 1, 1]),
        ("prefix_lm", 2, [1, 1, 1, 1, 1, 1]),
        ("prefix_lm", 4, [0, 0, 0, 0, 1, 1]),
        ("encoder_decoder", 2, [0, 0, 1, 1, 1, 1]),
    ],
)
def test_one_changed_token_changes_these_rows(
    kind: str, cell: int, expected: list[int], make_family, make_batch
) -> None:
    family, batch = make_family(kind), make_batch(rows=1, length=6)
    after = replace(batch, tokens=other(batch.tokens, torch.arange(6)[None] == cell))
    assert changed(family, batch, after)[0].long().tolist() == expected


@pytest.mark.parametrize("layers", [1, 3])
def test_a_permuted_lm_predicts_a_token_without_seeing_it(layers: int, make_family) -> None:
    family = make_family("permuted_lm", layers=layers)
    rank = torch.tensor([[0, 3, 0, 1, 0, 2, 4]])
    batch = Batch.of(
        torch.tensor([[5, 6, 7, 8, 9, 10, 11]]),
        weights=(rank > 0).float(),
        rank=rank,
        queries=torch.tensor([[6, 3, 1, 5]]),
    )
    before = asked(family, batch)
    assert set(before) == {1, 3, 5, 6}
    for column in (1, 3, 5, 6):
        after = asked(family, replace(batch, tokens=other(batch.tokens, torch.arange(7)[None] == column)))
        moved = {other for other in before if not torch.equal(before[other], after[other])}
        assert moved == {later for later in before if rank[0, later] > rank[0, column]}
    for context in (0, 2, 4):
        after = asked(family, replace(batch, tokens=other(batch.tokens, torch.arange(7)[None] == context)))
        assert not any(torch.equal(before[column], after[column]) for column in before)


def test_given_context_of_a_permuted_lm_sees_no_predicted_token(make_family, make_batch) -> None:
    family, batch = make_family("permuted_lm"), make_batch(rows=1)
    after = replace(batch, tokens=other(batch.tokens, batch.rank > 0))
    assert torch.equal(changed(family, batch, after), batch.rank > 0)


def test_a_query_row_asks_at_its_targets_position(make_family) -> None:
    family = make_family("permuted_lm")
    rank = torch.tensor([[0, 0, 0, 1, 2]])
    batch = Batch.of(
        torch.tensor([[5, 6, 7, 8, 9]]), weights=(rank > 0).float(), rank=rank, queries=torch.tensor([[3, 4]])
    )
    swapped = asked(family, replace(batch, queries=torch.tensor([[4, 3]])))
    for column, hidden in asked(family, batch).items():
        torch.testing.assert_close(swapped[column], hidden)
    assert not torch.allclose(swapped[3], swapped[4])
