"""Named entities and phrases: which tokens are one, and that they are hidden whole."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from toy_text import (
    CLS,
    EOS,
    PAD,
    SEP,
    VOCABULARY,
    WORDS,
    equal,
    random_windows,
    rates,
    seeded,
    seeds,
    windows,
)

from archs.errors import UserError
from objectives.base import Windows
from objectives.chunker import KINDS, chunks_of
from objectives.marks import (
    ANNOTATED,
    BLANK,
    ENTITY,
    ENTITY_START,
    FUNCTION,
    NUMBER,
    PHRASE,
    PHRASE_START,
    UPPER,
    WORD,
)
from objectives.mlm import MLM
from objectives.nsp import NSP, SentenceStructure
from objectives.select import entities, ngrams, phrases, static, whole_word, whole_word_spans
from objectives.select_parts import number_words, traits
from objectives.sop import SOP

# Even tokens start a word. Of the ordinary ones, 36 to 99:
THE, OF = 40, 42  # among the commonest
PARIS, JOHN, MARY, WE = 50, 52, 54, 56  # upper-case; `WE` among the commonest too
YEAR = 60
COMMA, STOP = 71, 99  # pieces of the word before them
GO, SAW, RED, OLD, END = 80, 82, 84, 86, 81  # and `END` is the last piece of a word
BITS = {
    THE: FUNCTION,
    OF: FUNCTION,
    PARIS: UPPER,
    JOHN: UPPER,
    MARY: UPPER,
    WE: UPPER | FUNCTION,
    YEAR: NUMBER,
    COMMA: BLANK,
    STOP: BLANK,
}
KNOWN = replace(
    VOCABULARY, kinds=torch.tensor([BITS.get(token, 0) for token in range(100)], dtype=torch.uint8)
)
# For random text: every kind is there.
IDS = torch.arange(100)
VARIED = replace(
    VOCABULARY,
    kinds=(
        (IDS % 3 == 0) * UPPER + (IDS % 7 == 0) * NUMBER + (IDS % 5 == 0) * BLANK + (IDS % 4 == 0) * FUNCTION
    ).to(torch.uint8),
)


def chunks(kind, row, segments=None, marks=None):
    return chunks_of(
        kind,
        Windows(
            torch.tensor([row]),
            None if segments is None else torch.tensor([segments]),
            marks=None if marks is None else torch.tensor([marks], dtype=torch.uint8),
        ),
        KNOWN,
    )[0].tolist()


def test_names_and_numbers_in_a_row_are_one_entity():
    row = [SAW, JOHN, END, MARY, THE, YEAR, GO, PARIS]
    assert chunks("entity", row) == [-1, 0, 0, 0, -1, 1, -1, 2]


def test_the_example_of_the_docstring_is_so():
    # He saw New York , where Mary lived in 1999
    row = [WE, SAW, JOHN, PARIS, COMMA, OF, MARY, GO, THE, YEAR]
    assert chunks("entity", row) == [-1, -1, 0, 0, -1, -1, 1, -1, -1, 2]
    assert chunks("phrase", row) == [-1, 0, 0, 0, -1, -1, 1, 1, -1, 2]


def test_punctuation_parts_entities_and_belongs_to_none():
    assert chunks("entity", [GO, JOHN, COMMA, MARY, COMMA]) == [-1, 0, -1, 1, -1]


@pytest.mark.parametrize("end", [[STOP], [EOS], [STOP, COMMA]])
def test_one_upper_case_word_at_a_sentence_s_beginning_is_no_entity_but_two_are(end):
    none = [-1] * len(end)
    assert chunks("entity", [GO, *end, JOHN, GO]) == [-1, *none, -1, -1]
    assert chunks("entity", [GO, *end, JOHN, MARY]) == [-1, *none, 0, 0]
    assert chunks("entity", [GO, *end, YEAR, GO]) == [-1, *none, 0, -1]
    assert chunks("entity", [GO, *end, GO, JOHN]) == [-1, *none, -1, 0]


def test_a_common_word_is_in_no_entity_but_a_longer_one_that_begins_with_it_is():
    assert chunks("entity", [GO, STOP, WE, SAW]) == [-1, -1, -1, -1]
    assert chunks("entity", [GO, WE, JOHN]) == [-1, -1, 0]
    assert chunks("entity", [GO, WE, END, JOHN]) == [-1, 0, 0, 0]


def test_a_phrase_runs_between_common_words_and_punctuation():
    row = [THE, RED, END, OLD, OF, GO, COMMA, SAW, JOHN]
    assert chunks("phrase", row) == [-1, 0, 0, 0, -1, 1, -1, 2, 2]


def test_a_phrase_has_four_words_at_most():
    assert chunks("phrase", [RED, END, OLD, GO, SAW, RED, OLD, THE, GO]) == [0, 0, 0, 0, 0, 1, 1, -1, 2]


def test_no_chunk_leaves_its_document_or_holds_padding():
    row, segments = [JOHN, EOS, JOHN, MARY, EOS, PAD], [0, 0, 1, 1, 1, -1]
    assert chunks("entity", row, segments) == [0, -1, 1, 1, -1, -1]
    assert chunks("phrase", row, segments) == [0, -1, 1, 1, -1, -1]


def test_the_words_of_a_segmenter_decide_where_chunks_end():
    # Spelling has two words, the segmenter one: a name with a stop in it.
    row, marks = [GO, JOHN, STOP, MARY, SAW], [WORD, WORD, 0, 0, WORD]
    assert chunks("entity", row) == [-1, 0, -1, -1, -1]
    assert chunks("entity", row, marks=marks) == [-1, 0, 0, 0, -1]


def test_an_annotator_s_chunks_are_those_it_marked_and_no_others():
    def marked(*bits):
        return [bit | WORD | ANNOTATED for bit in bits]

    row = [JOHN, MARY, GO, RED, OLD]
    marks = marked(0, ENTITY | ENTITY_START, ENTITY | ENTITY_START | PHRASE | PHRASE_START, PHRASE, 0)
    assert chunks("entity", row, marks=marks) == [-1, 0, 1, -1, -1]
    assert chunks("phrase", row, marks=marks) == [-1, -1, 0, 0, -1]
    # A window that begins inside a chunk has the rest of it.
    assert chunks("entity", row, marks=marked(ENTITY, ENTITY, 0, 0, 0)) == [0, 0, -1, -1, -1]
    assert chunks("entity", row, marks=marked(0, 0, 0, 0, 0)) == [-1] * 5


@pytest.mark.parametrize("kind", KINDS)
def test_a_vocabulary_without_kinds_is_one_line(kind):
    with pytest.raises(UserError, match="this vocabulary has no kinds") as error:
        chunks_of(kind, Windows(torch.tensor([[40, 41]])), VOCABULARY)
    assert "\n" not in str(error.value)


def hidden(select, chunk, rate, starts=(1, 1, 0, 1, 1), special=(0, 0, 0, 0, 0)):
    """All that is seen to be hidden of a row with these chunks."""
    starts, special = torch.tensor([starts]).bool(), torch.tensor([special]).bool()
    chosen = partial(select, **{"entity" if select is entities else "phrase": torch.tensor([chunk])})
    return {
        tuple(chosen(starts.long(), starts, special, seeded(seed), rate=rate)[0].long().tolist())
        for seed in range(60)
    }


def test_entities_come_before_words():
    assert hidden(entities, [-1, 0, 0, -1, -1], 0.4) == {(0, 1, 1, 0, 0)}
    assert hidden(entities, [-1, 0, 0, -1, -1], 0.6) == {(1, 1, 1, 0, 0), (0, 1, 1, 1, 0), (0, 1, 1, 0, 1)}


def test_phrases_are_hidden_in_random_order():
    assert hidden(phrases, [-1, 0, 0, 1, 1], 0.4) == {(0, 1, 1, 0, 0), (0, 0, 0, 1, 1)}


def test_without_any_chunk_whole_words_are_hidden():
    starts = torch.tensor([[1, 1, 0, 1, 1]]).bool()
    words = {
        tuple(whole_word(starts.long(), starts, ~starts & starts, seeded(seed), rate=0.4)[0].long().tolist())
        for seed in range(60)
    }
    assert hidden(entities, [-1] * 5, 0.4) == words


def test_the_rest_of_a_word_that_a_chunk_cuts_is_a_word_of_its_own():
    assert hidden(entities, [-1, 0, -1, 0, 0], 1.0) == {(1, 1, 1, 1, 1)}
    assert hidden(entities, [1, 0, -1, 2, 2], 0.2) == {(1, 0, 0, 0, 0), (0, 1, 0, 0, 0), (0, 0, 0, 1, 1)}


def test_a_chunk_longer_than_the_budget_is_hidden_if_it_is_the_first():
    assert hidden(phrases, [0, 0, 0, 0, 0], 0.15) == {(1, 1, 1, 1, 1)}


@pytest.mark.parametrize(("select", "kind"), [(entities, "entity"), (phrases, "phrase")])
@given(text=windows, seed=seeds, rate=rates)
@settings(max_examples=40, deadline=None)
def test_chunks_are_hidden_whole_the_rate_is_kept_and_words_fill_up(select, kind, text, seed, rate):
    chunk = chunks_of(kind, text, VARIED)
    starts, special = traits(text.tokens, text.segments, VARIED)
    assert (chunk[special] == -1).all()
    hide = select(text.tokens, starts, special, seeded(seed), rate=rate, **{kind: chunk})
    assert not (hide & special).any()
    for row in range(len(hide)):
        present = [number for number in chunk[row].unique().tolist() if number >= 0]
        assert present == list(range(len(present)))
        whole = [hide[row][chunk[row] == number].unique().tolist() for number in present]
        assert all(len(each) == 1 for each in whole)
        others = hide[row] & (chunk[row] < 0)
        if others.any():
            assert all(each == [True] for each in whole)
        maskable = int((~special[row]).sum())
        word = number_words(starts, special)[row]
        groups = [chunk[row] == number for number in present] + [word == number for number in word.unique()]
        longest = max(int((group & ~special[row]).sum()) for group in groups)
        budget = min(maskable, max(1, round(rate * maskable)))
        assert abs(int(hide[row].sum()) - budget) < max(longest, 1)


@pytest.mark.parametrize("select", [entities, phrases])
@given(text=windows, seed=seeds)
@settings(max_examples=15, deadline=None)
def test_an_mlm_tells_its_selection_of_chunks_and_is_pure_in_windows_and_seed(select, text, seed):
    objective = MLM(VARIED, "in_place", select=select)
    assert equal(objective.build(text, seeded(seed)), objective.build(text, seeded(seed)))


def test_a_selection_of_one_s_own_is_given_what_it_names():
    def both(tokens, word_starts, special, rng, *, phrase, entity):
        return (phrase >= 0) & (entity < 0)

    row = torch.tensor([[THE, RED, JOHN, OF]])
    batch = MLM(KNOWN, "in_place", select=both).build(Windows(row), seeded())
    assert batch.weights.tolist() == [[0, 1, 0, 0]]


def test_a_selection_that_is_told_of_no_chunks_says_how_it_would_be():
    row = torch.tensor([[THE, RED, JOHN, OF]])
    for select, kind in ((entities, "entity"), (phrases, "phrase")):
        with pytest.raises(UserError, match=rf"was given no '{kind}'.*MLM's select") as error:
            select(row, row > 0, row < 0, seeded())
        assert "\n" not in str(error.value)


def test_chunks_cannot_be_static():
    objective = MLM(KNOWN, "in_place", select=partial(static, of="entities"))
    with pytest.raises(UserError, match="unknown select for static's option 'of' 'entities'"):
        objective.build(random_windows(1, 5, "full", 0), seeded())


def marked_windows(rows, width, kind, seed):
    """Random text in which a segmenter's words differ from those of the spelling."""
    text = random_windows(rows, width, kind, seed)
    starts = torch.rand(text.tokens.shape, generator=seeded(seed + 1)) < 0.4
    return replace(text, marks=(starts * WORD).to(torch.uint8))


