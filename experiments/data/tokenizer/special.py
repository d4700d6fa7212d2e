"""The special tokens of a tokenizer trained here, and the names that others give theirs."""

from __future__ import annotations

import re

# T5 (Raffel et al. 2020) hides spans of mean length 3 at a rate of 15%: 0.05 W sentinels and a closing one
# for a window of W tokens, 7 at 128 and 27 at 512. 64 cover windows of 1,024 and cost a vocabulary of 4,096
# a sixty-fourth of its rows; T5's 100 are for its longer packings.
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

# Where a tokenizers file names no roles, its special tokens are known by the names the field gives them.
NAMES = {
    "pad": ("<pad>", "[PAD]", "<|pad|>"),
    "bos": ("<s>", "<bos>", "[BOS]", "<|startoftext|>", "<|begin_of_text|>"),
    "eos": ("</s>", "<eos>", "[EOS]", "<|endoftext|>", "<|end_of_text|>"),
    "mask": ("<mask>", "[MASK]"),
    "cls": ("<cls>", "[CLS]"),
    "sep": ("<sep>", "[SEP]"),
}
SENTINEL = re.compile(r"<extra_id_(\d+)>")
