"""What stands on top of the core."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LanguageModelHead(nn.Module):
    """Hidden states (N,D) to logits (N,V), with the embedding's weights if `tied` (Press and Wolf 2017)."""

    def __init__(self, embedding: nn.Embedding, tied: bool) -> None:
        super().__init__()
        self.weight = embedding.weight if tied else nn.Parameter(torch.empty_like(embedding.weight))

    def forward(self, hidden: Tensor) -> Tensor:
        return nn.functional.linear(hidden, self.weight)


class Classifier(nn.Module):
    """A class for each row: mean over the cells that are not padding, dropout, linear.

    forward: rows (B,T,D), segments (B,T) or None (no padding) -> logits (B,classes).
    """

    def __init__(self, width: int, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(width, classes)

    def forward(self, rows: Tensor, segments: Tensor | None = None) -> Tensor:
        if segments is None:
            pooled = rows.mean(dim=1)
        else:
            counted = (segments >= 0).unsqueeze(-1).to(rows.dtype)
            pooled = (rows * counted).sum(dim=1) / counted.sum(dim=1).clamp(min=1)
        return self.linear(self.dropout(pooled))
