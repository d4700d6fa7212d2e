"""The special tokens of a tokenizer trained here, and the usual names of them in other tokenizers."""

from __future__ import annotations

import re

# T5 (Raffel et al. 2020) hides spans of mean length 3 at a rate of 15%. A window of W tokens then needs
# 0.05 W sentinels and a closing one: 7 at 128, 27 at 512. 64 are enough for 1,024 and take one row in 64 of
# a vocabulary of 4,096. T5's own 100 are for its longer inputs.
SENTINELS = 64
SPECIALS = (
    "<pad>",
    "<s>",
    "</s>",
    "<mask>",
    "<cls>",
    "<sep>",
    *(f"<extra_id_{number}>" for number in range(SENTINELS)),
)

# A tokenizers file does not name the roles of its special tokens, so they are found by these common names.
NAMES = {
    "pad": ("<pad>", "[PAD]", "<|pad|>"),
    "bos": ("<s>", "<bos>", "[BOS]", "<|startoftext|>", "<|begin_of_text|>"),
    "eos": ("</s>", "<eos>", "[EOS]", "<|endoftext|>", "<|end_of_text|>"),
    "mask": ("<mask>", "[MASK]"),
    "cls": ("<cls>", "[CLS]"),
    "sep": ("<sep>", "[SEP]"),
}
SENTINEL = re.compile(r"<extra_id_(\d+)>")
