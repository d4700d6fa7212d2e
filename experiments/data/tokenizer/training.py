"""Trains a byte-level BPE on a corpus."""

from __future__ import annotations

from collections.abc import Iterable

import tokenizers

from archs.errors import UserError
from experiments.data.tokenizer.special import SPECIALS
from experiments.data.tokenizer.tokenizer import Tokenizer, roles_by_name

SMALLEST = 256 + len(SPECIALS)  # each byte is a piece, so that every text can be encoded


def train(texts: Iterable[str], size: int) -> Tokenizer:
    """Trains a byte-level BPE (Sennrich et al. 2016; Radford et al. 2019) with SPECIALS as its first ids.

    `size` is the vocabulary's, special tokens included; a small text gives a smaller one. Raises UserError
    for a size below SMALLEST.
    """
    from tokenizers import decoders, models, pre_tokenizers, trainers

    if size < SMALLEST:
        raise UserError(
            f"size.vocabulary={size} is too small: 256 bytes and {len(SPECIALS)} special tokens need "
            f"{SMALLEST}; give at least that"
        )
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIALS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return Tokenizer(backend, roles_by_name(backend))
