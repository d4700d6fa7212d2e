"""The module that is compiled, sharded and trained: a family, and the modules that its objective adds."""

from __future__ import annotations

from torch import nn

from archs.batch import Batch
from archs.families.family import Family
from objectives.base import Loss, Objective


class Learner(nn.Module):
    """Family and objective as one module: torch.compile, DDP and FSDP2 wrap it.

    extra: modules that the objective trains beside the family; the audit counts them, the export drops them.
    """

    def __init__(self, family: Family, objective: Objective) -> None:
        super().__init__()
        self.family = family
        self.objective = objective
        self.extra = objective.modules(family)

    def forward(self, batch: Batch) -> Loss:
        return self.objective.loss(self.family, self.extra, batch)