@pytest.mark.parametrize("select", [whole_word, ngrams, whole_word_spans, entities, phrases])
@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_no_word_of_a_segmenter_s_is_split(select, seed):
    text = marked_windows(3, 30, ("full", "packed", "padded")[seed % 3], seed)
    batch = MLM(VARIED, "in_place", select=select, rate=0.3).build(text, seeded(seed))
    word = number_words(*traits(text.tokens, text.segments, VARIED, text.marks))
    for row in range(3):
        for number in word[row].unique():
            assert len(batch.weights[row][word[row] == number].unique()) == 1


def test_marks_move_with_their_tokens_into_a_pair():
    text = Windows(torch.tensor([[40, 41, 42, 43]]), marks=torch.tensor([[1, 2, 3, 4]], dtype=torch.uint8))
    for swapped, tokens, marks in (
        (False, [CLS, 40, SEP, 41, 42, 43, SEP], [0, 1, 0, 2, 3, 4, 0]),
        (True, [CLS, 41, 42, 43, SEP, 40, SEP], [0, 2, 3, 4, 0, 1, 0]),
    ):
        pair, _ = SOP(VOCABULARY, "in_place").arrange(text, torch.tensor([1]), torch.tensor([swapped]))
        assert pair.tokens.tolist() == [tokens]
        assert pair.marks is not None
        assert pair.marks.tolist() == [marks]


