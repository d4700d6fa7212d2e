"""How families that fill in blanks are asked for a continuation and made to write one."""

from __future__ import annotations

import torch
from torch import Tensor

from archs.batch import Batch
from objectives.base import Objective
from objectives.layouts import blanks, pair


class BlankFilling(Objective):
    """For the in-place and the permuted layout: the continuation stands behind the context, or blanks do."""

    def ask(self, context: Tensor, continuation: Tensor) -> Batch:
        """In place nothing is hidden: the family hides the asked tokens one at a time. Permuted: in order."""
        return pair(self.layout, context, None, continuation, None, self.vocabulary)

    def prompt(self, context: Tensor, length: int) -> Batch:
        return blanks(self.layout, context, torch.full((len(context),), length), self.vocabulary)
