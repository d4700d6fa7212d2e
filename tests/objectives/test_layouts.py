import pytest
import torch
from hypothesis import given, settings
from toy_text import BOS, EOS, MASK, PAD, VOCABULARY, documents, windows

from objectives.layouts import blanks, document_starts, pair, read, sees_something, shift_right, start

SOURCE, TARGET = torch.tensor([[50, 51]]), torch.tensor([[60, 61, EOS]])
# Documents 0 and 1 in one row, a cell of padding at the end of each part.
PACKED = (
    torch.tensor([[50, 51, 52, PAD]]),
    torch.tensor([[0, 0, 1, -1]]),
    torch.tensor([[60, 70, 71, PAD]]),
    torch.tensor([[0, 1, 1, -1]]),
)


def test_concatenated_reads_the_source_then_bos_and_the_target():
    batch = pair("concatenated", SOURCE, None, TARGET, None, VOCABULARY)
    assert batch.tokens.tolist() == [[50, 51, BOS, 60, 61]]
    assert batch.targets.tolist() == [[50, 51, 60, 61, EOS]]
    assert batch.weights.tolist() == [[0, 0, 1, 1, 1]]
    assert batch.is_prefix.tolist() == [[True, True, False, False, False]]
    assert batch.positions.tolist() == [[0, 1, 2, 3, 4]]
    assert batch.segments is None
    assert batch.totals == {"tokens": 3.0}


def test_concatenated_packs_documents_in_both_parts():
    batch = pair("concatenated", *PACKED, VOCABULARY)
    assert batch.tokens.tolist() == [[50, 51, 52, PAD, BOS, BOS, 70, PAD]]
    assert batch.targets.tolist() == [[50, 51, 52, PAD, 60, 70, 71, PAD]]
    assert batch.weights.tolist() == [[0, 0, 0, 0, 1, 1, 1, 0]]
    assert batch.segments.tolist() == [[0, 0, 1, -1, 0, 1, 1, -1]]
    assert batch.positions.tolist() == [[0, 1, 0, 0, 2, 1, 2, 1]]


def test_source_target_gives_the_decoder_the_shifted_target():
    batch = pair("source_target", *PACKED, VOCABULARY)
    assert batch.source.tolist() == [[50, 51, 52, PAD]]
    assert batch.source_segments.tolist() == [[0, 0, 1, -1]]
    assert batch.source_positions.tolist() == [[0, 1, 0, 0]]
    assert batch.tokens.tolist() == [[BOS, BOS, 70, PAD]]
    assert batch.targets.tolist() == [[60, 70, 71, PAD]]
    assert batch.weights.tolist() == [[1, 1, 1, 0]]
    assert batch.segments.tolist() == [[0, 1, 1, -1]]


def test_in_place_hides_nothing_and_names_the_mask():
    batch = pair("in_place", SOURCE, None, TARGET, None, VOCABULARY)
    assert batch.tokens.tolist() == batch.targets.tolist() == [[50, 51, 60, 61, EOS]]
    assert batch.weights.tolist() == [[0, 0, 1, 1, 1]]
    assert batch.extras["mask"].tolist() == [MASK]


def test_permuted_ranks_the_target_from_left_to_right():
    batch = pair("permuted", SOURCE, None, TARGET, None, VOCABULARY)
    assert batch.tokens.tolist() == [[50, 51, 60, 61, EOS]]
    assert batch.rank.tolist() == [[0, 0, 1, 2, 3]]
    assert batch.queries.tolist() == [[2, 3, 4]]
    assert batch.weights.tolist() == [[0, 0, 1, 1, 1]]


def test_permuted_ranks_each_document_apart():
    batch = pair("permuted", *PACKED, VOCABULARY)
    assert batch.rank.tolist() == [[0, 0, 0, 0, 1, 1, 2, 0]]
    assert batch.queries.tolist() == [[4, 5, 6, -1]]
    assert batch.weights.tolist() == [[0, 0, 0, 0, 1, 1, 1, 0]]


def test_a_target_sees_something_unless_it_is_its_document_s_first_and_has_no_source():
    without = torch.tensor([[0, 0, 0, -1]])
    assert sees_something(PACKED[0], without, *PACKED[2:]).tolist() == [[True, False, True, True]]
    assert sees_something(*PACKED).all()
    assert sees_something(SOURCE[:, :0], None, TARGET, None).tolist() == [[False, True, True]]
    assert sees_something(SOURCE, None, TARGET, None).all()


