"""Writes a trained run as a folder that transformers can open."""

from __future__ import annotations

import json
from pathlib import Path

import tokenizers
from transformers import PreTrainedTokenizerFast

from archs.errors import UserError
from archs.families.family import Family
from archs.hf import to_hf
from archs.hf.modeling_pentarch import AUTO_CLASSES, CLASSES
from experiments.data.tokenizer.special import NAMES
from experiments.data.tokenizer.tokenizer import Tokenizer
from experiments.runs.run import restore
from experiments.storage.whole import whole_folder
from objectives.base import Vocabulary


def export_run(run: Path, folder: Path, model_type: str | None = None) -> str:
    """Writes the run's model and tokenizer. Returns the lines that tell how to open the folder.

    Raises UserError if the folder is not empty or cannot be written, and as `to_hf` does.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"'{folder}' is there and not empty; give a folder that is empty or not there yet")
    trained = restore(run)
    family, vocabulary = trained.family, trained.corpus.vocabulary
    tokenizer = wrapped(trained.corpus.tokenizer, vocabulary, type(family))
    start = {"decoder_start_token_id": vocabulary.bos} if family.layout == "source_target" else {}
    with whole_folder(folder) as partial:
        opened_by = to_hf(family, partial, tokenizer, model_type, **start)
    return how_to_open(folder, family, opened_by)


def wrapped(tokenizer: Tokenizer, vocabulary: Vocabulary, family: type[Family]) -> PreTrainedTokenizerFast:
    """Returns the tokenizer for transformers. It reads a text as training did and adds no special tokens.

    A special token's name in a text is read as text, as in training; a call with
    `split_special_tokens=False` reads it as the token. Prompts are padded on the left if the family continues
    after their last token.
    """
    layout = json.loads(tokenizer.backend.to_str())
    layout["post_processor"] = None  # it would add cls and sep
    backend = tokenizers.Tokenizer.from_str(json.dumps(layout))
    ids = {role: getattr(vocabulary, role) for role in NAMES}
    special = [token for token, entry in backend.get_added_tokens_decoder().items() if entry.special]
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        extra_special_tokens=[backend.id_to_token(token) for token in special if token not in ids.values()],
        split_special_tokens=True,
        clean_up_tokenization_spaces=False,
        padding_side="left" if family.layout in ("concatenated", "permuted") else "right",
        **{f"{role}_token": backend.id_to_token(token) for role, token in ids.items() if token is not None},
    )


def how_to_open(folder: Path, family: Family, opened_by: str) -> str:
    """Returns the lines that name the class `opened_by` and the Python code that opens the folder."""
    auto, place = AUTO_CLASSES[CLASSES[family.kind]], json.dumps(str(folder), ensure_ascii=False)
    own = opened_by == CLASSES[family.kind].__name__
    trust = ", trust_remote_code=True" if own else ""
    return "\n".join(
        [
            f"{opened_by} in '{folder}'; open it with",
            f"    from transformers import {auto}, AutoTokenizer",
            f"    model = {auto}.from_pretrained({place}{trust}).eval()",
            f"    tokenizer = AutoTokenizer.from_pretrained({place}{trust})",  # it reads the config too
        ]
    )
