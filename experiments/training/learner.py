"""What is compiled, sharded and trained: the family and what its objective trains with it."""

from __future__ import annotations

from torch import nn

from archs.batch import Batch
from archs.families.family import Family
from objectives.base import Loss, Objective


class Learner(nn.Module):
    """What compile, DDP and FSDP2 wrap; `extra` is counted in the audit, dropped at export."""

    def __init__(self, family: Family, objective: Objective) -> None:
        super().__init__()
        self.family = family
        self.objective = objective
        self.extra = objective.modules(family)

    def forward(self, batch: Batch) -> Loss:
        return self.objective.loss(self.family, self.extra, batch)
