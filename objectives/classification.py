"""Finetuning on labelled texts: a class for each text, in the same way for all families."""

from __future__ import annotations

from torch import Tensor, nn

from archs.batch import Batch
from archs.core.heads import Classifier
from archs.errors import UserError
from archs.families.family import Family
from objectives.base import Layout, Loss, Objective, Vocabulary
from objectives.layouts import read
from objectives.sentence_pair import pair_loss


class Classification(Objective):
    """Built from labelled texts with `read`, not from windows: a linear layer on the mean of a text's rows.

    >>> texts, labels = torch.tensor([[40, 41, 2], [42, 43, 2]]), torch.tensor([2, 0])
    >>> batch = Classification(VOCABULARY, "source_target", classes=3).read(texts, None, labels)
    >>> show(batch, "source", "tokens", "pair_label")
    source      40 41  2
                42 43  2
    tokens       1 40 41
                 1 42 43
    pair_label   2
                 0
    """

    name = "classification"
    families = ("encoder_ae", "decoder_ar", "encoder_decoder", "prefix_lm", "permuted_lm")

    def __init__(self, vocabulary: Vocabulary, layout: Layout, classes: int = 2) -> None:
        super().__init__(vocabulary, layout)
        if classes < 2:
            raise UserError(
                f"objective 'classification': classes={classes} is below 2, the fewest to choose from"
            )
        self.classes = classes

    def read(self, tokens: Tensor, segments: Tensor | None, labels: Tensor) -> Batch:
        """tokens, segments (B,T) with -1 = padding or None; labels (B) in 0..classes-1, -1 = no label."""
        return read(self.layout, tokens, segments, self.vocabulary, pair_label=labels)

    def modules(self, family: Family) -> nn.ModuleDict:
        return nn.ModuleDict({"pair": Classifier(family.config.width, self.classes)})

    def logits(self, family: Family, modules: nn.ModuleDict, batch: Batch) -> Tensor:
        """(B,classes)."""
        return modules["pair"](family.hidden(batch).rows, batch.segments)

    def loss(self, family: Family, modules: nn.ModuleDict, batch: Batch) -> Loss:
        """Term "pair"."""
        value = pair_loss(self.logits(family, modules, batch), batch)
        return Loss(value, {"pair": value.detach()})
