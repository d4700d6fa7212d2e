"""The work that training benchmarks time: one optimiser step of a family on random text.

Random tokens cost as much as real ones, because no product's shape depends on the tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar
from weakref import finalize

import torch
from torch import Tensor, nn

from archs import FAMILIES
from archs.batch import Batch
from archs.config import CoreConfig
from archs.core.attention import prepare_to_compile
from archs.core.matrix_products import by_onednn
from archs.errors import unknown
from experiments.training.learner import Learner
from experiments.training.loader import Building, Loader, Steps
from experiments.training.memory import keep_freed_memory
from objectives import OBJECTIVES, Objective
from objectives.base import Vocabulary, Windows
from objectives.marks import BLANK, FUNCTION, NUMBER, UPPER

SPECIAL = 6 + 100
WORKERS, FAR = 4, 10**9  # workers of the loader on a GPU; more steps than any benchmark takes
WINDOWS = 8  # steps with different text, which then repeats
Question = TypeVar("Question")  # what a model's loss is computed from
OBJECTIVE = {  # by family, as in the sweep five_families
    "encoder_ae": "mlm",
    "decoder_ar": "causal",
    "encoder_decoder": "span",
    "prefix_lm": "prefix",
    "permuted_lm": "permutation",
}
ALL = ",".join(OBJECTIVE)


def families_of(names: str) -> list[str]:
    """The families of a comma-separated list. Raises UserError for an unknown one."""
    families = names.split(",")
    for family in families:
        if family not in OBJECTIVE:
            raise unknown("family", family, OBJECTIVE)
    return families


@dataclass(frozen=True)
class Shape:
    """The shape of a model and of a batch: `rows` windows of `length` tokens.

    An encoder-decoder has half of the layers in each stack.
    """

    layers: int = 4
    width: int = 256
    heads: int = 4
    vocabulary: int = 8192
    rows: int = 32
    length: int = 128

    @property
    def tokens(self) -> int:
        """Tokens of raw text in a step."""
        return self.rows * self.length

    def config(self, family: str) -> CoreConfig:
        halves = family == "encoder_decoder"
        layers = self.layers // 2 if halves else self.layers
        return CoreConfig(
            vocabulary=self.vocabulary,
            layers=layers,
            decoder_layers=layers if halves else None,
            width=self.width,
            heads=self.heads,
            ffn=4 * self.width,
            max_length=2 * self.length,
        )


@dataclass
class Ours:
    """A family of ours at this shape, ready to take steps, each on a batch from the loader.

    The batch is built within the step; for a GPU workers build it ahead of time, as in `training=gpu`.

    packed: rows hold documents of some 64 tokens, as rows of real text do; else each row is one document.
    """

    family: str
    shape: Shape
    compiled: bool = False
    packed: bool = False
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    autocast: bool = False  # bfloat16

    def __post_init__(self) -> None:
        keep_freed_memory()  # as in `training.devices.fit`; for the whole process, so for peers too
        torch.manual_seed(0)
        family = FAMILIES[self.family](self.shape.config(self.family))
        self.learner = Learner(family, objective(self.family, self.shape)).to(self.device)
        if self.compiled:
            prepare_to_compile()
            self.learner.compile()
        self.train = trainer(
            self.learner, lambda batch: self.learner(batch).value, self.device, self.autocast
        )
        self.building = building(self.learner.objective, self.shape, self.packed)
        loader = Loader(Steps(self.building), 1, FAR, WORKERS if self.device.type == "cuda" else 0)
        self.loaded = iter(loader)
        finalize(self, loader.close)  # otherwise workers would outlive a process that ends abruptly

    @property
    def parameters(self) -> int:
        return sum(each.numel() for each in self.learner.parameters())

    def batch(self, step: int) -> Batch:
        """The batch of step `step`, on the device."""
        return self.building(step).to(self.device)

    def loss(self, batch: Batch) -> Tensor:
        return self.learner(batch).value

    def step(self) -> Tensor:
        """Takes one optimiser step with its data; returns the loss before it."""
        return self.train_on(next(self.loaded).to(self.device, non_blocking=True))

    def train_on(self, batch: Batch) -> Tensor:
        with by_onednn(self.device):  # as `experiments.training.devices.fit`
            return self.train(batch)


def objective(family: str, shape: Shape) -> Objective:
    return OBJECTIVES[OBJECTIVE[family]](vocabulary(shape.vocabulary), FAMILIES[family].layout)


def batches(family: str, shape: Shape, packed: bool, device: torch.device) -> list[Batch]:
    """The batches of the first steps of `Ours`, built ahead of time for peers."""
    build = building(objective(family, shape), shape, packed)
    return [build(step).to(device) for step in range(1, WINDOWS + 1)]


def building(objective: Objective, shape: Shape, packed: bool) -> Building:
    """Builds batches from a few steps of windows, in turn."""
    text = windows(shape, packed)
    return Building(objective, lambda step: text[step % len(text)], seed=0, steps=None)


def trainer(
    model: nn.Module, loss_of: Callable[[Question], Tensor], device: torch.device, autocast: bool
) -> Callable[[Question], Tensor]:
    """A call that takes a step of AdamW on `loss_of(batch)`, clipped at 1; the same for ours and peers."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def train(batch: Question) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
            loss = loss_of(batch)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        return loss.detach()

    return train


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def windows(shape: Shape, packed: bool = False, steps: int = WINDOWS) -> list[Windows]:
    """Windows of random text, one for each step."""
    rng, windows_of_steps = generator(0), []
    for _ in range(steps):
        tokens = torch.randint(SPECIAL, shape.vocabulary, (shape.rows, shape.length), generator=rng)
        segments = None
        if packed:
            ends = torch.rand(tokens.shape, generator=rng) < 1 / 64
            tokens, segments = tokens.masked_fill(ends, 2), ends.cumsum(1) - ends.long()
        windows_of_steps.append(Windows(tokens, segments))
    return windows_of_steps


def vocabulary(size: int) -> Vocabulary:
    """A vocabulary with six special tokens and a hundred sentinels.

    Of three pieces two start a word. One in 20 ends a sentence, one in eight is a common word, one in ten has
    an upper-case letter, one in 50 is a number. Each has ten neighbours.
    """
    ids = torch.arange(size)
    kinds = FUNCTION * (ids % 8 == 1) | UPPER * (ids % 10 == 2) | NUMBER * (ids % 50 == 3)
    return Vocabulary(
        size=size,
        word_starts=(ids >= SPECIAL) & (ids % 3 > 0),
        special=ids < SPECIAL,
        pad=0,
        bos=1,
        eos=2,
        mask=3,
        cls=4,
        sep=5,
        sentinels=tuple(range(6, SPECIAL)),
        sentence_ends=(ids >= SPECIAL) & (ids % 20 == 0),
        kinds=(kinds | BLANK * (ids % 20 == 0)).to(torch.uint8),
        neighbours=torch.randint(size, (size, 10), generator=generator(1)),
    )
