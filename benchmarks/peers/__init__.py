"""Other libraries' models on our batches, called as their users call them.

A peer reads tensors that were built beforehand from our batches, while ours builds its batches within the
step: data costs a peer nothing, which is in its favour. It has its library's defaults (attention, a head at
all positions, labels of -100 where there is no target) but no dropout. Its number of parameters is as near to
ours as its architecture allows. In packed rows no peer separates documents, which is in its favour too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from archs.batch import Batch
from benchmarks.workload import Shape, trainer

IGNORED = -100
Question = dict[str, Tensor]
# {family: {peer: the function that builds it for a Shape}}
PEERS: dict[str, dict[str, str]] = {
    "encoder_ae": {
        "Hugging Face BERT": "hugging_face.bert",
        "Hugging Face ModernBERT": "hugging_face.modern_bert",
        "x-transformers": "x_transformers.encoder",
    },
    "decoder_ar": {
        "Hugging Face GPT-2": "hugging_face.gpt2",
        "Hugging Face Llama": "hugging_face.llama",
        "x-transformers": "x_transformers.decoder",
        "nanoGPT": "plain.nanogpt",
    },
    "encoder_decoder": {
        "Hugging Face T5": "hugging_face.t5",
        "x-transformers": "x_transformers.encoder_decoder",
    },
    "prefix_lm": {
        "Hugging Face GPT-2": "hugging_face.prefix_gpt2",
        "x-transformers": "x_transformers.prefix_decoder",
    },
    "permuted_lm": {"Hugging Face XLNet": "hugging_face.xlnet"},
}


@dataclass(frozen=True)
class Peer:
    """A peer: `model(**question(batch))` is the mean loss in nats.

    A question has `labels`; IGNORED = no target.
    """

    model: nn.Module
    question: Callable[[Batch], Question]


class Output(nn.Module):
    """Wraps a model to return the `loss` of its output."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, **question: Any) -> Tensor:
        return self.model(**question).loss


def builder(family: str, name: str) -> Callable[[Shape], Peer]:
    """The function that builds a peer. Raises ImportError if its library is not installed."""
    module, function = PEERS[family][name].split(".")
    return getattr(import_module(f"benchmarks.peers.{module}"), function)


def labels(batch: Batch) -> Tensor:
    """Labels (B,T): the batch's targets, IGNORED where there is none."""
    return batch.targets.masked_fill(batch.weights == 0, IGNORED)


class Theirs:
    """A peer, ready to take the same steps as ours with the same optimiser."""

    def __init__(
        self,
        build: Callable[[Shape], Peer],
        shape: Shape,
        batches: list[Batch],
        compiled: bool = False,
        autocast: bool = False,
    ) -> None:
        torch.manual_seed(0)
        peer, device = build(shape), batches[0].device
        model = peer.model.to(device).train()
        self.questions = [peer.question(batch) for batch in batches]
        self.parameters = sum(each.numel() for each in model.parameters())
        if compiled:
            model.compile()
        self.train = trainer(model, lambda question: model(**question), device, autocast)
        self.taken = 0
        self.check([batch.supervised for batch in batches], shape.vocabulary)

    def check(self, supervised: list[int], vocabulary: int) -> None:
        """Raises AssertionError unless the peer has as many targets as ours and starts by guessing."""
        targets = [int((question["labels"] != IGNORED).sum()) for question in self.questions]
        if targets != supervised:
            raise AssertionError(f"the peer is asked {targets} targets, ours {supervised}")
        first, guess = float(self.step()), math.log(vocabulary)
        if not abs(first - guess) < 1.2:  # T5's untrained logits have a variance of 1, which costs one nat
            raise AssertionError(f"the peer begins at {first:.2f} nats, where a guess costs {guess:.2f}")

    def step(self) -> Tensor:
        """Takes one optimiser step; returns the loss before it."""
        self.taken += 1
        return self.train(self.questions[(self.taken - 1) % len(self.questions)])
