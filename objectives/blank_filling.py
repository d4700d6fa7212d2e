"""Scoring and generating continuations with families that fill blanks."""

from __future__ import annotations

import torch
from torch import Tensor

from archs.batch import Batch
from objectives.base import Objective
from objectives.layouts import blanks, pair


class BlankFilling(Objective):
    """For the in-place and the permuted layout: the continuation, or blanks for it, follow the context."""

    def ask(self, context: Tensor, continuation: Tensor) -> Batch:
        """In place, nothing is hidden, since the family masks each target itself. Permuted: left to right."""
        return pair(self.layout, context, None, continuation, None, self.vocabulary)

    def prompt(self, context: Tensor, length: int) -> Batch:
        return blanks(self.layout, context, torch.full((len(context),), length), self.vocabulary)
