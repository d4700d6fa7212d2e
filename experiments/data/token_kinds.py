"""What the pieces of a vocabulary are, by Unicode and by their order, whatever the language."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np

from objectives.marks import BLANK, FUNCTION, NUMBER, UPPER

# How many pieces may be the language's commonest words: one in 16, and 256. Of the addresses' 4,096 pieces
# these reach from " the" to " such" and " than".
FUNCTION_SHARE, FUNCTION_WORDS = 16, 256
PART = "\ufffd"  # what the bytes of a part of a character are read as


def kinds_of(texts: Sequence[str], symbols: Sequence[int], special: np.ndarray) -> np.ndarray:
    """(V) uint8, bits of objectives.marks, of pieces that read as these texts (V).

    FUNCTION: one of the language's commonest words. They are the pieces of letters that stand first, for a
    BPE's merges, a SentencePiece model's scores and BERT's list put commoner ones earlier. Left out are
    pieces spelled in one symbol (symbols (V): in how many), since an alphabet has no such order, so
    WordPiece's one-letter words are missed; and upper-case ones of more than one letter, which are names.
    Parts of words are among them, which does no harm: only a word of one piece is asked. The same word in
    another case, or with other white space before it, is one too. GPT-2's byte-level pattern parts vowel
    signs from their letters, so few words of an Indic script are one piece there, and few are found.
    """
    kinds = np.array([_kind(text) for text in texts], dtype=np.uint8)
    words = [text.strip() for text in texts]
    common = [
        token
        for token, word in enumerate(words)
        if symbols[token] > 1
        and not special[token]
        and all(unicodedata.category(character)[0] in "LM" for character in word or " ")
        and (len(word) == 1 or not kinds[token] & UPPER)
    ]
    function = {
        words[token].casefold() for token in common[: min(FUNCTION_WORDS, len(texts) // FUNCTION_SHARE)]
    }
    kinds[[token for token, word in enumerate(words) if word.casefold() in function]] |= FUNCTION
    return np.where(special, BLANK, kinds).astype(np.uint8)


def _kind(text: str) -> int:
    """By the first letter or digit of the text."""
    for character in text:
        category = unicodedata.category(character)
        if category[0] == "N":
            return NUMBER
        if category[0] in "LM" or character == PART:
            return UPPER if category in ("Lu", "Lt") else 0
    return BLANK
