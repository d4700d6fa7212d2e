"""Other libraries' models, asked what our batches ask, as their users ask it.

A peer is given tensors built beforehand from the batches that ours builds in its own time, so data costs it
nothing: the comparison is in its favour. It has its library's own defaults (attention, head at all positions
with labels of -100 where nothing is asked) but no dropout, and as many parameters as its architecture allows
to be near ours. No peer is told where documents end in packed rows, which is in its favour too.
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
# Of each family: what it is compared with, and the function of a Shape that builds it.
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
    """`model(**question(batch))` is the mean loss in nats; a question has `labels`, IGNORED = not asked."""

    model: nn.Module
    question: Callable[[Batch], Question]


class Output(nn.Module):
    """The `loss` in a model's output."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, **question: Any) -> Tensor:
        return self.model(**question).loss


def builder(family: str, name: str) -> Callable[[Shape], Peer]:
    """Raises ImportError where the library is not installed."""
    module, function = PEERS[family][name].split(".")
    return getattr(import_module(f"benchmarks.peers.{module}"), function)


def labels(batch: Batch) -> Tensor:
    """(B,T)"""
    return batch.targets.masked_fill(batch.weights == 0, IGNORED)


class Theirs:
    """A peer, ready to take the steps that ours takes, with the same optimiser."""

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
        """Raises AssertionError unless it is asked as many targets as ours and begins by guessing."""
        asked = [int((question["labels"] != IGNORED).sum()) for question in self.questions]
        if asked != supervised:
            raise AssertionError(f"the peer is asked {asked} targets, ours {supervised}")
        first, guess = float(self.step()), math.log(vocabulary)
        if not abs(first - guess) < 1.2:  # T5's untrained logits have a variance of 1, which costs a nat
            raise AssertionError(f"the peer begins at {first:.2f} nats, where a guess costs {guess:.2f}")

    def step(self) -> Tensor:
        """One optimiser step; the loss before it."""
        self.taken += 1
        return self.train(self.questions[(self.taken - 1) % len(self.questions)])
