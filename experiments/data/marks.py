"""Marks the tokens of a text with the words of a segmenter and the chunks of an annotator.

A chunk is a named entity or a phrase.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from archs.errors import UserError
from experiments.data.characters import first_ink, inside_characters
from experiments.recipe.imports import check_call, import_path
from objectives.marks import ANNOTATED, ENTITY, ENTITY_START, PHRASE, PHRASE_START, WORD

Segment = Callable[[str], Iterable[str]]  # words that concatenate to the text
Annotate = Callable[[str], Iterable[tuple[int, int, str]]]  # (start, end, kind): characters, end excluded

BITS = {"entity": (ENTITY, ENTITY_START), "phrase": (PHRASE, PHRASE_START)}


@dataclass(frozen=True)
class Marker:
    """A segmenter, an annotator or both. `key` is part of the cache's key and changes with their code."""

    segment: Segment | None
    annotate: Annotate | None
    names: tuple[str, str]  # of segmenter and annotator, for error messages
    key: str

    def __call__(self, text: str, spans: np.ndarray, word_starts: np.ndarray) -> np.ndarray:
        """Returns the marks of the text's n tokens: (n) uint8, bits of objectives.marks.

        spans (n,2) int64: the characters of each token. word_starts (n) bool: which tokens begin a word by
        their spelling, used if there is no segmenter.

        A word of the segmenter begins with the first token that begins in it. So a token never spans two
        words: the token `的人` makes one word of two. No word begins inside what a reader sees as one
        character, such as an emoji of several code points. A chunk covers whole words of the segmenter.
        Raises UserError for words that do not make up the text, and for chunks outside it or overlapping.
        """
        ink = first_ink(text, spans)
        reached = np.maximum.accumulate(np.concatenate(([0], spans[:, 1])))[:-1]
        whole = spans[:, 0] >= reached  # False: the token begins inside a character
        starts, marks = word_starts, np.zeros(len(spans), dtype=np.uint8)
        if self.segment is not None:
            begun = np.concatenate(([0], self._boundaries(text).cumsum()))
            starts = whole = whole & (begun[ink + 1] > begun[np.minimum(reached, ink)])
        marks[starts] |= WORD
        if self.annotate is not None:
            marks |= ANNOTATED
            for kind, chunks in self._chunks(text).items():
                inside, start = BITS[kind]
                number = _numbers(chunks, spans, ink, whole, len(text))
                marks[number >= 0] |= inside
                marks[(number >= 0) & (number != np.concatenate(([-1], number[:-1])))] |= start
        return marks

    def _boundaries(self, text: str) -> np.ndarray:
        """Returns whether a word of the segmenter begins at each character: (characters) bool."""
        assert self.segment is not None
        who = f"{self.names[0]} on the text {_shown(text)}"
        words = _listed(self.segment(text), who, "words")
        for word in words:
            if not isinstance(word, str):
                raise UserError(f"{who} gave {word!r}, a {type(word).__name__}; give words, as strings")
        if (joined := "".join(words)) != text:
            at = next((i for i, pair in enumerate(zip(joined, text, strict=False)) if pair[0] != pair[1]), -1)
            at = min(len(joined), len(text)) if at < 0 else at
            raise UserError(
                f"{who} changed it: from character {at} on came {joined[at : at + 10]!r}, the text has "
                f"{text[at : at + 10]!r}; its words must concatenate to the text, white space included"
            )
        begins = np.zeros(len(text) + 1, dtype=bool)
        begins[np.concatenate(([0], np.cumsum([len(word) for word in words], dtype=np.int64)))] = True
        return begins[:-1] & ~inside_characters(text)

    def _chunks(self, text: str) -> dict[str, list[tuple[int, int]]]:
        """Returns {kind: [(start, end), …]} of the annotator's chunks, in order."""
        assert self.annotate is not None
        who = f"{self.names[1]} on the text {_shown(text)}"
        by_kind: dict[str, list[tuple[int, int]]] = {kind: [] for kind in BITS}
        for chunk in _listed(self.annotate(text), who, "(start, end, kind)"):
            if not (isinstance(chunk, tuple | list) and [type(part) for part in chunk] == [int, int, str]):
                raise UserError(f"{who} gave {chunk!r}; give (start, end, kind): two integers and a string")
            start, end, kind = chunk
            if kind not in BITS:
                raise UserError(f"{who} gave the kind {kind!r}; the kinds are {', '.join(BITS)}")
            if not 0 <= start < end <= len(text):
                raise UserError(
                    f"{who} gave {chunk!r}, outside the text or empty; start and end are places among its "
                    f"{len(text)} characters, the end excluded"
                )
            by_kind[kind].append((start, end))
        for kind, chunks in by_kind.items():
            chunks.sort()
            for first, second in pairwise(chunks):
                if second[0] < first[1]:
                    raise UserError(
                        f"{who} gave {kind} {first} and {second}, which overlap; give one of them"
                    )
        return by_kind


