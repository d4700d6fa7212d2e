"""A plain GPT-2 in the manner of nanoGPT: a minimal program that does the work of a decoder-AR.

Learned positions, pre-norm layers, GELU, fused causal attention, a head tied to the embeddings and logits at
every position (Radford et al. 2019). Written for the benchmarks; the product does not use it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class NanoConfig:
    """length: the most tokens of a row; dropout: of embeddings, attention weights and both branches."""

    vocabulary: int
    layers: int
    heads: int
    width: int
    length: int
    dropout: float = 0.0
    bias: bool = False


class NanoGPT(nn.Module):
    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        self.tokens = nn.Embedding(config.vocabulary, config.width)
        self.positions = nn.Embedding(config.length, config.width)
        self.drop = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width, bias=config.bias)
        for name, weight in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(weight)
            elif weight.dim() == 2:
                into_residual = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(weight, std=0.02 / (2 * config.layers) ** 0.5 if into_residual else 0.02)

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """tokens, targets (B,T) int64 -> the mean cross-entropy in nats."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.drop(self.tokens(tokens) + self.positions(places))
        for layer in self.layers:
            x = layer(x)
        logits = functional.linear(self.norm(x), self.tokens.weight)
        return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


class Layer(nn.Module):
    """(B,T,D) -> (B,T,D)."""

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        D, bias = config.width, config.bias
        self.heads, self.dropout = config.heads, config.dropout
        self.attention_norm, self.ffn_norm = nn.LayerNorm(D, bias=bias), nn.LayerNorm(D, bias=bias)
        self.query_key_value = nn.Linear(D, 3 * D, bias=bias)
        self.out = nn.Linear(D, D, bias=bias)
        self.up, self.down = nn.Linear(D, 4 * D, bias=bias), nn.Linear(4 * D, D, bias=bias)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop(self.out(self.attend(self.attention_norm(x))))
        return x + self.drop(self.down(functional.gelu(self.up(self.ffn_norm(x)))))

    def attend(self, x: Tensor) -> Tensor:
        B, T, D = x.shape
        apart = self.query_key_value(x).view(B, T, 3, self.heads, D // self.heads)
        q, k, v = apart.permute(2, 0, 3, 1, 4)
        dropout = self.dropout if self.training else 0.0
        seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=dropout)
        return seen.transpose(1, 2).reshape(B, T, D)
