"""Several objectives for one model, by weights that may change with the share of the budget spent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as with_changes
from typing import Any

import torch
from torch import Tensor, nn

from archs import FAMILIES
from archs.batch import Batch, MaskBuilder
from archs.errors import UserError, unknown
from archs.families.family import Family
from archs.families.single_stack import SingleStack
from objectives.base import Layout, Loss, Objective, Vocabulary, Windows
from objectives.modes import marked, mode_token, unasked

GOLDEN = 0.6180339887498949  # the golden ratio's multiples modulo 1 are spread evenly over [0, 1)


@dataclass(frozen=True)
class Part:
    """One of a mixture's objectives.

    mask: builder for batches that have no mask of their own. mode: number of the mode token before its texts.
    """

    objective: Objective
    mask: MaskBuilder | None = None
    mode: int | None = None


class Mixture(Objective):
    """At each step one of the parts builds the batch.

    weights: how often each part is taken, in any unit. schedule: in place of weights, stages `{until: share
    of the budget, weights: {…}}`, the last one until 1. The choice of parts is not random: it is the same for
    every seed, and in any n steps the shares are exact to within a few steps. Dong et al. 2019 (UniLM) take
    thirds, Tay et al. 2023 (UL2) seven denoisers, Charpentier and Samuel 2024 (GPT-BERT) two parts in a
    ratio; masked after causal training is a schedule of two stages.

    Evaluation and generation use the first part. A part for one single stack can train another single stack:
    its batches then have the mask of the former. Validation is the mean over all parts, each once, whatever
    their weights. Raises UserError for weights that name no part or sum to 0, for a schedule that does not
    cover the budget, and for a schedule with a budget in seconds.

    >>> from objectives.mlm import MLM
    >>> one = Part(MLM(VOCABULARY, "in_place", hiding(41), mask_only))
    >>> two = Part(MLM(VOCABULARY, "in_place", hiding(42), mask_only), mode=1)  # marked by 35, a sentinel
    >>> mixture = Mixture(VOCABULARY, "in_place", {"one": one, "two": two}, weights={"one": 2, "two": 1})
    >>> [mixture.part_at(step, fraction=None) for step in range(7)]
    [0, 0, 0, 1, 0, 0, 1]
    >>> text = torch.tensor([[40, 41, 42, 2]])
    >>> show(mixture.build(Windows(text, step=2), seeded()), "tokens", "weights")
    tokens   40  3 42  2
    weights   0  1  0  0
    >>> show(mixture.build(Windows(text, step=3), seeded()), "tokens", "weights")
    tokens   35 40 41  3  2
    weights   0  0  0  1  0
    """

    name = "mixture"
    families = tuple(FAMILIES)
    uses_all_parameters = False

    def __init__(
        self,
        vocabulary: Vocabulary,
        layout: Layout,
        parts: Mapping[str, Part],
        weights: Mapping[str, float] | None = None,
        schedule: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(vocabulary, layout)
        self.parts, self.names = list(parts.values()), list(parts)
        if not parts:
            raise UserError(
                "objective 'mixture': no parts; list them as objective.options.parts.NAME={name: …}"
            )
        if (weights is None) == (schedule is None):
            raise UserError("objective 'mixture': give either weights or a schedule of weights")
        stages = [{"until": 1.0, "weights": weights}] if schedule is None else schedule
        self.stages = checked_stages(stages, self.names)
        for part_name, part in parts.items():
            if part.mode is not None:
                mode_token(vocabulary, part.mode)
            if part.mode is not None and part.objective.moves_text:
                raise UserError(
                    f"part '{part_name}' of the mixture: objective '{part.objective.name}' moves the text "
                    "about and would move its mode token too; leave mode out"
                )
        self.language_model = self.parts[0].objective.language_model

    def build(self, windows: Windows, rng: torch.Generator) -> Batch:
        return self._by(self.part_at(windows.step, windows.fraction), windows, rng)

    def part_at(self, step: int, fraction: float | None) -> int:
        """The number of the part that builds this step's batch; fraction as in `Windows`.

        Raises UserError for a schedule without a fraction.
        """
        if fraction is None and len(self.stages) > 1:
            raise UserError(
                "objective 'mixture': a schedule goes by the share of the budget, which steps of a budget in "
                "seconds do not know beforehand; set budget.stop to flops, tokens, targets or steps"
            )
        shares = next(shares for until, shares in self.stages if (fraction or 0.0) <= until)
        luck = torch.tensor((step * GOLDEN) % 1.0, dtype=torch.float64)
        return int(torch.searchsorted(shares.cumsum(0), luck, right=True).clamp(max=len(shares) - 1))

    def _by(self, number: int, windows: Windows, rng: torch.Generator) -> Batch:
        part = self.parts[number]
        if part.mode is not None:
            windows = marked(windows, mode_token(self.vocabulary, part.mode), self.vocabulary)
        batch = part.objective.build(windows, rng)
        if part.mode is not None:
            batch = unasked(batch, mode_token(self.vocabulary, part.mode))
        return with_changes(batch, part=number, mask=batch.mask or part.mask)

    def validation(self, windows: Windows, rng: torch.Generator) -> list[Batch]:
        return [self._by(number, windows, rng) for number in range(len(self.parts))]

    def ask(self, context: Tensor, continuation: Tensor) -> Batch:
        return self.parts[0].objective.ask(self._context(context), continuation)

    def prompt(self, context: Tensor, length: int) -> Batch:
        return self.parts[0].objective.prompt(self._context(context), length)

    def _context(self, context: Tensor) -> Tensor:
        mode = self.parts[0].mode
        if mode is None:
            return context
        token = context.new_full((len(context), 1), mode_token(self.vocabulary, mode))
        return torch.cat((token, context), 1)

    def flops(self, family: Family, batch: Batch) -> int:
        return self.parts[batch.part].objective.flops(family, batch)

    def supervised(self, batch: Batch) -> int:
        return self.parts[batch.part].objective.supervised(batch)

    def modules(self, family: Family) -> nn.ModuleDict:
        each = zip(self.names, self.parts, strict=True)
        # With a prefix, since a part's name could be an attribute of ModuleDict, such as "type".
        return nn.ModuleDict({f"of_{name}": part.objective.modules(family) for name, part in each})

    def loss(self, family: Family, modules: nn.ModuleDict, batch: Batch) -> Loss:
        """The part's loss. Its terms are prefixed with the part's name, such as "masked_tokens"."""
        name, part = self.names[batch.part], self.parts[batch.part].objective
        own = modules[f"of_{name}"]
        assert isinstance(own, nn.ModuleDict)
        loss = part.loss(family, own, batch)
        return Loss(loss.value, {f"{name}_{term}": value for term, value in loss.terms.items()})


def checked_stages(stages: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[tuple[float, Tensor]]:
    """Each stage as (until, shares of the parts). Raises UserError unless the stages cover the budget."""
    checked, before = [], 0.0
    for number, stage in enumerate(stages, start=1):
        if set(stage) != {"until", "weights"}:
            raise UserError(
                f"objective 'mixture': stage {number} of the schedule has the keys "
                f"{', '.join(stage) or 'none'}; write {{until: share of the budget, weights: {{…}}}}"
            )
        until = stage["until"]
        if isinstance(until, bool) or not isinstance(until, int | float) or not before < until <= 1:
            raise UserError(
                f"objective 'mixture': stage {number} of the schedule has until={until!r}; give a share of "
                f"the budget above {before:g} and at most 1, rising from stage to stage"
            )
        checked.append((float(until), _shares(stage["weights"], names)))
        before = float(until)
    if before < 1:
        raise UserError(
            f"objective 'mixture': the schedule ends at {before:g} of the budget and leaves the rest "
            "without an objective; let the last stage be until: 1"
        )
    return checked


def _shares(weights: Any, names: Sequence[str]) -> Tensor:
    if not isinstance(weights, Mapping):
        raise UserError(f"objective 'mixture': weights came as {weights!r}; write {{PART: number}}")
    for name, weight in weights.items():
        if name not in names:
            raise unknown("part in the weights of objective 'mixture':", name, names)
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < float("inf"):
            raise UserError(
                f"objective 'mixture': the weight of '{name}' is {weight!r}; give a number from 0 on"
            )
    numbers = torch.tensor([float(weights.get(name, 0.0)) for name in names], dtype=torch.float64)
    if not float(numbers.sum()) > 0:
        raise UserError("objective 'mixture': the weights sum to 0; give at least one part a weight above 0")
    return numbers / numbers.sum()


def layout_and_mask(
    objective: type[Objective], family: type[Family]
) -> tuple[Layout, MaskBuilder | None] | None:
    """The layout in which a part's objective trains a family, and the mask of its batches.

    None if it cannot train the family. An objective that is for this family needs no mask. An objective that
    is for another single stack can train a single stack under the other one's mask.
    """
    if family.kind in objective.families:
        return family.layout, None
    if issubclass(family, SingleStack):
        for name in objective.families:
            other = FAMILIES.get(name)
            if other is not None and issubclass(other, SingleStack):
                return other.layout, other.default_mask
    return None
