"""The base class of the five families: embeddings, the head, and hidden states, loss, score, generation."""

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
Stacks = Literal["halves", "double", "shared"]  # an encoder-decoder's depth, relative to a single stack's


@dataclass(frozen=True)
class Hidden:
    """The hidden states of one pass.

    targets (N,D): at `batch.target_index`. rows (B,T,D): all final states. layers: each layer's output
    (B,R,D), before the final norm and without the embeddings. source (B,S,D): the encoder's output, if there
    is an encoder. source_layers: each encoder layer's output.
    """

    targets: Tensor
    rows: Tensor
    layers: list[Tensor] = field(default_factory=list)
    source: Tensor | None = None
    source_layers: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class Score:
    """Log-probabilities of the targets.

    nats (B,T): in nats, 0 where there is no target. unit: see `Family`. greedy (B,T) bool: the target is the
    likeliest token of all; False where there is no target.
    """

    nats: Tensor
    unit: Unit
    greedy: Tensor


class Family(nn.Module, ABC):
    """A family of pretraining architectures.

    kind: name of the family, one of five. layout: how it reads a [source; target] pair. decoding: how it
    generates, in words.
    unit: of its scores. "nll": log-probabilities of the chain rule, which sum to the text's. "pll":
    pseudo-log-likelihood, each token given all others (Salazar et al. 2020). A score may also have the unit
    "pll_word_l2r", where the later tokens of the same word are masked too (`EncoderAE.score`). Never compare
    scores of two units.
    both_ways: whether some row of its output may see a later one. If not, only a text's last row has read the
    whole text.
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
        """The input (B,R,D) of the first block."""
        return self.embed(batch.tokens, batch.positions, batch.token_types)

    def check_length(self, positions: Tensor) -> None:
        """Raises UserError if a position id (B,R) is beyond the learned positions. Called on each input."""
        most = self.config.max_length
        # An id is below the width, so only a batch that is too wide needs its ids read from the device.
        if self.config.positions != "learned" or positions.shape[1] <= most or int(positions.max()) < most:
            return
        raise UserError(
            f"position {int(positions.max())} was asked of a family with {most} learned positions; shorten "
            "the text, or use positions=rope"
        )

    @abstractmethod
    def hidden(self, batch: Batch) -> Hidden:
        """One pass over the batch, without the head."""

    def asked(self, batch: Batch) -> Tensor:
        """`hidden(batch).targets` (N,D). A family may compute them at lower cost than all of `hidden`."""
        return self.hidden(batch).targets

    def generate(
        self, batch: Batch, length: int, how: Decoding = GREEDY, rng: torch.Generator | None = None
    ) -> Tensor:
        """Generates up to `length` tokens after an objective's prompt: (B,length).

        PADDING stands after a stop token, which is kept, and where a row has fewer blanks. rng: for samples.
        Raises UserError for a prompt that cannot be continued, for an option that this family's decoder does
        not have, and if dropout is on.
        """
        if (how.fill, how.rounds) != (GREEDY.fill, GREEDY.rounds):
            raise UserError(f"fill and rounds are for an encoder_ae; {self.kind} writes {self.decoding}")
        how = self.ready(batch, length, how)
        if length == 0:
            return batch.tokens.new_empty(len(batch.tokens), 0)
        with torch.inference_mode():  # a tenth faster a token than no_grad if layers are small
            written = write(self.steps(batch, length), length, how, rng)
        return written.clone()  # an ordinary tensor, on which a family may be trained

    def ready(self, batch: Batch, length: int, how: Decoding, never: Tensor | None = None) -> Decoding:
        """Checks prompt, length and `how` for this family and returns `how`; `never` as in `generate.check`.

        Raises UserError as `generate.check` does, for tokens outside the vocabulary, and if dropout is on.
        """
        if self.training and self.config.drops:
            raise UserError(
                "the family is in training mode, where dropout changes what is written; call family.eval()"
            )
        check_tokens("prompt", batch.tokens, self.config.vocabulary)
        if self.layout == "source_target" and batch.source is not None:
            check_tokens("source", batch.source, self.config.vocabulary)
        return check(how, length, self.config.vocabulary, batch.device, never)

    def steps(self, batch: Batch, length: int) -> Steps:
        """The batch as steps that write one token at a time from left to right, with a cache.

        Raises UserError for a family that does not write from left to right.
        """
        raise UserError(f"{self.kind} has no steps from left to right: it writes by {self.decoding}")

    @abstractmethod
    def flops(self, batch: Batch) -> int:
        """FLOPs of one forward pass over the batch, with the head; masked attention counts too."""

    @abstractmethod
    def reachable(self, batch: Batch, declared: MaskBuilder | None = None) -> Reach:
        """Which input cells each row of each layer may depend on, (B,R,cells) bool.

        Keys of the result are streams of rows, in the order of the pass; each has one entry a layer, whose
        keys are streams of input cells. Computed from the family's own masks, or from `declared` in their
        place. Raises UserError for `declared` if the family has more than one mask.
        """

    @classmethod
    def depths(cls, reference: CoreConfig, stacks: Stacks | None = None) -> Iterator[CoreConfig]:
        """The depths to try when this family is sized to match a single stack, the preferred one first.

        Raises UserError for `stacks` if the family has a single stack.
        """
        if stacks is not None:
            raise UserError(
                f"family.stacks={stacks} is for an encoder_decoder; {cls.kind} has one stack and allows null "
                "alone: leave it out"
            )
        yield reference

    @classmethod
    def times_parameters(cls, stacks: Stacks | None) -> int:
        """The number of parameters relative to a single stack's, when parameters are matched."""
        return 1

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden (N,D) -> (N,V)."""
        return self.head(hidden)

    def nats(self, hidden: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """The weighted sum of -log p(target) in nats; hidden (N,D), targets (N) int64, weights (N).

        The logits (N,V) are computed chunk by chunk, unless a subclass has `logits` of its own.
        """
        if type(self).logits is not Family.logits:  # a subclass changes logits, for example caps them
            return cross_entropy(self.logits(hidden), targets, weights)
        return self.head.nats(hidden, targets, weights)

    def score(self, batch: Batch) -> Score:
        """The log-probability of each target in one teacher-forced pass.

        Call `eval()` first: in training mode dropout is on, and two calls give different scores.
        """
        index, targets, weights = batch.asked()
        with by_onednn(batch.device):
            logp = self.logits(self.hidden(batch).targets).float().log_softmax(dim=-1)
        is_target = weights > 0
        nats = torch.zeros(batch.tokens.numel(), device=logp.device)
        nats.index_add_(0, index, logp.gather(1, targets[:, None]).squeeze(1) * is_target)
        greedy = torch.zeros(len(nats), dtype=torch.bool, device=logp.device)
        greedy.index_put_((index,), (logp.argmax(dim=-1) == targets) & is_target, accumulate=True)
        B, T = batch.tokens.shape
        nats, greedy = (rearrange(each, "(b t) -> b t", b=B, t=T) for each in (nats, greedy))
        return Score(nats, self.unit, greedy)


def take_targets(rows: Tensor, batch: Batch) -> Tensor:
    """rows (B,T,D) -> (N,D) at `batch.target_index`; padded entries read cell 0, and their weight is 0."""
    return rearrange(rows, "b t d -> (b t) d")[batch.asked()[0]]
