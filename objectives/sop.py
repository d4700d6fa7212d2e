"""Sentence-order prediction beside masked language modelling (Lan et al. 2020, ALBERT)."""

from __future__ import annotations

from objectives.sentence_pair import SentencePair


class SOP(SentencePair):
    """Neighbours (label 0) or, with probability 1/2, swapped (label 1).

    The text `a b c d`, cut behind `a`, becomes `[cls] a [sep] b c d [sep]`, or `[cls] b c d [sep] a [sep]`.
    """

    name = "sop"
    answers = ("next", "previous")
