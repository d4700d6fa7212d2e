"""A trained run as a folder that transformers opens."""

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
    """Writes the run's family and tokenizer; returns the lines that say what was written and how to open it.

    Raises UserError for a folder that holds something or cannot be written, and for what `to_hf` refuses.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"'{folder}' is there and not empty; give a folder that is empty or not there yet")
    asked = restore(run)
    family, vocabulary = asked.family, asked.corpus.vocabulary
    tokenizer = wrapped(asked.corpus.tokenizer, vocabulary, type(family))
    start = {"decoder_start_token_id": vocabulary.bos} if family.layout == "source_target" else {}
    with whole_folder(folder) as place:
        opened_by = to_hf(family, place, tokenizer, model_type, **start)
    return said(folder, family, opened_by)


def wrapped(tokenizer: Tokenizer, vocabulary: Vocabulary, family: type[Family]) -> PreTrainedTokenizerFast:
    """The tokenizer for transformers: it reads a text as training did and adds no tokens of its own.

    A special token's name in a text is text, as in training; `split_special_tokens=False` in a call reads it
    as the token. Prompts are padded on the left where the family goes on from their last token.
    """
    layout = json.loads(tokenizer.backend.to_str())
    layout["post_processor"] = None  # what would add cls and sep
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


def said(folder: Path, family: Family, opened_by: str) -> str:
    auto, place = AUTO_CLASSES[CLASSES[family.kind]], json.dumps(str(folder), ensure_ascii=False)
    own = opened_by == CLASSES[family.kind].__name__
    trust = ", trust_remote_code=True" if own else ""
    return "\n".join(
        [
            f"{opened_by} in '{folder}'; open it with",
            f"    from transformers import {auto}, AutoTokenizer",
            f"    model = {auto}.from_pretrained({place}{trust}).eval()",
            f"    tokenizer = AutoTokenizer.from_pretrained({place}{trust})",  # it looks at the config too
        ]
    )
