"""Groups texts of one shape into batches, so that no row is padded and memory is bounded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

Shape = tuple[int, int]  # tokens of the context, tokens of the text

TOKENS = 2**12  # of one batch; larger batches are no faster on a CPU
LOGITS = 2**26  # of one batch, 256 MiB in float32
WAITING = 2**15  # tokens of the texts that are searched for equal shapes at a time


def tokens_at_once(vocabulary: int) -> int:
    """The most tokens of a batch of several rows: at most TOKENS, and at most LOGITS logits."""
    return max(1, min(TOKENS, LOGITS // vocabulary))


def chunks(shapes: Sequence[Shape], most: int = WAITING) -> Iterator[range]:
    """Divides all texts, in order, into ranges of at most `most` tokens; a longer text stands alone."""
    start = held = 0
    for number, shape in enumerate(shapes):
        if number > start and held + sum(shape) > most:
            yield range(start, number)
            start, held = number, 0
        held += sum(shape)
    if shapes:
        yield range(start, len(shapes))


def batches(shapes: Sequence[Shape], numbers: Sequence[int], most: int) -> Iterator[list[int]]:
    """Batches of the given texts, each of one shape and at most `most` tokens, or of one longer text.

    Shapes (0, 2), (1, 2), (0, 2), (0, 2), numbered from 0, with most=4 give [0, 2], [3], [1].
    """
    alike: dict[Shape, list[int]] = defaultdict(list)
    for number in numbers:
        alike[shapes[number]].append(number)
    for shape, same in alike.items():
        rows = max(1, most // sum(shape))
        for start in range(0, len(same), rows):
            yield same[start : start + rows]
