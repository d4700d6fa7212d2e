"""Tells numbers, upper-case words, function words and blanks of a vocabulary apart, in any language."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np

from objectives.marks import BLANK, FUNCTION, NUMBER, UPPER

# At most 256 pieces, and one in 16, are taken as the language's commonest words. Of the addresses' 4,096
# pieces these are " the" to " such" and " than".
FUNCTION_SHARE, FUNCTION_WORDS = 16, 256
PART = "\ufffd"  # how the bytes of a part of a character are decoded


def kinds_of(texts: Sequence[str], symbols: Sequence[int], special: np.ndarray) -> np.ndarray:
    """Returns the kinds of pieces that read as these texts (V): (V) uint8, bits of objectives.marks.

    symbols (V): how many symbols each piece is spelled with.

    FUNCTION: one of the language's commonest words. They are taken to be the first pieces that are made of
    letters, since a BPE's merges, a SentencePiece model's scores and BERT's list put commoner pieces first.
    Two kinds of piece are left out: those of one symbol, since an alphabet is not ordered by frequency (so
    WordPiece's one-letter words are missed), and upper-case ones of several letters, which are names. Parts
    of words are included, which does no harm: objectives look only at words of one piece. The same word in
    another case, or after other white space, is a function word too. GPT-2's byte-level pattern separates
    vowel signs from their letters, so few words of an Indic script are one piece, and few are found.
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
    """Returns the kind of a text by its first letter or digit."""
    for character in text:
        category = unicodedata.category(character)
        if category[0] == "N":
            return NUMBER
        if category[0] in "LM" or character == PART:
            return UPPER if category in ("Lu", "Lt") else 0
    return BLANK
