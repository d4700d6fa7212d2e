"""Future n-gram prediction: the next token and the tokens after it (Qi et al. 2020, ProphetNet)."""

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
    """MASS whose decoder also predicts the n - 1 tokens after the next one. arXiv:2001.04063.

    The decoder reads MASS's row, the main stream, followed by n - 1 predicting streams of the same width. Row
    t of stream s predicts the token s places after the target of main row t; it sees main rows up to t, and
    itself. With n = 2 and 42 43 44 chosen, where `sees` is the last main row that a row sees:

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

    The sentinel 20 identifies the stream (in Hugging Face: `ngram_embeddings`). A row of a predicting stream
    has the position of the token that it predicts, one after the main row with the same target (in Hugging
    Face: `position_ids + 1`). There is no target beyond a document's fragment. The targets of stream s have
    weight decay ** s, and the loss is the weighted mean. n = 1 is MASS.

    Differences from the paper: there the main stream has no targets, and a further predicting stream predicts
    the next token; here the main stream does, so that the family's own decoder generates as it was trained.
    There the first s rows of stream s have targets too, nearer tokens, given only the first main row.
    Relative positions that depend on the query are left out.
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
        never_seen = torch.full_like(columns, columns.shape[1])
        weights = joined("weights")
        return with_changes(
            main,
            **{name: joined(name) for name in ("tokens", "targets", "positions", "segments")},
            weights=weights,
            extras={
                "sees": repeat(columns, "b t -> b (n t)", n=self.n),
                "place": torch.cat([columns] + [never_seen] * (self.n - 1), 1),
            },
            totals={"tokens": float(weights.sum()), "asked": float((weights > 0).sum())},
            target_index=index_targets(weights),
            mask=streams_mask,
        )

    def supervised(self, batch: Batch) -> int:
        """The number of targets, whatever their weights."""
        return round(batch.totals["asked"])

    def _stream(self, main: Batch, ahead: int) -> Batch:
        """The predicting stream whose targets are those of the main rows `ahead` places later."""
        assert main.segments is not None
        moved = min(ahead, main.tokens.shape[1])

        def later(values: Tensor, fill: int) -> Tensor:
            return functional.pad(values[:, moved:], (0, moved), value=fill)

        has_target = (later(main.segments, PADDING) == main.segments) & (main.segments >= 0)
        pad = self.vocabulary.pad
        return with_changes(
            main,
            tokens=torch.where(has_target, stream_token(self.vocabulary, ahead), pad),
            targets=torch.where(has_target, later(main.targets, pad), pad),
            weights=later(main.weights, 0) * has_target * self.decay**ahead,
            positions=torch.where(has_target, later(main.positions, 0) + 1, 0),
            segments=torch.where(has_target, main.segments, PADDING),
        )


def stream_token(vocabulary: Vocabulary, stream: int) -> int:
    """The token of stream 1, 2, …: a sentinel, from the middle down; spans use the first, modes the last."""
    return vocabulary.sentinels[-(len(vocabulary.sentinels) // 2) - stream]


def streams_mask(batch: Batch) -> Mask:
    """A row sees itself, and the main stream's rows up to its `sees`, within its document.

    extras: sees (B,T): the last row of the main stream that a row sees. place (B,T): the row's place in the
    main stream; for a predicting stream a number above all `sees`, so that no other row sees it.
    """
    B, T = batch.tokens.shape
    columns = repeat(torch.arange(T, device=batch.device), "t -> b t", b=B)
    main = order(batch.extras["sees"], batch.extras["place"])
    return (main | near(columns, 0)) & document(batch.segments)
