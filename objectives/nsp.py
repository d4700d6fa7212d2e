"""Next-sentence prediction beside masked language modelling (Devlin et al. 2019), and its three-way form."""

from __future__ import annotations

from objectives.sentence_pair import SentencePair


class NSP(SentencePair):
    """Neighbours (label 0) or, with probability 1/2, the second from another row (label 1).

    The texts `a b c d` and `e f g h`, the first cut behind `a`, make `[cls] a [sep] b c d [sep]`, or
    `[cls] a [sep] f g h [sep]`. Windows do not tell which document a row is of, so of two rows of one
    document the second may stand in for another's. Needs two such rows in the batch: without them
    nothing is asked.
    """

    name = "nsp"
    answers = ("next", "random")


class SentenceStructure(SentencePair):
    """StructBERT's sentence objective (Wang et al. 2020): next (0), previous (1), random (2), a third each.

    The texts `a b c d` and `e f g h`, the first cut behind `a`, make `[cls] a [sep] b c d [sep]`,
    `[cls] b c d [sep] a [sep]` or `[cls] a [sep] f g h [sep]`. As for NSP, two rows are needed.
    StructBERT's word objective (three tokens in order) is not part of it.
    """

    name = "sentence_structure"
    answers = ("next", "previous", "random")