@pytest.mark.parametrize("kind", [SOP, NSP, SentenceStructure])
@given(text=windows, seed=seeds)
@settings(max_examples=20, deadline=None)
def test_a_mark_stays_with_its_token_through_every_kind_of_pair(kind, text, seed):
    def thirds(tokens, word_starts, special, rng):
        ordinary = tokens >= WORDS
        assert torch.equal(word_starts[ordinary], tokens[ordinary] % 3 == 0)
        assert not word_starts[(tokens == CLS) | (tokens == SEP)].any()
        return word_starts & ~special

    text = replace(text, marks=((text.tokens % 3 == 0) * WORD).to(torch.uint8))
    objective = kind(VOCABULARY, "in_place", select=thirds)
    objective.build(text, seeded(seed))


def test_a_chunk_that_a_pair_cuts_is_two():
    marks = [WORD | ANNOTATED | ENTITY | (ENTITY_START if place == 0 else 0) for place in range(4)]
    text = Windows(torch.tensor([[40, 41, 42, 43]]), marks=torch.tensor([marks], dtype=torch.uint8))
    pair, _ = SOP(VOCABULARY, "in_place").arrange(text, torch.tensor([1]), torch.tensor([True]))
    assert chunks_of("entity", pair, VOCABULARY).tolist() == [[-1, 0, 0, 0, -1, 1, -1]]
