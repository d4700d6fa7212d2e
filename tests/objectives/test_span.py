import pytest
import torch
from hypothesis import given, settings
from toy_text import (
    BOS,
    EOS,
    MASK,
    PAD,
    SENTINELS,
    VOCABULARY,
    documents,
    merge,
    random_windows,
    rates,
    seeded,
    seeds,
    windows,
)

from objectives.base import Windows
from objectives.span import Span

CONTEXT, CONTINUATION = torch.tensor([[50, 51]]), torch.tensor([[60, 61]])
S0 = SENTINELS[0]


def split(batch, layout, source_width):
    """The source and the unshifted target of a batch in either layout."""
    if layout == "source_target":
        return batch.source, batch.source_segments, batch.targets, batch.segments
    parts = (batch.tokens[:, :source_width], batch.segments[:, :source_width])
    return *parts, batch.targets[:, source_width:], batch.segments[:, source_width:]


def test_a_text_hidden_as_a_whole_is_one_sentinel_and_the_text():
    objective = Span(VOCABULARY, "source_target", rate=1.0, mean=5.0)
    batch = objective.build(Windows(torch.tensor([[40, 41, 42, 43, EOS]])), seeded())
    assert batch.source.tolist() == [[S0, EOS, PAD, PAD, PAD]]
    assert batch.source_segments.tolist() == [[0, 0, -1, -1, -1]]
    assert batch.tokens.tolist() == [[BOS, S0, 40, 41, 42, 43, PAD, PAD]]
    assert batch.targets.tolist() == [[S0, 40, 41, 42, 43, EOS, PAD, PAD]]
    assert batch.weights.tolist() == [[1, 1, 1, 1, 1, 1, 0, 0]]
    assert batch.segments.tolist() == [[0, 0, 0, 0, 0, 0, -1, -1]]


@pytest.mark.parametrize("layout", ["concatenated", "source_target"])
@given(text=windows, seed=seeds, rate=rates)
@settings(max_examples=40, deadline=None)
def test_source_and_target_merge_into_the_text_within_each_document(layout, text, seed, rate):
    objective = Span(VOCABULARY, layout, rate=rate, mean=3.0)
    batch = objective.build(text, seeded(seed))
    usual, worst, target_width = objective.variant.widths(text.tokens.shape[1])
    source_width = (
        batch.source.shape[1] if layout == "source_target" else batch.tokens.shape[1] - target_width
    )
    assert source_width in (usual, worst)
    assert merge(*split(batch, layout, source_width)) == documents(text.tokens, text.segments)


@pytest.mark.parametrize("layout", ["concatenated", "source_target"])
def test_the_usual_width_holds_almost_all_rows_of_real_shape(layout):
    # 40 documents of some hundred tokens in rows of 256: the worst case is rare, and never a third shape.
    widths = set()
    for seed in range(30):
        text = random_windows(8, 256, "full", seed)
        ends = torch.rand(text.tokens.shape, generator=seeded(seed)) < 0.01
        packed = Windows(text.tokens.masked_fill(ends, EOS), ends.cumsum(1) - ends.long())
        batch = Span(VOCABULARY, layout).build(packed, seeded(seed))
        widths.add(batch.source.shape[1] if layout == "source_target" else batch.tokens.shape[1] - 56)
    assert widths <= {240, 256}
    assert 240 in widths


def test_in_place_hides_runs_and_keeps_the_length():
    text = random_windows(50, 64, "full", 0)
    batch = Span(VOCABULARY, "in_place").build(text, seeded())
    asked = batch.weights > 0
    assert asked.sum(1).tolist() == [10] * 50
    assert torch.equal(batch.tokens[~asked], text.tokens[~asked])
    assert abs((batch.tokens[asked] == MASK).float().mean() - 0.8) < 0.06
    number = (asked[:, 1:] & ~asked[:, :-1]).sum() + asked[:, 0].sum()
    assert 500 / number > 2.5  # mean run; single tokens at this rate give 1.2


def test_ask_asks_for_the_continuation_behind_the_first_sentinel():
    batch = Span(VOCABULARY, "concatenated").ask(CONTEXT, CONTINUATION)
    assert batch.tokens.tolist() == [[50, 51, S0, BOS, S0, 60]]
    assert batch.targets.tolist() == [[50, 51, S0, S0, 60, 61]]
    assert batch.weights.tolist() == [[0, 0, 0, 0, 1, 1]]
    assert batch.is_prefix.tolist() == [[True, True, True, False, False, False]]
    batch = Span(VOCABULARY, "source_target").ask(CONTEXT, CONTINUATION)
    assert batch.source.tolist() == [[50, 51, S0]]
    assert batch.tokens.tolist() == [[BOS, S0, 60]]
    assert batch.targets.tolist() == [[S0, 60, 61]]
    assert batch.weights.tolist() == [[0, 1, 1]]


def test_a_prompt_begins_the_target_with_the_first_sentinel():
    batch = Span(VOCABULARY, "concatenated").prompt(CONTEXT, 2)
    assert batch.tokens.tolist() == [[50, 51, S0, BOS, S0]]
    batch = Span(VOCABULARY, "source_target").prompt(CONTEXT, 2)
    assert batch.source.tolist() == [[50, 51, S0]]
    assert batch.tokens.tolist() == [[BOS, S0]]
