from __future__ import annotations

import numpy as np
import pytest
import torch

from archs.errors import UserError
from experiments.data.store import Corpus, Tokens
from experiments.data.windows import WindowStream, held_out


def part(*lengths: int) -> Tokens:
    """Documents of these lengths; each token is its place in the text."""
    offsets = np.cumsum([0, *lengths])
    return Tokens(np.arange(offsets[-1], dtype=np.uint32), offsets, 0)


def rows_read(stream: WindowStream, steps: range) -> list[int]:
    return [int(row[0]) // stream.width for step in steps for row in stream(step).tokens]


def test_a_step_is_the_same_however_one_comes_to_it() -> None:
    text = part(*[97] * 40)
    through, fresh = (WindowStream(text, 7, 16, seed=3) for _ in range(2))
    continued = [through(step) for step in range(120)]
    for step in (119, 3, 60, 34, 35):
        for stream in (fresh, WindowStream(text, 7, 16, seed=3)):
            windows = stream(step)
            assert torch.equal(windows.tokens, continued[step].tokens)
            if windows.segments is not None:
                assert torch.equal(windows.segments, continued[step].segments)


def test_every_row_is_read_once_an_epoch_across_batches_that_straddle_two() -> None:
    stream = WindowStream(part(1013), rows=7, width=10, seed=0)  # 101 rows, 3 tokens left over
    read = rows_read(stream, range(101))  # 7 epochs
    assert stream.rows_per_epoch == 101
    assert stream.rows_per_epoch * stream.width == 1010
    for epoch in range(7):
        assert sorted(read[epoch * 101 : (epoch + 1) * 101]) == list(range(101))
    assert read[:101] != read[101:202]
    assert stream.epochs(101) == 7.0


def test_another_seed_is_another_order() -> None:
    orders = [rows_read(WindowStream(part(1000), 10, 10, seed), range(10)) for seed in (0, 1)]
    assert orders[0] != orders[1]


def test_rows_are_consecutive_slices_of_the_text() -> None:
    tokens = WindowStream(part(100), 4, 10, 0)(1).tokens
    assert tokens.dtype == torch.int64
    assert torch.equal(tokens, tokens[:, :1] + torch.arange(10))
    assert (tokens[:, 0] % 10 == 0).all()


def test_segments_count_documents_within_a_row_and_are_left_out_where_no_row_has_two() -> None:
    stream = WindowStream(part(6, 1, 5), rows=3, width=4, seed=0)
    windows = stream(0)
    assert windows.segments is not None
    found = {int(row[0]): cells for row, cells in zip(windows.tokens, windows.segments.tolist(), strict=True)}
    assert found == {0: [0, 0, 0, 0], 4: [0, 0, 1, 2], 8: [0, 0, 0, 0]}
    assert WindowStream(part(8, 4), rows=3, width=4, seed=0)(0).segments is None


def test_a_text_shorter_than_one_batch_is_told_with_numbers() -> None:
    with pytest.raises(UserError, match=r"100 tokens where 11 rows of 10 need 110; lower training\.batch"):
        WindowStream(part(100), 11, 10, 0)


def test_held_out_windows_lie_inside_one_document_without_its_end() -> None:
    text = part(11, 3, 25, 10)  # with eos: 10, 2, 24 and 9 tokens
    held = held_out(text, 100, 5)
    assert held.tokens[:, 0].tolist() == [0, 5, 14, 19, 24, 29, 39]
    assert held.documents.tolist() == [0, 0, 2, 2, 2, 2, 3]


def test_a_held_out_sample_is_the_same_every_time_and_without_repeats() -> None:
    text = part(*[101] * 50)
    first, second = held_out(text, 64, 10), held_out(text, 64, 10)
    assert torch.equal(first.tokens, second.tokens)
    assert len(first.tokens[:, 0].unique()) == 64
    assert len(set(first.documents)) > 25


def test_documents_too_short_for_a_held_out_window_are_told() -> None:
    with pytest.raises(UserError, match=r"no held-out document has 20 tokens \(the longest: 14\)"):
        held_out(part(5, 15), 3, 20)


def test_windows_of_the_addresses_decode_to_their_text(address_corpus: Corpus) -> None:
    stream = WindowStream(address_corpus.train, 32, 128, seed=0)
    whole = address_corpus.tokenizer.decode(address_corpus.train.tokens[: 10 * 128])
    row = int(np.flatnonzero(np.concatenate([stream.row_numbers(step) for step in range(600)]) == 4)[0])
    tokens = stream(row // 32).tokens[row % 32]
    assert address_corpus.tokenizer.decode(tokens) in whole
