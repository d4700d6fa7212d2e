"""A random input in two forms: our batch, and the keyword arguments of a Hugging Face model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from einops import repeat
from torch import Tensor
from torch.nn import functional

from archs.batch import Batch
from archs.errors import UserError
from archs.families.family import Family
from archs.hf.references import REFERENCES

LENGTH, SOURCE = 13, 11
SHORTEST = 6  # cells of a row: each row then has some tokens beside its padding
# Cells of padding on the left and on the right of each row.
PADDING = ((0, 0), (3, 0), (0, 4))


@dataclass(frozen=True)
class Sample:
    """One input in both forms. The logits at the cells with weight are compared."""

    batch: Batch
    theirs: dict[str, Tensor]


def sample_for(family: Family, config: Any, rng: torch.Generator) -> Sample:
    """Random tokens with padding on either side, and the other inputs of the architecture.

    Raises UserError for a model of fewer than two tokens or SHORTEST learned positions.
    """
    room = family.config.max_length if family.config.positions == "learned" else LENGTH
    if family.config.vocabulary < 2 or room < SHORTEST:
        raise UserError(
            f"a model of {family.config.vocabulary} tokens and {family.config.max_length} positions is too "
            f"small to be compared; give one of at least 2 tokens and {SHORTEST} positions"
        )
    target_length, source_length = min(LENGTH, room), min(SOURCE, room)
    pad = getattr(config, "pad_token_id", None)
    pad = 0 if pad is None or pad < 0 else pad

    def text(length: int) -> tuple[Tensor, Tensor]:
        tokens = torch.randint(family.config.vocabulary - 1, (len(PADDING), length), generator=rng)
        tokens += tokens >= pad  # any token but the padding token
        cells = torch.arange(length)
        real = torch.stack([(cells >= left) & (cells < length - right) for left, right in PADDING])
        return tokens.masked_fill(~real, pad), real

    def types(length: int) -> Tensor | None:
        kinds = max(family.config.token_types, 2 if family.config.positions == "transformer_xl" else 0)
        second = (torch.arange(length) >= length // 2).long()
        return repeat(second, "t -> b t", b=len(PADDING)) if kinds > 1 else None

    tokens, real = text(target_length)
    targets = torch.randint(family.config.vocabulary, tokens.shape, generator=rng)
    rest: dict[str, Any] = {"segments": real.long() - 1, "token_types": types(target_length)}
    theirs = {"input_ids": tokens, "attention_mask": real.long()}
    weights = real.float()
    if family.layout == "source_target":
        source, source_real = text(source_length)
        rest |= {"source": source, "source_segments": source_real.long() - 1, "token_types": None}
        theirs = {"input_ids": source, "attention_mask": source_real.long()}
        theirs |= {"decoder_input_ids": tokens, "decoder_attention_mask": real.long()}
    if family.layout == "permuted":
        rank, queries = factorisation(real, rng)
        rest |= {"rank": rank, "queries": queries}
        theirs |= {"perm_mask": hidden_by(rank), "target_mapping": mapping(queries, target_length)}
        theirs["attention_mask"] = real.float()
        weights = ((rank > 0) & sees_something(rank, real)).float()
    if rest["token_types"] is not None:
        theirs["token_type_ids"] = rest["token_types"]
    batch = Batch.of(tokens, targets, weights, **rest)
    counts = REFERENCES[config.model_type].counts
    if counts == "position_ids":
        theirs["position_ids"] = batch.positions
    if counts == "slots":
        batch = replace(batch, positions=slots(tokens), source_positions=slots(batch.source))
    return Sample(batch, theirs)


def factorisation(real: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """rank (B,T), queries (B,M): targets in random order, half of a row's tokens, in the last row all."""
    chance = torch.rand(real.shape, generator=rng).masked_fill(~real, 2.0)
    order = chance.argsort(1).argsort(1) + 1
    count = torch.where(torch.arange(len(real)) == len(real) - 1, real.sum(1), real.sum(1) // 2)
    rank = torch.where(order <= count[:, None], order, 0)
    columns = (rank == 0).long().argsort(dim=1, stable=True)[:, : int(count.max())]
    return rank, columns.masked_fill(torch.arange(columns.shape[1]) >= count[:, None], -1)


def hidden_by(rank: Tensor) -> Tensor:
    """XLNet's perm_mask (B,T,T) for a rank (B,T): 1 where a token must not see another."""
    return 1.0 - ((rank[:, None, :] < rank[:, :, None]) | (rank == 0)[:, None, :]).float()


def sees_something(rank: Tensor, real: Tensor) -> Tensor:
    """(B,T) bool: the cell's query row sees some token.

    In Hugging Face's XLNet a target that sees no token attends to all of them, itself included: the softmax
    over fully masked scores is uniform.
    """
    return ((hidden_by(rank) == 0) & real[:, None, :]).any(2)


def mapping(queries: Tensor, length: int) -> Tensor:
    """XLNet's target_mapping (B,M,T): 1 at the column of query m, all 0 for an unused slot."""
    return functional.one_hot(queries.clamp(min=0), length).float() * (queries >= 0)[:, :, None]


def slots(tokens: Tensor | None) -> Tensor | None:
    return None if tokens is None else repeat(torch.arange(tokens.shape[1]), "t -> b t", b=len(tokens))
