"""What the five families have in common: embeddings, the head, and the four verbs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from einops import rearrange
from torch import Tensor, nn

from archs.batch import Batch, MaskBuilder
from archs.config import CoreConfig
from archs.core.cross_entropy import cross_entropy
from archs.core.embeddings import Placement
from archs.core.heads import LanguageModelHead
from archs.core.layers import initialise
from archs.core.matrix_products import by_onednn
from archs.core.reach import Reach
from archs.decoding.decoding import GREEDY, Decoding, Steps
from archs.decoding.generate import check, check_tokens, write
from archs.errors import UserError

Unit = Literal["nll", "pll", "pll_word_l2r"]
Stacks = Literal["halves", "double", "shared"]  # an encoder-decoder's, beside a single stack


@dataclass(frozen=True)
class Hidden:
    """One pass: `targets` (N,D) at `batch.target_index`, `rows` (B,T,D), and every layer's rows (B,R,D).

    A layer's rows are what its block gives out, before the stack's final norm; the embeddings are not among
    them. source (B,S,D): an encoder's output, of a family that has one; source_layers: of each of its layers.
    """

    targets: Tensor
    rows: Tensor
    layers: list[Tensor] = field(default_factory=list)
    source: Tensor | None = None
    source_layers: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class Score:
    """Log-probabilities in nats (B,T), zero where nothing was asked; `unit` as in `Family`.

    greedy (B,T) bool: the target is the likeliest token of all; False where nothing was asked.
    """

    nats: Tensor
    unit: Unit
    greedy: Tensor


class Family(nn.Module, ABC):
    """A family of pretraining architectures.

    kind: which of the five it is; layout: how it is given a [source; target] pair; decoding: its own way
    to write, in words; unit: what its scores are. "nll": the chain rule's log-probabilities, they sum to a
    text's; "pll": pseudo-log-likelihood, each token given all others (Salazar et al. 2020). A score may also
    have the unit "pll_word_l2r", where the later tokens of the same word are hidden too (`EncoderAE.score`).
    No two units share an axis.
    both_ways: whether its mask lets some row that it gives out see a later one. If not, a text's last row
    alone has read all of it.
    """

    kind: ClassVar[str]
    decoding: ClassVar[str]
    unit: ClassVar[Unit] = "nll"
    layout: ClassVar[Literal["in_place", "concatenated", "source_target", "permuted"]]
    both_ways: ClassVar[bool] = True

    def __init__(self, config: CoreConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.token_width)
        self.placement = Placement(config)
        self.head = LanguageModelHead(self.embedding, config)
        initialise(self)

    def embed(self, tokens: Tensor, positions: Tensor, token_types: Tensor | None = None) -> Tensor:
        """tokens, positions, token_types (B,R) -> (B,R,D)."""
        return self.placement(self.embedding(tokens), positions, token_types)

    def first(self, batch: Batch) -> Tensor:
        """What the first block reads (B,R,D)."""
        return self.embed(batch.tokens, batch.positions, batch.token_types)

    def check_length(self, positions: Tensor) -> None:
        """Raises UserError if learned positions end before these ids (B,R) do. Called where texts come in."""
        most = self.config.max_length
        # No id is larger than the width: a device is waited for only where it might be too wide.
        if self.config.positions != "learned" or positions.shape[1] <= most or int(positions.max()) < most:
            return
        raise UserError(
            f"position {int(positions.max())} was asked of a family with {most} learned positions; shorten "
            "the text, or use positions=rope"
        )

    @abstractmethod
    def hidden(self, batch: Batch) -> Hidden:
        """One pass over the batch; the head is not run."""

    def asked(self, batch: Batch) -> Tensor:
        """The targets of `hidden` (N,D) where nothing else of the pass is wanted, which may cost less."""
        return self.hidden(batch).targets

    def generate(
        self, batch: Batch, length: int, how: Decoding = GREEDY, rng: torch.Generator | None = None
    ) -> Tensor:
        """Up to `length` new tokens (B,length) by the family's own decoder, from an objective's prompt.

        PADDING after a stop token, which is kept, and where a row has fewer blanks. Raises UserError for a
        prompt that cannot be gone on from, for what this decoder does not do, and where dropout is on.
        """
        if (how.fill, how.rounds) != (GREEDY.fill, GREEDY.rounds):
            raise UserError(f"fill and rounds are for an encoder_ae; {self.kind} writes {self.decoding}")
        how = self.ready(batch, length, how)
        if length == 0:
            return batch.tokens.new_empty(len(batch.tokens), 0)
        with torch.inference_mode():  # a tenth faster a token than no_grad where layers are small
            written = write(self.steps(batch, length), length, how, rng)
        return written.clone()  # an ordinary tensor, so that a family may be trained on it

    def ready(self, batch: Batch, length: int, how: Decoding, never: Tensor | None = None) -> Decoding:
        """`how` for this family, checked with what it is to go on from; `never` as in `generate.check`."""
        if self.training and self.config.drops:
            raise UserError(
                "the family is in training mode, where dropout changes what is written; call family.eval()"
            )
        check_tokens("prompt", batch.tokens, self.config.vocabulary)
        if self.layout == "source_target" and batch.source is not None:
            check_tokens("source", batch.source, self.config.vocabulary)
        return check(how, length, self.config.vocabulary, batch.device, never)

    def steps(self, batch: Batch, length: int) -> Steps:
        """The batch, ready to be written from left to right: one token a step, cached."""
        raise UserError(f"{self.kind} has no steps from left to right: it writes by {self.decoding}")

    @abstractmethod
    def flops(self, batch: Batch) -> int:
        """FLOPs of one forward pass over the batch, head included; masked-out attention is charged."""

    @abstractmethod
    def reachable(self, batch: Batch, declared: MaskBuilder | None = None) -> Reach:
        """Which input cells each row of each layer may depend on.

        By stream of the rows, in the order in which they are read: one entry a layer, by stream of the cells
        (B,R,cells) bool. By the family's own masks, or by `declared` for a family that has one mask alone.
        """

    @classmethod
    def depths(cls, reference: CoreConfig, stacks: Stacks | None = None) -> Iterator[CoreConfig]:
        """The depths to try when this family is sized to match a single stack, most natural first.

        Raises UserError for `stacks`, of a family that has one stack.
        """
        if stacks is not None:
            raise UserError(
                f"family.stacks={stacks} is for an encoder_decoder; {cls.kind} has one stack and allows null "
                "alone: leave it out"
            )
        yield reference

    @classmethod
    def times_parameters(cls, stacks: Stacks | None) -> int:
        """How many times a single stack's parameters this family has where parameters are matched."""
        return 1

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden (N,D) -> (N,V)."""
        return self.head(hidden)

    def nats(self, hidden: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """Weighted sum of -log p(target) in nats by `logits`, whose (N,V) are never held at once.

        hidden (N,D), targets (N) int64, weights (N).
        """
        if type(self).logits is not Family.logits:  # of its own, such as a cap: all of them, then
            return cross_entropy(self.logits(hidden), targets, weights)
        return self.head.nats(hidden, targets, weights)

    def score(self, batch: Batch) -> Score:
        """Log-probability of each asked target in one teacher-forced pass.

        Of the family as it is: in training mode dropout is on and no two calls agree; call `eval()` first.
        """
        index, targets, weights = batch.asked()
        with by_onednn(batch.device):
            logp = self.logits(self.hidden(batch).targets).float().log_softmax(dim=-1)
        asked = weights > 0
        nats = torch.zeros(batch.tokens.numel(), device=logp.device)
        nats.index_add_(0, index, logp.gather(1, targets[:, None]).squeeze(1) * asked)
        greedy = torch.zeros(len(nats), dtype=torch.bool, device=logp.device)
        greedy.index_put_((index,), (logp.argmax(dim=-1) == targets) & asked, accumulate=True)
        B, T = batch.tokens.shape
        nats, greedy = (rearrange(each, "(b t) -> b t", b=B, t=T) for each in (nats, greedy))
        return Score(nats, self.unit, greedy)


def take_targets(rows: Tensor, batch: Batch) -> Tensor:
    """(B,T,D) -> (N,D) at `batch.target_index`; padded entries take cell 0, which has weight 0 there."""
    return rearrange(rows, "b t d -> (b t) d")[batch.asked()[0]]
