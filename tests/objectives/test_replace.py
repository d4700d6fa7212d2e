from dataclasses import replace as replace_fields
from functools import partial

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
from objectives.replace import bert, keep, mask_only, random_token, static
from objectives.replace_similar import nearest, similar
from objectives.select_parts import choose
from objectives.sentinels import sentinels


def test_bert_masks_eighty_changes_ten_and_leaves_ten_in_a_hundred():
    tokens = random_windows(200, 200, "full", 0).tokens
    seen = bert(tokens, torch.ones_like(tokens, dtype=torch.bool), VOCABULARY, seeded())
    masked, kept = (seen == MASK).float().mean(), (seen == tokens).float().mean()
    by_chance = 0.1 / 64  # a random token that happens to be the same
    assert abs(masked - 0.8) < 0.01
    assert abs(kept - 0.1 - by_chance) < 0.01
    assert seen[seen != MASK].min() >= WORDS


NEIGHBOURS = torch.full((100, 2), 99)


def by(table, **options):
    return partial(similar, neighbours=table, **options)


@pytest.mark.parametrize("replace", [bert, mask_only, random_token, static, by(NEIGHBOURS)])
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


def test_the_shares_of_a_mixture_can_be_set():
    tokens = random_windows(200, 200, "full", 0).tokens
    hide = torch.ones_like(tokens, dtype=torch.bool)
    seen = bert(tokens, hide, VOCABULARY, seeded(), masked=0.3, random=0.5)
    assert abs((seen == MASK).float().mean() - 0.3) < 0.01
    assert abs((seen == tokens).float().mean() - 0.2 - 0.5 / 64) < 0.01
    only = bert(tokens, hide, VOCABULARY, seeded(), masked=1.0, random=0.0)
    assert torch.equal(only, mask_only(tokens, hide, VOCABULARY, seeded()))
    assert torch.equal(bert(tokens, hide, VOCABULARY, seeded(), masked=0.0, random=0.0), tokens)


def test_keep_leaves_all_as_it_is():
    hide = torch.tensor([[False, True, True]])
    assert keep(torch.tensor([[40, 41, 42]]), hide, VOCABULARY, seeded()).tolist() == [[40, 41, 42]]


@pytest.mark.parametrize("shares", [(0.8, 0.3), (-0.1, 0.5), (float("nan"), 0.1), (0.0, 1.5)])
def test_impossible_shares_are_one_line(shares):
    tokens = torch.tensor([[40]])
    first, second = shares
    with pytest.raises(UserError, match=r"replace 'bert': masked=.* are not shares, .*; BERT has") as error:
        bert(tokens, tokens > 0, VOCABULARY, seeded(), masked=first, random=second)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"replace 'similar': share=.* are not shares") as error:
        by(NEIGHBOURS, share=first, random=second)(tokens, tokens > 0, VOCABULARY, seeded())
    assert "\n" not in str(error.value)


def test_a_similar_token_is_one_of_its_neighbours_and_never_a_special_one():
    table = torch.full((100, 3), -1)
    table[40] = torch.tensor([50, 51, EOS])
    tokens, hide = torch.tensor([[40, 41]]).repeat(3000, 1), torch.tensor([[True, False]]).repeat(3000, 1)
    seen = by(table, share=1.0, random=0.0)(tokens, hide, VOCABULARY, seeded())
    assert abs((seen[:, 0] == 50).float().mean() - 0.5) < 0.03
    assert set(seen[:, 0].tolist()) == {50, 51}
    assert set(seen[:, 1].tolist()) == {41}


def test_a_token_without_neighbours_is_replaced_at_random():
    tokens = torch.full((1, 3000), 41)
    table = torch.full((100, 2), -1)
    table[41, 0] = EOS  # a special token is no neighbour
    seen = by(table, share=1.0, random=0.0)(tokens, tokens > 0, VOCABULARY, seeded())
    assert set(seen.flatten().tolist()) == set(range(WORDS, 100))


def test_similar_replaces_eighty_by_neighbours_ten_at_random_and_leaves_ten_in_a_hundred():
    tokens = torch.full((200, 200), 41)
    seen = by(torch.full((100, 1), 50))(tokens, tokens > 0, VOCABULARY, seeded())
    by_chance = 0.1 / 64
    assert abs((seen == 50).float().mean() - 0.8 - by_chance) < 0.01
    assert abs((seen == 41).float().mean() - 0.1 - by_chance) < 0.01


def test_the_nearest_tokens_are_those_of_the_highest_cosine():
    embeddings = torch.tensor([[1.0, 0.0], [0.0, 5.0], [2.0, 2.1], [0.1, 1.0]])
    assert nearest(embeddings, 2).tolist() == [[2, 3], [3, 2], [3, 1], [1, 2]]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: nearest(torch.zeros(3), 1), r"embeddings are \(3,\) and count=1"),
        (lambda: nearest(torch.zeros(3, 2), 3), "count=3; give .* from 1 to V - 1"),
        (lambda: _replaced_by(torch.zeros(3, 2)), r"neighbours are \(3, 2\) torch.float32"),
        (
            lambda: _replaced_by(torch.zeros(3, 2).long()),
            "table of 3 tokens .* not of this vocabulary of 100",
        ),
        (lambda: _replaced_by(torch.full((100, 2), 100)), "ids up to 100 is not of this vocabulary of 100"),
    ],
)
def test_a_table_of_neighbours_that_does_not_fit_is_one_line(wrong, message):
    with pytest.raises(UserError, match=message) as error:
        wrong()
    assert "\n" not in str(error.value)


def _replaced_by(table):
    tokens = torch.tensor([[40]])
    return by(table)(tokens, tokens > 0, VOCABULARY, seeded())


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


def test_without_a_table_the_vocabulary_s_own_is_taken_and_without_one_it_is_one_line():
    tokens = torch.full((1, 50), 40)
    known = replace_fields(VOCABULARY, neighbours=NEIGHBOURS)
    assert set(similar(tokens, tokens > 0, known, seeded(), share=1.0, random=0.0).flatten().tolist()) == {99}
    with pytest.raises(UserError, match="needs a table of similar tokens"):
        similar(tokens, tokens > 0, VOCABULARY, seeded())
