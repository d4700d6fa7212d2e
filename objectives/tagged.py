"""Finetuning on labelled words: a word's label is predicted from one of its rows."""

from __future__ import annotations

from einops import rearrange, repeat
from torch import Tensor, nn

from archs.batch import Batch
from archs.families.family import Family
from objectives.base import Layout, Loss, Objective, Vocabulary
from objectives.layouts import parts_marked, read
from objectives.loss import weighted_cross_entropy


class Tagged(Objective):
    """Built from labelled texts with `read`, not from windows: a linear layer on one row of each word.

    Each text here has two words, of two pieces and of one, with the rows of their last pieces. The second
    text's last word has no row, so it has no target:

    >>> texts = torch.tensor([[4, 40, 80, 41, 5], [4, 42, 81, 5, 0]])
    >>> segments = torch.tensor([[0, 0, 0, 0, 0], [0, 0, 0, 0, -1]])
    >>> rows, labels = torch.tensor([[2, 3], [2, -1]]), torch.tensor([[1, 0], [1, 0]])
    >>> batch = Tagged(VOCABULARY, "concatenated", classes=3).read(texts, segments, rows, labels)
    >>> show(batch, "tokens", "segments", "extras.rows", "extras.labels")
    tokens          4 40 80 41  5
                    4 42 81  5  0
    segments        0  0  0  0  0
                    0  0  0  0 -1
    extras.rows     2  3
                    2 -1
    extras.labels   1  0
                    1  0
    >>> batch.totals["words"]
    3.0
    """

    name = "tagged"
    families = ("encoder_ae", "decoder_ar", "encoder_decoder", "prefix_lm", "permuted_lm")

    def __init__(self, vocabulary: Vocabulary, layout: Layout, classes: int) -> None:
        super().__init__(vocabulary, layout)
        self.classes = classes

    def read(self, tokens: Tensor, segments: Tensor, rows: Tensor, labels: Tensor) -> Batch:
        """tokens, segments (B,T), -1 = padding; rows, labels (B,K): of each word; row -1 = no target."""
        batch = read(self.layout, tokens, segments, self.vocabulary)
        batch.extras.update(rows=rows, labels=labels)
        batch.totals["words"] = float((rows >= 0).sum())
        return batch

    def modules(self, family: Family) -> nn.ModuleDict:
        return nn.ModuleDict({"answer": nn.Linear(family.config.width, self.classes)})

    def answers(self, family: Family, modules: nn.ModuleDict, batch: Batch) -> Tensor:
        """Logits (B,K,classes); those of words without a row are meaningless."""
        rows = batch.extras["rows"].clamp(min=0)
        states = family.hidden(parts_marked(batch, family, self.vocabulary)).rows
        return modules["answer"](states.gather(1, repeat(rows, "b k -> b k d", d=states.shape[2])))

    def loss(self, family: Family, modules: nn.ModuleDict, batch: Batch) -> Loss:
        """Term "answer", the mean over the words that have a row."""
        logits = self.answers(family, modules, batch)
        weights = (batch.extras["rows"] >= 0).float()
        value = weighted_cross_entropy(
            rearrange(logits, "b k classes -> (b k) classes"),
            rearrange(batch.extras["labels"], "b k -> (b k)"),
            rearrange(weights, "b k -> (b k)"),
            batch.totals["words"],
        )
        return Loss(value, {"answer": value.detach()})