def marker(segmenter: str | None, annotator: str | None, user_path: str | None = None) -> Marker | None:
    """Returns the marker of the recipe's data.segmenter and data.annotator, None if neither is given.

    segmenter: "jieba" or the import path of a function text -> words. annotator: the import path of a
    function text -> (start, end, kind). The key holds both paths and a hash of the files that define them,
    but not of what those files import or read, such as a dictionary. Raises UserError if one cannot be found.
    """
    if segmenter is None and annotator is None:
        return None
    segment, annotate = None, None
    key = []
    if segmenter == "jieba":
        segment, version = _jieba()
        key.append(f"jieba {version}")
    elif segmenter is not None:
        segment = _function(segmenter, user_path, "data.segmenter")
        key.append(f"segmenter {segmenter} {_source(segmenter)}")
    if annotator is not None:
        annotate = _function(annotator, user_path, "data.annotator")
        key.append(f"annotator {annotator} {_source(annotator)}")
    names = f"data.segmenter '{segmenter}'", f"data.annotator '{annotator}'"
    return Marker(segment, annotate, names, "\0".join(key))


def _numbers(
    chunks: list[tuple[int, int]], spans: np.ndarray, ink: np.ndarray, whole: np.ndarray, length: int
) -> np.ndarray:
    """Returns the number of each token's chunk: (n), -1 = none.

    A token that is not `whole` belongs to the chunk of the token before it.
    """
    number = np.full(length, -1)
    for chunk, (start, end) in enumerate(chunks):
        number[start:end] = chunk
    covered = np.append(np.where(number < 0, length, np.arange(length)), length)
    covered = np.minimum.accumulate(covered[::-1])[::-1][ink]  # the first covered character from there on
    touched = np.where(covered < spans[:, 1], np.append(number, -1)[covered], -1)
    heads = np.flatnonzero(whole | (np.arange(len(whole)) == 0))
    return np.repeat(np.maximum.reduceat(touched, heads), np.diff(np.append(heads, len(whole))))


def _function(path: str, user_path: str | None, what: str) -> Any:
    function = import_path(path, user_path, what)
    if not callable(function):
        raise UserError(f"{what} '{path}' is no function but {function!r}; name one that takes a text")
    check_call(function, ["text"], f"{what} '{path}'")
    return function


def _source(path: str) -> str:
    """Returns the SHA-256 of the file of an import path's module, "" if the module has no file."""
    file = getattr(sys.modules[path.rpartition(".")[0]], "__file__", None)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""


def _jieba() -> tuple[Segment, str]:
    try:
        import jieba
    except ImportError as error:
        raise UserError(
            "data.segmenter=jieba needs the package jieba; install it with pip install 'pentarch[jieba]'"
        ) from error
    jieba.setLogLevel(logging.WARNING)  # else it reports how it loads its dictionary
    return jieba.cut, jieba.__version__


def _listed(given: Any, who: str, what: str) -> list[Any]:
    try:
        return list(given)
    except TypeError as error:
        if given is not None and hasattr(given, "__iter__"):
            raise  # an error inside the user's generator
        raise UserError(f"{who} gave {type(given).__name__}; give a list or a generator of {what}") from error


def _shown(text: str) -> str:
    return repr(text[:20] + ("…" if len(text) > 20 else ""))
