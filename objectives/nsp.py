"""Next-sentence prediction beside masked language modelling (Devlin et al. 2019), and its three-way form."""

from __future__ import annotations

from objectives.sentence_pair import SentencePair


class NSP(SentencePair):
    """Neighbours (label 0) or, with probability 1/2, a second part from another row (label 1).

    Windows do not tell to which document a row belongs, so the other row may be of the same document. A pair
    is labelled only if the batch has at least two rows of one full document. [cls] is 4, [sep] 5, and nothing
    is hidden here:

    >>> text = windows([[40, 41], [50, 51]])
    >>> batch = NSP(VOCABULARY, "in_place", select=hiding()).build(text, seeded(2))
    >>> show(batch, "tokens", "pair_label")
    tokens       4 40  5 41  5
                 4 50  5 41  5
    pair_label   0
                 1
    """

    name = "nsp"
    answers = ("next", "random")


class SentenceStructure(SentencePair):
    """StructBERT's sentence objective (Wang et al. 2020): next (0), previous (1), random (2), a third each.

    As in NSP, two rows are needed. StructBERT's word objective (the order of three tokens) is left out.

    >>> text = windows([[40, 41], [50, 51], [60, 61]])
    >>> batch = SentenceStructure(VOCABULARY, "in_place", select=hiding()).build(text, seeded(25))
    >>> show(batch, "tokens", "pair_label")
    tokens       4 40  5 41  5
                 4 51  5 50  5
                 4 60  5 41  5
    pair_label   0
                 1
                 2
    """

    name = "sentence_structure"
    answers = ("next", "previous", "random")
