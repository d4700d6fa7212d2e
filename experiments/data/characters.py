"""Finds white space in a text, and the code points that a reader sees as one character."""

from __future__ import annotations

import unicodedata

import numpy as np

JOINERS = (0x200C, 0x200D)  # zero-width non-joiner and joiner
FLAGS, TONES, TAGS = (0x1F1E6, 0x1F1FF), (0x1F3FB, 0x1F3FF), (0xE0020, 0xE007F)


def inside_characters(text: str) -> np.ndarray:
    """Returns whether each code point belongs to the same character as the one before it: (code points) bool.

    True for combining marks, what a zero-width joiner joins, skin tones, tags, and the second half of a flag.
    These are most of the rules of Unicode's annex 29.
    """
    codes = np.frombuffer(text.encode("utf-32-le"), dtype="<u4").astype(np.int64)
    known, place = np.unique(codes, return_inverse=True)
    extends = np.array([unicodedata.category(chr(code))[0] == "M" or code in JOINERS for code in known])
    inside = extends[place] | _within(codes, TONES) | _within(codes, TAGS)
    inside[1:] |= codes[:-1] == JOINERS[1]
    flag, columns = _within(codes, FLAGS), np.arange(len(codes))
    run = np.maximum.accumulate(np.where(flag, -1, columns)) + 1
    inside |= flag & ((columns - run) % 2 == 1)
    inside[:1] = False
    return inside


def first_ink(text: str, spans: np.ndarray) -> np.ndarray:
    """Returns the place of each token's first character that is not white space: (n) int64.

    spans (n,2): the characters of each token. A token of white space alone gets its last character.
    """
    blank = np.fromiter((character.isspace() for character in text), dtype=bool, count=len(text))
    later = np.where(blank, len(text), np.arange(len(text)))
    later = np.minimum.accumulate(later[::-1])[::-1]
    last = np.clip(spans[:, 1] - 1, 0, len(text) - 1)
    return np.minimum(later[np.minimum(spans[:, 0], last)], last)


def _within(codes: np.ndarray, limits: tuple[int, int]) -> np.ndarray:
    return (codes >= limits[0]) & (codes <= limits[1])
