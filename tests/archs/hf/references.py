"""Cases by name, the classes that open them, and one small input that each of them reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import PreTrainedModel

from archs.hf.cases import CASES, build
from archs.hf.references import REFERENCES
from objectives.base import Vocabulary

# A vocabulary of the cases' size, for objectives on imported models.
SPECIALS = 12
VOCABULARY = Vocabulary(
    size=61,
    word_starts=torch.arange(61) % 2 == 0,
    special=torch.arange(61) < SPECIALS,
    pad=0,
    bos=1,
    eos=2,
    mask=3,
    cls=4,
    sep=5,
    sentinels=tuple(range(6, SPECIALS)),
    sentence_ends=torch.arange(61) % 10 == 0,
)
NAMES = {
    f"{model} {configuration}": (model_type, arguments)
    for model, configuration, model_type, arguments in CASES
}
ANY = [next(each for each in CASES if each[2] == model_type) for model_type in REFERENCES]
ONE_EACH = {model_type: arguments for _, _, model_type, arguments in ANY}
AUTO = {
    "encoder_ae": transformers.AutoModelForMaskedLM,
    "decoder_ar": transformers.AutoModelForCausalLM,
    "prefix_lm": transformers.AutoModelForCausalLM,
    "permuted_lm": transformers.AutoModelForCausalLM,
    "encoder_decoder": transformers.AutoModelForSeq2SeqLM,
}


def made(model_type: str, seed: int = 0, **changes: Any) -> PreTrainedModel:
    """The architecture's first case, with these options changed."""
    return build(model_type, ONE_EACH[model_type] | changes, seed)


def saved(folder: Path, model_type: str, **changes: Any) -> Path:
    made(model_type, **changes).save_pretrained(folder)
    return folder


def open_auto(model_type: str, folder: Path) -> PreTrainedModel:
    return AUTO[REFERENCES[model_type].family.kind].from_pretrained(folder).eval()


@torch.no_grad()
def logits_of(model: PreTrainedModel, seed: int = 0) -> Tensor:
    """(2,9,V) of random tokens, none of them special."""
    rng = torch.Generator().manual_seed(seed)
    tokens = torch.randint(3, model.config.vocab_size, (2, 9), generator=rng)
    given = {"input_ids": tokens}
    if model.config.is_encoder_decoder:
        given["decoder_input_ids"] = tokens.flip(1)
    return model(**given).logits
