"""Sentence-order prediction beside masked language modelling (Lan et al. 2020, ALBERT)."""

from __future__ import annotations

from objectives.sentence_pair import SentencePair


class SOP(SentencePair):
    """Neighbours (label 0) or, with probability 1/2, swapped (label 1).

    [cls] is 4, [sep] 5, and 41 is hidden:

    >>> sop = SOP(VOCABULARY, "in_place", select=hiding(41), replace=mask_only)
    >>> text = windows([[40, 41]])
    >>> outcomes(lambda rng: sop.build(text, rng), "tokens", "targets", "token_types", "pair_label")
    tokens        4  3  5 40  5
    targets       4 41  5 40  5
    token_types   0  0  0  1  1
    pair_label    1
    tokens        4 40  5  3  5
    targets       4 40  5 41  5
    token_types   0  0  0  1  1
    pair_label    0
    """

    name = "sop"
    answers = ("next", "previous")
