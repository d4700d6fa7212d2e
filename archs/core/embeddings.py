"""The input of a stack: token embeddings with positions and token types."""

from __future__ import annotations

from torch import Tensor, nn

from archs.config import CoreConfig
from archs.core.layers import make_norm


class Placement(nn.Module):
    """Adds positions and token types to token embeddings, norms, drops out, and widens factorised ones.

    forward: x (B,R,token_width), positions (B,R), token_types (B,R) or None (all 0) -> (B,R,D).
    """

    def __init__(self, config: CoreConfig) -> None:
        super().__init__()
        E = config.token_width
        learned = config.positions == "learned"
        self.positions = nn.Embedding(config.max_length, E) if learned else None
        self.types = nn.Embedding(config.token_types, E) if config.token_types else None
        self.norm = make_norm(config, E) if config.embedding_norm else None
        factorised = config.embedding_width is not None
        self.widen = nn.Linear(E, config.width, bias=config.ffn_bias) if factorised else None
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, positions: Tensor, token_types: Tensor | None = None) -> Tensor:
        if self.positions is not None:
            x = x + self.positions(positions)
        if self.types is not None:
            x = x + (self.types.weight[0] if token_types is None else self.types(token_types))
        if self.norm is not None:
            x = self.norm(x)
        x = self.drop(x)
        return x if self.widen is None else self.widen(x)
