"""The plain GPT-2 of benchmarks/peers/nanogpt.py, as a peer."""

from __future__ import annotations

from torch import Tensor, nn

from archs.batch import Batch
from benchmarks.peers import Peer, Question, labels
from benchmarks.peers.nanogpt import NanoConfig, NanoGPT
from benchmarks.workload import Shape


class Named(nn.Module):
    """NanoGPT with its targets named `labels`, as in the questions of all peers."""

    def __init__(self, model: NanoGPT) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, labels: Tensor) -> Tensor:
        return self.model(tokens, labels)


def nanogpt(shape: Shape) -> Peer:
    config = NanoConfig(shape.vocabulary, shape.layers, shape.heads, shape.width, shape.length)
    return Peer(Named(NanoGPT(config)), question)


def question(batch: Batch) -> Question:
    return {"tokens": batch.tokens, "labels": labels(batch)}
