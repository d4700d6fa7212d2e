"""The tokenizer of a Hugging Face model, adapted to the run that is made of the model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import tokenizers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from archs.errors import UserError
from archs.families.family import Family
from archs.hf.modeling_pentarch import PentarchConfig
from experiments.data.tokenizer.tokenizer import Tokenizer, load
from experiments.data.tokenizer.vocabulary import vocabulary
from experiments.runs.hugging_face.exported import wrapped

FILES = ("tokenizer.json", "vocab.json", "vocab.txt", "*.model")


def tokenizer_of(place: Path, model: PreTrainedModel, family: Family) -> PreTrainedTokenizerFast:
    """Returns the model's tokenizer, with an id for each embedding and the decoder's first token as bos.

    Raises UserError if the folder has no tokenizer, or one with more ids than the model has embeddings.
    """
    if not any(file for name in FILES for file in place.glob(name)):
        raise UserError(f"no tokenizer in '{place}'; save the model's own there: tokenizer.save_pretrained")
    # In a folder exported by pentarch, transformers would first read a config that it does not know.
    own = model.config.model_type == PentarchConfig.model_type
    tokenizer = _filled(load(place / "tokenizer.json" if own else place), family.config.vocabulary)
    known = vocabulary(tokenizer)
    if family.layout == "source_target":
        known = replace(known, bos=_start(model))
    return wrapped(tokenizer, known, type(family))


def _filled(tokenizer: Tokenizer, size: int) -> Tokenizer:
    """Adds special tokens for embeddings without a piece, of which T5 has 28, so that they are never text."""
    if tokenizer.size > size:
        raise UserError(
            f"the tokenizer has {tokenizer.size:,} ids and the model {size:,} embeddings; save the "
            "model with its own tokenizer"
        )
    backend = tokenizers.Tokenizer.from_str(tokenizer.backend.to_str())
    backend.add_special_tokens([f"<unused_{token}>" for token in range(tokenizer.size, size)])
    return Tokenizer(backend, tokenizer.roles)


def _start(model: PreTrainedModel) -> int:
    """Returns the token that the model's decoder reads first: pad for T5, eos for BART."""
    for config in (model.config, getattr(model, "generation_config", None)):
        token = getattr(config, "decoder_start_token_id", None)
        if token is not None:
            return token
    raise UserError(
        "config.json names no decoder_start_token_id; set it to what the decoder reads first, such as the id "
        "of the padding token for a T5"
    )
