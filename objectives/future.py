"""Future n-gram prediction: the next token, and those after it (Qi et al. 2020, ProphetNet)."""

from __future__ import annotations

from dataclasses import replace as with_changes

import torch
from einops import repeat
from torch import Tensor
from torch.nn import functional

from archs.batch import PADDING, Batch, index_targets
from archs.errors import UserError
from archs.masks import Mask, document, near, order
from objectives.base import Layout, Vocabulary, Windows
from objectives.mass import MASS
from objectives.replace import Replace, mask_only


class FutureNGram(MASS):
    """MASS whose decoder also predicts the n - 1 tokens after the next. arXiv:2001.04063.

    The decoder reads MASS's row, the main stream, and behind it n - 1 predicting streams as wide. Row t of
    stream s is asked for the token s places after that of main row t, and sees main rows up to t and itself.
    With n = 2 and 42 43 44 chosen; `sees` is the last main row that a row sees:

    >>> text = windows([[40, 41, 42, 43, 44, 2]])
    >>> future = FutureNGram(VOCABULARY, "source_target", n=2)
    >>> batch = future.batch(text, hiding(42, 43, 44)(text.tokens), seeded())
    >>> show(batch, "source", "tokens", "targets", "weights", "positions", "extras.sees")
    source       40 41  3  3  3  2
    tokens        1 42 43  0  0  0 20 20  0  0  0  0
    targets      42 43 44  0  0  0 43 44  0  0  0  0
    weights       1  1  1  0  0  0  1  1  0  0  0  0
    positions     2  3  4  0  0  0  4  5  0  0  0  0
    extras.sees   0  1  2  3  4  5  0  1  2  3  4  5

    20, a sentinel, tells the stream (Hugging Face: `ngram_embeddings`). Its row stands where the token that
    it predicts will be read, one place after the main row that is asked for the same token (Hugging Face:
    `position_ids + 1`). Beyond a document's fragment nothing is asked. Stream s weighs decay ** s, and the
    loss is the weighted mean. n = 1 is MASS.

    Unlike the paper's: there the main stream is asked nothing and one predicting stream more asks the next
    token; here the main stream asks it, so that the family's own decoder writes as it was trained. There the
    first s rows of stream s are asked too, for nearer tokens, given the first main row alone. Relative
    positions that depend on the query are left out.
    """

    name = "future_ngram"
    needs = ("mask", "sentinels")

    def __init__(
        self,
        vocabulary: Vocabulary,
        layout: Layout,
        n: int = 2,
        decay: float = 1.0,
        rate: float = 0.5,
        replace: Replace = mask_only,
    ) -> None:
        super().__init__(vocabulary, layout, rate, replace)
        most = len(vocabulary.sentinels) - len(vocabulary.sentinels) // 2 + 1
        if not 1 <= n <= most:
            raise UserError(
                f"objective '{self.name}': n={n} is not from 1 to {most}: the first half of the "
                "sentinels tells the streams apart; ProphetNet has 2"
            )
        if not 0 < decay <= 1:
            raise UserError(
                f"objective '{self.name}': decay={decay} is not above 0 and at most 1; 1 weighs all streams "
                "alike, and n=1 leaves them out"
            )
        self.n = n
        self.decay = decay

    def batch(self, windows: Windows, hide: Tensor, rng: torch.Generator) -> Batch:
        main = super().batch(windows, hide, rng)
        streams = [main, *(self._stream(main, ahead) for ahead in range(1, self.n))]

        def joined(name: str) -> Tensor:
            return torch.cat([getattr(stream, name) for stream in streams], 1)

        columns = repeat(torch.arange(main.tokens.shape[1]), "t -> b t", b=len(main.tokens))
        nobody = torch.full_like(columns, columns.shape[1])
        weights = joined("weights")
        return with_changes(
            main,
            **{name: joined(name) for name in ("tokens", "targets", "positions", "segments")},
            weights=weights,
            extras={
                "sees": repeat(columns, "b t -> b (n t)", n=self.n),
                "place": torch.cat([columns] + [nobody] * (self.n - 1), 1),
            },
            totals={"tokens": float(weights.sum()), "asked": float((weights > 0).sum())},
            target_index=index_targets(weights),
            mask=streams_mask,
        )

    def supervised(self, batch: Batch) -> int:
        """Targets, whatever they weigh."""
        return round(batch.totals["asked"])

    def _stream(self, main: Batch, ahead: int) -> Batch:
        """The predicting stream that asks each main row's token `ahead` places after its own."""
        assert main.segments is not None
        moved = min(ahead, main.tokens.shape[1])

        def later(values: Tensor, fill: int) -> Tensor:
            return functional.pad(values[:, moved:], (0, moved), value=fill)

        there = (later(main.segments, PADDING) == main.segments) & (main.segments >= 0)
        pad = self.vocabulary.pad
        return with_changes(
            main,
            tokens=torch.where(there, stream_token(self.vocabulary, ahead), pad),
            targets=torch.where(there, later(main.targets, pad), pad),
            weights=later(main.weights, 0) * there * self.decay**ahead,
            positions=torch.where(there, later(main.positions, 0) + 1, 0),
            segments=torch.where(there, main.segments, PADDING),
        )


def stream_token(vocabulary: Vocabulary, stream: int) -> int:
    """Of stream 1, 2, …: sentinels from the middle down; spans take the first, mode tokens the last."""
    return vocabulary.sentinels[-(len(vocabulary.sentinels) // 2) - stream]


def streams_mask(batch: Batch) -> Mask:
    """A row sees the main stream's rows up to its `sees`, and itself, of its own document.

    extras: sees (B,T), the last place of the main stream that the row sees; place (B,T), where in the main
    stream the row stands, beyond all `sees` for a predicting stream's, which nobody else sees.
    """
    B, T = batch.tokens.shape
    columns = repeat(torch.arange(T, device=batch.device), "t -> b t", b=B)
    main = order(batch.extras["sees"], batch.extras["place"])
    return (main | near(columns, 0)) & document(batch.segments)
