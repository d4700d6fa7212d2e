"""Which texts are asked together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from experiments.evaluation.scoring.batching import LOGITS, TOKENS, batches, chunks, tokens_at_once

SHAPES = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)))


def test_texts_of_one_shape_are_asked_together_up_to_so_many_tokens() -> None:
    shapes = [(0, 2), (1, 2), (0, 2), (2, 0), (0, 2)]
    assert list(batches(shapes, range(5), most=4)) == [[0, 2], [4], [1], [3]]
    assert list(batches(shapes, range(5), most=6)) == [[0, 2, 4], [1], [3]]
    assert list(batches(shapes, range(1, 5), most=100)) == [[1], [2, 4], [3]]


def test_texts_wait_for_one_another_only_within_so_many_tokens() -> None:
    assert list(chunks([(0, 2), (1, 2), (0, 2), (0, 9), (0, 1)], most=5)) == [
        range(2),
        range(2, 3),
        range(3, 4),
        range(4, 5),
    ]
    assert list(chunks([])) == []


@given(shapes=SHAPES, waiting=st.integers(1, 20), most=st.integers(1, 20))
def test_every_text_is_asked_once_in_a_batch_of_one_shape_that_is_no_larger_than_allowed(
    shapes, waiting, most
) -> None:
    parts = list(chunks(shapes, waiting))
    assert [number for part in parts for number in part] == list(range(len(shapes)))
    for part in parts:
        assert len(part) == 1 or sum(sum(shapes[number]) for number in part) <= waiting
        made = list(batches(shapes, part, most))
        assert sorted(number for batch in made for number in batch) == list(part)
        for batch in made:
            (shape,) = {shapes[number] for number in batch}
            assert len(batch) == 1 or len(batch) * sum(shape) <= most


def test_a_batch_has_fewer_tokens_where_the_vocabulary_is_large() -> None:
    assert tokens_at_once(512) == TOKENS
    assert tokens_at_once(256_000) * 256_000 <= LOGITS
    assert tokens_at_once(10**9) == 1
