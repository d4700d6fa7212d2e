"""What stands in the place of hidden tokens.

Length-keeping functions are `(tokens (B,W) int64, hide (B,W) bool, vocabulary, rng) -> (B,W) int64`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from archs.batch import PADDING
from archs.errors import UserError
from objectives.base import Vocabulary
from objectives.functions import bind, named, row_seeds
from objectives.layouts import document_starts, pack_left

Replace = Callable[[Tensor, Tensor, Vocabulary, torch.Generator], Tensor]


def bert(
    tokens: Tensor,
    hide: Tensor,
    vocabulary: Vocabulary,
    rng: torch.Generator,
    *,
    masked: float = 0.8,
    random: float = 0.1,
) -> Tensor:
    """80% [MASK], 10% a random token, 10% left as they are. Devlin et al. 2019.

    masked, random: the shares; what is left of 1 is kept. Raises UserError unless both are at least 0 and
    sum to at most 1.

    >>> text = torch.tensor([[40, 41, 42]])
    >>> outcomes(lambda rng: bert(text, text > 40, VOCABULARY, rng, masked=0.5, random=0.0))
    40  3  3
    40  3 42
    40 41  3
    40 41 42
    """
    if not (masked >= 0 and random >= 0 and masked + random <= 1 + 1e-9):
        raise UserError(
            f"replace 'bert': masked={masked} and random={random} are not shares, at least 0 and together at "
            "most 1; BERT has 0.8 and 0.1, and keeps the rest"
        )
    luck = torch.rand(tokens.shape, generator=rng)
    changed = torch.where(luck < masked, _mask(vocabulary), _ordinary(tokens.shape, vocabulary, rng))
    return torch.where(hide & (luck < masked + random), changed, tokens)


def mask_only(tokens: Tensor, hide: Tensor, vocabulary: Vocabulary, rng: torch.Generator) -> Tensor:
    """Always [MASK], as before ELECTRA's generator (Clark et al. 2020).

    >>> text = torch.tensor([[40, 41, 42]])
    >>> show(mask_only(text, text > 40, VOCABULARY, seeded()))
    40  3  3
    """
    return torch.where(hide, _mask(vocabulary), tokens)


def random_token(tokens: Tensor, hide: Tensor, vocabulary: Vocabulary, rng: torch.Generator) -> Tensor:
    """Always a random token, never a special one.

    >>> text = torch.tensor([[40, 41, 42]])
    >>> show(random_token(text, text > 40, VOCABULARY, seeded(0)))
    40 83 89
    """
    return torch.where(hide, _ordinary(tokens.shape, vocabulary, rng), tokens)


def keep(tokens: Tensor, hide: Tensor, vocabulary: Vocabulary, rng: torch.Generator) -> Tensor:
    """Nothing is replaced.

    The control of replacing at all: what is asked stands there to be copied, so an encoder-AE learns little
    else. For objectives that ask something else of the text (order, replaced tokens), and for ablations.

    >>> text = torch.tensor([[40, 41, 42]])
    >>> show(keep(text, text > 40, VOCABULARY, seeded()))
    40 41 42
    """
    return tokens


def static(
    tokens: Tensor,
    hide: Tensor,
    vocabulary: Vocabulary,
    rng: torch.Generator,
    *,
    of: str | Callable[..., Tensor] = "bert",
    copies: int = 1,
    **options: Any,
) -> Tensor:
    """The same replacements whenever the same row with the same tokens hidden is seen again.

    With select's `static` the text is as if masked beforehand (BERT, and RoBERTa's static masking; Liu et
    al. 2019). of, copies, options: as of select's `static`.

    >>> text = torch.tensor([[40, 41, 43]])
    >>> outcomes(lambda rng: static(text, text > 40, VOCABULARY, rng, of="random_token"))
    40 43 54
    """
    replace = bind(of, (bert, mask_only, random_token, keep), {}, options, "replace")
    rows = zip(tokens, hide, row_seeds((tokens, hide), copies, rng, "replace"), strict=True)
    drawn = [
        replaced(replace, row[None], hidden[None], vocabulary, torch.Generator().manual_seed(seed))
        for row, hidden, seed in rows
    ]
    return torch.cat(drawn)


def replaced(
    replace: Replace, tokens: Tensor, hide: Tensor, vocabulary: Vocabulary, rng: torch.Generator
) -> Tensor:
    """What `replace` makes of the tokens.

    Raises UserError unless that is (B,W) int64, ids of the vocabulary, with the tokens that are not hidden.
    """
    # A copy, so that a function that writes into what it is given does not change the targets.
    seen = replace(tokens.clone(), hide, vocabulary, rng)
    who = f"replace '{named(replace)}'"
    if not isinstance(seen, Tensor):
        raise UserError(f"{who} returned {type(seen).__name__}, no tensor; return (B,W) int64, token ids")
    if seen.dtype != torch.long or seen.shape != tokens.shape:
        raise UserError(
            f"{who} returned {tuple(seen.shape)} {str(seen.dtype).removeprefix('torch.')}; return "
            f"{tuple(tokens.shape)} int64, token ids, as many as it was given"
        )
    if bool(((seen != tokens) & ~hide).any()):
        raise UserError(f"{who} changed tokens that are not hidden; return torch.where(hide, …, tokens)")
    if seen.numel() and not 0 <= int(seen.min()) <= int(seen.max()) < vocabulary.size:
        raise UserError(
            f"{who} wrote ids from {int(seen.min())} to {int(seen.max())}; the vocabulary's are 0 to "
            f"{vocabulary.size - 1}"
        )
    return seen


def _mask(vocabulary: Vocabulary) -> int:
    assert vocabulary.mask is not None, "an objective that masks names 'mask' in its needs"
    return vocabulary.mask


def _ordinary(shape: torch.Size, vocabulary: Vocabulary, rng: torch.Generator) -> Tensor:
    ordinary = (~vocabulary.special).nonzero().squeeze(1)
    return ordinary[torch.randint(len(ordinary), shape, generator=rng)]


def sentinels(
    tokens: Tensor, segments: Tensor | None, hide: Tensor, vocabulary: Vocabulary
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Source, its segments, target, its segments: one sentinel for each hidden run. Raffel et al. 2020.

    The sentinels are 6, 7, …:

    >>> text = torch.tensor([[40, 41, 42, 43, 44, 45, 2]])
    >>> source, _, target, _ = sentinels(text, None, hiding(41, 42, 44)(text), VOCABULARY)
    >>> show(source)
    40  6 43  7 45  2
    >>> show(target)
    6 41 42  7 44  2

    Rows are padded on the right with pad and segment -1, as wide as the longest (S) and (T). A target
    cell's segment is its document's; eos has that of the row's last hidden token. A row with nothing
    hidden has an empty target. Raises UserError if a row has more runs than there are sentinels.
    """
    rows, width = tokens.shape
    if segments is None:
        segments = torch.zeros_like(tokens)
    goes_on = torch.zeros_like(hide)
    goes_on[:, 1:] = hide[:, :-1]
    goes_on &= document_starts(tokens, segments) < torch.arange(width)
    starts = hide & ~goes_on
    spans = starts.sum(1)
    if int(spans.max()) > len(vocabulary.sentinels):
        raise UserError(
            f"a row has {int(spans.max())} hidden spans but the tokenizer has {len(vocabulary.sentinels)} "
            "sentinels; lower the rate or the window, lengthen the spans, or add sentinels"
        )
    ids = torch.tensor(vocabulary.sentinels)
    so_far = starts.cumsum(1)
    marked = torch.where(starts, ids[(so_far - 1).clamp(min=0)], tokens)

    in_source = starts | (~hide & (segments >= 0))
    source_width = int(in_source.sum(1).max())
    source = pack_left(marked, in_source, source_width, vocabulary.pad)
    source_segments = pack_left(segments, in_source, source_width, PADDING)

    # Every hidden token follows as many sentinels as spans have begun.
    length = hide.sum(1) + spans
    target_width = int(length.max()) + 1
    waste = target_width
    place = hide.cumsum(1) - 1 + so_far
    of_sentinel = torch.where(starts, place - 1, waste)
    of_token = torch.where(hide, place, waste)
    target = tokens.new_full((rows, target_width + 1), vocabulary.pad)
    target.scatter_(1, of_sentinel, marked).scatter_(1, of_token, tokens)
    target_segments = tokens.new_full((rows, target_width + 1), PADDING)
    target_segments.scatter_(1, of_sentinel, segments).scatter_(1, of_token, segments)
    end = torch.where(spans > 0, length, waste)[:, None]
    last = target_segments.gather(1, (end - 1).clamp(min=0))
    target.scatter_(1, end, vocabulary.eos)
    target_segments.scatter_(1, end, last)
    return source, source_segments, target[:, :target_width], target_segments[:, :target_width]
