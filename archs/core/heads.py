"""Heads on top of the core: the language model's, and a classifier's."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from archs.config import CoreConfig
from archs.core.cross_entropy import linear_cross_entropy
from archs.core.layers import ACTIVATIONS, make_norm


class LanguageModelHead(nn.Module):
    """Hidden states (N,D) to logits (N,V), with the embedding's weights if `tied` (Press and Wolf 2017).

    transform: BERT's dense layer, activation and norm. Without it, a plain projection narrows hidden states
    to the width of factorised embeddings.
    """

    def __init__(self, embedding: nn.Embedding, config: CoreConfig) -> None:
        super().__init__()
        self.scale = config.logit_scale
        D, E = config.width, config.token_width
        self.weight = embedding.weight if config.tied else nn.Parameter(torch.empty_like(embedding.weight))
        self.bias = nn.Parameter(torch.zeros(config.vocabulary)) if config.head_bias else None
        self.transform = Transform(config) if config.head_transform else None
        self.narrow = nn.Linear(D, E, bias=False) if E != D and not config.head_transform else None

    def forward(self, hidden: Tensor) -> Tensor:
        return nn.functional.linear(self.narrowed(hidden), self.weight, self.bias)

    def nats(self, hidden: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """The weighted sum of -log p(target) in nats; hidden (N,D), targets (N) int64, weights (N) float."""
        return linear_cross_entropy(self.narrowed(hidden), self.weight, self.bias, targets, weights)

    def narrowed(self, hidden: Tensor) -> Tensor:
        """Hidden states (N,D) -> (N,E), which the embedding matrix multiplies."""
        if self.transform is not None:
            hidden = self.transform(hidden)
        if self.narrow is not None:
            hidden = self.narrow(hidden)
        if self.scale != 1:
            hidden = hidden * self.scale
        return hidden


class Transform(nn.Module):
    """norm(activation(dense(x))), (N,D) -> (N,token_width) (Devlin et al. 2019)."""

    def __init__(self, config: CoreConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.width, config.token_width, bias=config.ffn_bias)
        self.activation = ACTIVATIONS[config.activation]
        self.norm = make_norm(config, config.token_width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.activation(self.dense(x)))


class Classifier(nn.Module):
    """A class for each text: mean over its rows except padding, dropout, linear layer.

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
