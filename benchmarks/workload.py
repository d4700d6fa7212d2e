"""The work that training benchmarks time: one optimiser step of a family on random text.

Random tokens cost what real ones do: no product's shape depends on which they are.
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
WORKERS, FAR = 4, 10**9  # of the loader on a GPU; more steps than anybody takes
WINDOWS = 8  # steps of which the text is another; then it begins anew
Asked = TypeVar("Asked")  # what a model's loss is computed from
OBJECTIVE = {  # of each family, as in the sweep five_families
    "encoder_ae": "mlm",
    "decoder_ar": "causal",
    "encoder_decoder": "span",
    "prefix_lm": "prefix",
    "permuted_lm": "permutation",
}
ALL = ",".join(OBJECTIVE)


def families_of(names: str) -> list[str]:
    """Of names with commas between them. Raises UserError for one that is none."""
    found = names.split(",")
    for family in found:
        if family not in OBJECTIVE:
            raise unknown("family", family, OBJECTIVE)
    return found


@dataclass(frozen=True)
class Shape:
    """Of a model and of a batch: `rows` windows of `length` tokens. An encoder-decoder has halves."""

    layers: int = 4
    width: int = 256
    heads: int = 4
    vocabulary: int = 8192
    rows: int = 32
    length: int = 128

    @property
    def tokens(self) -> int:
        """Of raw text a step."""
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

    The batch is built in the step, but for a GPU ahead of time by workers, as `training=gpu` has it.

    packed: rows hold documents of some 64 tokens, as real text's do; else each row is one document.
    """

    family: str
    shape: Shape
    compiled: bool = False
    packed: bool = False
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    autocast: bool = False  # bfloat16

    def __post_init__(self) -> None:
        keep_freed_memory()  # as `training.devices.fit`; of the whole process, so for peers in it too
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
        finalize(self, loader.close)  # workers that are not told would outlive whoever ends without a word

    @property
    def parameters(self) -> int:
        return sum(each.numel() for each in self.learner.parameters())

    def batch(self, step: int) -> Batch:
        """Of step `step`, on the device."""
        return self.building(step).to(self.device)

    def loss(self, batch: Batch) -> Tensor:
        return self.learner(batch).value

    def step(self) -> Tensor:
        """One optimiser step with its data; the loss before it."""
        return self.train_on(next(self.loaded).to(self.device, non_blocking=True))

    def train_on(self, batch: Batch) -> Tensor:
        with by_onednn(self.device):  # as `experiments.training.devices.fit`
            return self.train(batch)


def objective(family: str, shape: Shape) -> Objective:
    return OBJECTIVES[OBJECTIVE[family]](vocabulary(shape.vocabulary), FAMILIES[family].layout)


def batches(family: str, shape: Shape, packed: bool, device: torch.device) -> list[Batch]:
    """Those of the first steps of `Ours`, for peers, which have them ready."""
    build = building(objective(family, shape), shape, packed)
    return [build(step).to(device) for step in range(1, WINDOWS + 1)]


def building(objective: Objective, shape: Shape, packed: bool) -> Building:
    """Of batches from a few windows in turn."""
    text = windows(shape, packed)
    return Building(objective, lambda step: text[step % len(text)], seed=0, steps=None)


def trainer(
    model: nn.Module, loss_of: Callable[[Asked], Tensor], device: torch.device, autocast: bool
) -> Callable[[Asked], Tensor]:
    """A step of AdamW on what `loss_of` gives, clipped at 1: the same for ours and for peers."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def train(batch: Asked) -> Tensor:
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
    """Random text of some steps."""
    rng, found = generator(0), []
    for _ in range(steps):
        tokens = torch.randint(SPECIAL, shape.vocabulary, (shape.rows, shape.length), generator=rng)
        segments = None
        if packed:
            ends = torch.rand(tokens.shape, generator=rng) < 1 / 64
            tokens, segments = tokens.masked_fill(ends, 2), ends.cumsum(1) - ends.long()
        found.append(Windows(tokens, segments))
    return found


def vocabulary(size: int) -> Vocabulary:
    """Six special tokens, a hundred sentinels; two pieces in three start words, one in 20 ends a sentence.

    One in eight is a common word, one in ten has an upper-case letter, one in 50 is a number; ten neighbours.
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