def test_weights_choose_among_the_target_and_never_ask_for_padding():
    weights = torch.tensor([[0.0, 1.0, 0.5, 1.0]])
    batch = pair("source_target", *PACKED, VOCABULARY, weights)
    assert batch.weights.tolist() == [[0, 1, 0.5, 0]]


def test_segments_of_one_part_alone_are_refused():
    with pytest.raises(ValueError, match="both source and target"):
        pair("concatenated", SOURCE, torch.zeros_like(SOURCE), TARGET, None, VOCABULARY)


def test_a_text_to_be_represented_is_read_in_both_directions_and_asks_nothing():
    for layout in ("in_place", "concatenated", "permuted"):
        batch = read(layout, TARGET, None, VOCABULARY)
        assert batch.tokens.tolist() == TARGET.tolist()
        assert batch.is_prefix.all()
        assert batch.rank.tolist() == [[0, 0, 0]]
        assert batch.supervised == 0
        assert batch.segments is None


def test_an_encoder_decoder_represents_a_text_as_bart_does():
    batch = read("source_target", *PACKED[:2], VOCABULARY, pair_label=torch.tensor([1]))
    assert batch.source.tolist() == [[50, 51, 52, PAD]]
    assert batch.tokens.tolist() == [[BOS, 50, BOS, PAD]]
    assert batch.segments.tolist() == batch.source_segments.tolist() == [[0, 0, 1, -1]]
    assert batch.totals == {"tokens": 0.0, "pair": 1.0}


def test_shift_right_begins_each_document_with_bos():
    tokens = torch.tensor([[40, 41, EOS, 50, EOS, PAD, PAD]])
    segments = torch.tensor([[0, 0, 0, 1, 1, -1, -1]])
    assert shift_right(tokens, segments, VOCABULARY).tolist() == [[BOS, 40, 41, BOS, 50, PAD, PAD]]
    assert shift_right(tokens[:, :3], None, VOCABULARY).tolist() == [[BOS, 40, 41]]
    assert document_starts(tokens, segments).tolist() == [[0, 0, 0, 3, 3, 5, 5]]


@given(text=windows)
@settings(max_examples=50, deadline=None)
def test_a_shifted_document_is_bos_and_all_but_its_last_token(text):
    shifted = documents(shift_right(text.tokens, text.segments, VOCABULARY), text.segments)
    for row, raw in zip(shifted, documents(text.tokens, text.segments), strict=True):
        assert row == {number: [BOS, *cells[:-1]] for number, cells in raw.items()}


@pytest.mark.parametrize("layout", ["concatenated", "source_target"])
def test_a_decoder_starts_from_what_training_showed_it(layout):
    source, target = torch.tensor([[50, 51], [52, 53]]), torch.tensor([[60, 61], [62, 63]])
    trained = pair(layout, source, None, target, None, VOCABULARY)
    begun = start(layout, source, torch.full((2, 1), BOS))
    width = begun.tokens.shape[1]
    assert torch.equal(begun.tokens, trained.tokens[:, :width])
    assert torch.equal(begun.positions, trained.positions[:, :width])
    if layout == "concatenated":
        assert torch.equal(begun.is_prefix, trained.is_prefix[:, :width])
    else:
        assert torch.equal(begun.source, trained.source)


def test_blanks_of_different_lengths_are_padded_and_only_real_ones_asked():
    source = torch.tensor([[50, 51], [52, 53]])
    batch = blanks("permuted", source, torch.tensor([3, 1]), VOCABULARY)
    assert batch.tokens.tolist() == [[50, 51, MASK, MASK, MASK], [52, 53, MASK, PAD, PAD]]
    assert batch.weights.tolist() == [[0, 0, 1, 1, 1], [0, 0, 1, 0, 0]]
    assert batch.segments.tolist() == [[0, 0, 0, 0, 0], [0, 0, 0, -1, -1]]
    assert batch.rank.tolist() == [[0, 0, 1, 2, 3], [0, 0, 1, 0, 0]]
    assert batch.queries.tolist() == [[2, 3, 4], [2, -1, -1]]


def test_blanks_of_one_length_need_no_segments():
    batch = blanks("in_place", SOURCE, torch.tensor([2]), VOCABULARY)
    assert batch.tokens.tolist() == [[50, 51, MASK, MASK]]
    assert batch.segments is None
    assert batch.extras["mask"].tolist() == [MASK]
