import pytest
import torch
from hypothesis import given, settings
from toy_text import (
    EOS,
    MASK,
    PAD,
    VOCABULARY,
    WORDS,
    documents,
    merge,
    random_windows,
    real,
    seeded,
    seeds,
    windows,
)

from archs.errors import UserError
from objectives.replace import bert, mask_only, random_token, sentinels
from objectives.select import choose


def test_bert_masks_eighty_changes_ten_and_leaves_ten_in_a_hundred():
    tokens = random_windows(200, 200, "full", 0).tokens
    seen = bert(tokens, torch.ones_like(tokens, dtype=torch.bool), VOCABULARY, seeded())
    masked, kept = (seen == MASK).float().mean(), (seen == tokens).float().mean()
    by_chance = 0.1 / 64  # a random token that happens to be the same
    assert abs(masked - 0.8) < 0.01
    assert abs(kept - 0.1 - by_chance) < 0.01
    assert seen[seen != MASK].min() >= WORDS


@pytest.mark.parametrize("replace", [bert, mask_only, random_token])
def test_what_is_not_hidden_stays(replace):
    tokens = random_windows(4, 40, "packed", 1).tokens
    hide = torch.rand(tokens.shape, generator=seeded(2)) < 0.5
    seen = replace(tokens, hide, VOCABULARY, seeded())
    assert torch.equal(seen[~hide], tokens[~hide])
    assert not torch.equal(seen[hide], tokens[hide])


def test_mask_only_masks_all_that_is_hidden():
    hide = torch.tensor([[False, True, True]])
    assert mask_only(torch.tensor([[40, 41, 42]]), hide, VOCABULARY, seeded()).tolist() == [[40, MASK, MASK]]


def test_random_token_never_draws_a_special_one():
    tokens = torch.full((100, 100), EOS)
    drawn = random_token(tokens, torch.ones_like(tokens, dtype=torch.bool), VOCABULARY, seeded())
    assert set(drawn.flatten().tolist()) == set(range(WORDS, 100))


def test_sentinels_stand_for_the_hidden_runs():
    tokens = torch.tensor([[40, 41, 42, 43, 44, EOS], [50, 51, 52, 53, 54, 55]])
    hide = torch.tensor([[0, 1, 1, 0, 1, 0], [1, 0, 0, 0, 0, 0]]).bool()
    source, source_segments, target, target_segments = sentinels(tokens, None, hide, VOCABULARY)
    assert source.tolist() == [[40, 6, 43, 7, EOS, PAD], [6, 51, 52, 53, 54, 55]]
    assert source_segments.tolist() == [[0, 0, 0, 0, 0, -1], [0, 0, 0, 0, 0, 0]]
    assert target.tolist() == [[6, 41, 42, 7, 44, EOS], [6, 50, EOS, PAD, PAD, PAD]]
    assert target_segments.tolist() == [[0] * 6, [0, 0, 0, -1, -1, -1]]


def test_sentinels_keep_documents_apart():
    # Documents 40 41 eos | 50 51 52 eos | 60 and a cell of padding; the run 51 52 is of document 1.
    tokens = torch.tensor([[40, 41, EOS, 50, 51, 52, EOS, 60, PAD]])
    segments = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 2, -1]])
    hide = torch.tensor([[1, 0, 0, 0, 1, 1, 0, 0, 0]]).bool()
    source, source_segments, target, target_segments = sentinels(tokens, segments, hide, VOCABULARY)
    assert source.tolist() == [[6, 41, EOS, 50, 7, EOS, 60]]
    assert source_segments.tolist() == [[0, 0, 0, 1, 1, 1, 2]]
    assert target.tolist() == [[6, 40, 7, 51, 52, EOS]]
    assert target_segments.tolist() == [[0, 0, 1, 1, 1, 1]]


def test_a_run_over_a_document_boundary_gets_two_sentinels():
    tokens, segments = torch.tensor([[40, 41, 50]]), torch.tensor([[0, 0, 1]])
    hide = torch.tensor([[0, 1, 1]]).bool()
    source, _, target, target_segments = sentinels(tokens, segments, hide, VOCABULARY)
    assert source.tolist() == [[40, 6, 7]]
    assert target.tolist() == [[6, 41, 7, 50, EOS]]
    assert target_segments.tolist() == [[0, 0, 1, 1, 1]]


def test_a_row_with_nothing_hidden_has_an_empty_target():
    tokens = torch.tensor([[40, 41], [50, 51]])
    hide = torch.tensor([[0, 0], [0, 1]]).bool()
    source, _, target, target_segments = sentinels(tokens, None, hide, VOCABULARY)
    assert source.tolist() == [[40, 41], [50, 6]]
    assert target.tolist() == [[PAD, PAD, PAD], [6, 51, EOS]]
    assert target_segments.tolist() == [[-1, -1, -1], [0, 0, 0]]


def test_more_spans_than_sentinels_is_an_error_that_says_what_to_do():
    tokens = torch.full((1, 80), 40)
    hide = torch.arange(80)[None] % 2 == 0
    with pytest.raises(UserError, match="40 hidden spans but the tokenizer has 30 sentinels; lower the rate"):
        sentinels(tokens, None, hide, VOCABULARY)


@given(text=windows, seed=seeds)
@settings(max_examples=100, deadline=None)
def test_source_and_target_merge_into_the_text_within_each_document(text, seed):
    hide = (
        choose(~VOCABULARY.special[text.tokens] & real(text), real(text).sum(1) // 3, seeded(seed))
        & ~VOCABULARY.special[text.tokens]
    )
    merged = merge(*sentinels(text.tokens, text.segments, hide, VOCABULARY))
    assert merged == documents(text.tokens, text.segments)
