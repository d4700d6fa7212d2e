"""A text with characters as tokens, two systems that learn it, and one training loop for both.

The loop is nanoGPT's: AdamW with weight decay on matrices, a warm-up and a cosine, gradients clipped.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from archs import FAMILIES
from archs.batch import Batch
from archs.config import CoreConfig
from archs.core.attention import prepare_to_compile
from archs.core.matrix_products import by_onednn
from benchmarks.measuring import timed
from benchmarks.peers.nanogpt import NanoConfig, NanoGPT
from benchmarks.workload import generator
from experiments.data.seeds import mixed
from experiments.training.learner import Learner
from experiments.training.memory import keep_freed_memory
from experiments.training.optimiser import Optimiser, decayed
from objectives import OBJECTIVES
from objectives.base import Vocabulary

TRAINED = 0.9  # share of the text for training, from its beginning; the rest is validation


@dataclass(frozen=True)
class Setting:
    """A model's shape and its training. estimate: the number of batches in nanoGPT's validation loss."""

    layers: int
    heads: int
    width: int
    length: int
    rows: int
    iterations: int
    dropout: float
    estimate: int
    learning_rate: float = 1e-3
    final: float = 0.1
    warmup: int = 100
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float = 1.0


class Text:
    """Characters as tokens: training (N) int64, validation (N') int64."""

    def __init__(self, text: str) -> None:
        characters = sorted(set(text))
        number = {character: token for token, character in enumerate(characters)}
        tokens = torch.tensor([number[character] for character in text])
        self.vocabulary = len(characters)
        self.training, self.validation = tokens.tensor_split([int(TRAINED * len(tokens))])

    def windows(self, length: int, rows: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All windows of validation: tokens and the tokens after them, (rows,length) each, the last fewer."""
        count = (len(self.validation) - 1) // length
        tokens, targets = (self.validation[start:][: count * length].view(count, length) for start in (0, 1))
        yield from zip(tokens.split(rows), targets.split(rows), strict=True)


def drawn(tokens: Tensor, length: int, rows: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Windows from random places: tokens and the tokens after them, (rows,length) each."""
    starts = torch.randint(len(tokens) - length, (rows, 1), generator=rng)
    places = starts + torch.arange(length)
    return tokens[places], tokens[places + 1]


class Pentarch(nn.Module):
    """Decoder-AR at its defaults (rope, RMS norm, no bias), with the causal objective's loss."""

    products = staticmethod(by_onednn)  # as `experiments.training.devices.fit`

    def __init__(self, setting: Setting, characters: int) -> None:
        super().__init__()
        shape = CoreConfig(
            vocabulary=characters,
            layers=setting.layers,
            width=setting.width,
            heads=setting.heads,
            ffn=4 * setting.width,
            max_length=setting.length,
            dropout=setting.dropout,
            attention_dropout=setting.dropout,
        )
        family = FAMILIES["decoder_ar"](shape)
        none = torch.zeros(characters, dtype=torch.bool)
        vocabulary = Vocabulary(characters, word_starts=~none, special=none, pad=0, bos=0, eos=0)
        self.learner = Learner(family, OBJECTIVES["causal"](vocabulary, family.layout))

    def prepare(self) -> None:
        prepare_to_compile()
        self.learner.compile()

    def forward(self, tokens: Tensor, targets: Tensor, device: torch.device) -> Tensor:
        # A row begins with its true first character, as in nanoGPT; the objective's own rows begin with bos.
        batch = Batch.of(tokens, targets, torch.ones(tokens.shape))
        batch = batch.pin_memory() if device.type == "cuda" else batch
        return self.learner(batch.to(device, non_blocking=True)).value


class Reference(nn.Module):
    """nanoGPT's model."""

    def __init__(self, setting: Setting, characters: int) -> None:
        super().__init__()
        shape = (setting.layers, setting.heads, setting.width, setting.length, setting.dropout)
        self.model = NanoGPT(NanoConfig(characters, *shape))

    products = staticmethod(nullcontext)

    def prepare(self) -> None:
        self.model.compile()

    def forward(self, tokens: Tensor, targets: Tensor, device: torch.device) -> Tensor:
        if device.type == "cuda":
            tokens, targets = tokens.pin_memory(), targets.pin_memory()
        return self.model(*(each.to(device, non_blocking=True) for each in (tokens, targets)))


SYSTEMS = {"reference": Reference, "pentarch": Pentarch}


class Run:
    """A system in training. On a GPU it is compiled and uses bfloat16, as in nanoGPT's README."""

    def __init__(self, system: str, seed: int, setting: Setting, text: Text, device: torch.device) -> None:
        keep_freed_memory()
        torch.manual_seed(seed)
        self.system, self.seed, self.setting, self.text, self.device = system, seed, setting, text, device
        self.model = SYSTEMS[system](setting, text.vocabulary).to(device)
        if device.type == "cuda":
            self.model.prepare()
        self.batches, self.estimates = generator(seed), generator(seed + 1)
        share = setting.warmup / setting.iterations
        self.schedule = Optimiser(setting.learning_rate, share, setting.final)
        groups = decayed(self.model, setting.weight_decay)
        self.optimiser = torch.optim.AdamW(groups, betas=setting.betas, fused=True)
        self.done = 0
        self.seconds: list[float] = []  # of training without evaluation, one entry for each block
        self.rates: list[float] = []  # characters a second in each block
        self.whole: list[float] = []  # validation losses on the whole split, nats a character
        self.estimated: list[float] = []  # validation losses as nanoGPT estimates them

    def advance(self, iterations: int) -> None:
        """Trains and then evaluates; times only the training."""
        # For dropout: what the other system drew in its turn must change nothing.
        torch.manual_seed(mixed(self.seed, self.done))
        self.model.train()
        self.seconds.append(timed(lambda: [self.step() for _ in range(iterations)]))
        self.rates.append(iterations * self.setting.rows * self.setting.length / self.seconds[-1])
        self.model.eval()
        with torch.no_grad():
            self.evaluate()
        shown = f"{self.whole[-1]:.4f}, estimated {self.estimated[-1]:.4f}, {sum(self.seconds):,.1f} s"
        print(f"{self.system} seed {self.seed}: {self.done} iterations, {shown}", file=sys.stderr)

    def step(self) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = self.schedule.rate_at((self.done + 0.5) / self.setting.iterations)
        drawn_here = drawn(self.text.training, self.setting.length, self.setting.rows, self.batches)
        with self.model.products(self.device):
            self.loss(*drawn_here).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.setting.clip)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.done += 1

    def loss(self, tokens: Tensor, targets: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            return self.model(tokens, targets, self.device)

    def evaluate(self) -> None:
        length, rows = self.setting.length, self.setting.rows
        parts = [(len(part[0]), self.loss(*part).item()) for part in self.text.windows(length, rows)]
        self.whole.append(sum(size * loss for size, loss in parts) / sum(size for size, _ in parts))
        batches = (
            drawn(self.text.validation, length, rows, self.estimates) for _ in range(self.setting.estimate)
        )
        self.estimated.append(sum(self.loss(*batch).item() for batch in batches) / self.setting.estimate)
