"""The plan of an arm: its shape, its steps, and what they cost.

A plan depends on the recipe alone, so an arm trained by itself has the shape that it has in a sweep.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from typing import Any

import torch

from archs.config import CoreConfig
from archs.count import Parameters, parameters
from experiments.budget.cost import mean_flops, measure, reference_measure, sampled_steps
from experiments.budget.solver import OF_PARAMETERS, shapes, solve
from experiments.data.tokenizer.special import SPECIALS
from experiments.recipe.build import Built
from experiments.recipe.recipe import Recipe
from objectives.base import Vocabulary


@dataclass(frozen=True)
class Plan:
    """One arm before it runs. Counts are of training.

    steps                      None = the run is stopped by seconds
    match                      the matched quantity; `measure` is the arm's, `reference` the reference's
    multiple                   the arm is matched to this times `reference`: 2 for an encoder-decoder at 2P
    reference_parameters       core parameters of the reference: P of Raffel et al. 2020
    reference_flops_per_token  M of Raffel et al. 2020
    """

    arm: str
    family: str
    objective: str
    config: CoreConfig
    parameters: Parameters
    extra_parameters: int
    flops_per_step: int
    tokens_per_step: int
    targets_per_step: int
    steps: int | None
    match: str
    measure: float
    reference: float
    tolerance: float
    multiple: int
    reference_parameters: int
    reference_flops_per_token: float

    @property
    def deviation(self) -> float:
        """The distance of the matched quantity from `multiple` times the reference's, as a fraction."""
        return self.measure / (self.multiple * self.reference) - 1 if self.reference else 0.0

    @property
    def times_parameters(self) -> float:
        """Core parameters divided by the reference's, whatever is matched."""
        return self.parameters.core / self.reference_parameters

    @property
    def times_flops(self) -> float:
        """FLOPs a token divided by the reference's."""
        return self.flops_per_token / self.reference_flops_per_token

    @property
    def flops_per_token(self) -> float:
        return self.flops_per_step / self.tokens_per_step

    @property
    def shape(self) -> str:
        """As `4 x 128, ffn 512`; of an encoder-decoder `2+2 x 128, ffn 512`."""
        depth = str(self.config.layers)
        if self.config.decoder_layers is not None:
            depth += f"+{self.config.decoder_layers}"
        return f"{depth} x {self.config.width}, ffn {self.config.ffn}"

    def summary(self) -> dict[str, Any]:
        """Returns all fields and ratios, for audit.json, W&B and the report."""
        return asdict(self) | {
            "deviation": self.deviation,
            "shape": self.shape,
            "flops_per_token": self.flops_per_token,
            "times_parameters": self.times_parameters,
            "times_flops": self.times_flops,
        }


def planning_vocabulary(size: int) -> Vocabulary:
    """Returns a vocabulary of this size for plans that are made before there is a tokenizer."""
    special = torch.arange(size) < len(SPECIALS)
    ids = {name: number for number, name in enumerate(SPECIALS)}
    return Vocabulary(
        size=size,
        word_starts=torch.arange(size) % 2 == 0,
        special=special,
        pad=ids["<pad>"],
        bos=ids["<s>"],
        eos=ids["</s>"],
        mask=ids["<mask>"],
        cls=ids["<cls>"],
        sep=ids["<sep>"],
        sentinels=tuple(number for name, number in ids.items() if name.startswith("<extra_id_")),
        sentence_ends=(torch.arange(size) % 20 == 0) & ~special,
        kinds=torch.zeros(size, dtype=torch.uint8),
        neighbours=torch.arange(size).roll(1)[:, None],
    )


def plan_arm(built: Built, vocabulary: Vocabulary, arm: str = "") -> Plan:
    """Returns the plan of an arm: its matched shape, and the steps that its budget pays for.

    arm: its name in tables; "" = the recipe's label. Raises UserError, which names the nearest shape, if none
    matches within the tolerance.
    """
    recipe, family = built.recipe, built.family_class
    arm, match = arm or recipe.label, recipe.budget.match
    depths = shapes(recipe, family, vocabulary.size)
    objective = built.objective(vocabulary)
    steps, targets = sampled_steps(recipe, objective, vocabulary)
    of_reference = reference_measure(recipe, vocabulary)
    multiple = family.times_parameters(recipe.family.stacks) if match in OF_PARAMETERS else 1
    config, measured, reference = depths[0], 0.0, 0.0
    if match != "none":
        of_arm = cache(partial(measure, recipe, family, objective, steps, match))
        reference = of_reference(match)
        config, measured = solve(recipe, depths, multiple * reference, of_arm, arm)
    flops = mean_flops(family, objective, config, steps)
    tokens = recipe.training.batch * recipe.size.length
    counted = parameters(family, config)
    with torch.device("meta"):
        model = family(config)
        own = {id(p) for p in model.parameters()}  # the objective's modules may share some of these
        extra = sum(p.numel() for p in objective.modules(model).parameters() if id(p) not in own)
    return Plan(
        arm=arm,
        family=recipe.family.name,
        objective=recipe.objective.name,
        config=config,
        parameters=counted,
        extra_parameters=extra,
        flops_per_step=flops,
        tokens_per_step=tokens,
        targets_per_step=targets,
        steps=_steps(recipe, {"flops": flops, "tokens": tokens, "targets": targets, "steps": 1}),
        match=match,
        measure=measured,
        reference=reference,
        tolerance=recipe.budget.tolerance,
        multiple=multiple,
        reference_parameters=round(of_reference("core_parameters")),
        reference_flops_per_token=of_reference("flops_per_token"),
    )


def respent(plan: Plan, recipe: Recipe, arm: str) -> Plan:
    """Returns the plan of an arm that differs only in its budget."""
    a_step = {name: getattr(plan, f"{name}_per_step") for name in ("flops", "tokens", "targets")}
    return replace(plan, arm=arm, steps=_steps(recipe, {**a_step, "steps": 1}))


def reference_flops_a_token(recipe: Recipe, vocabulary: Vocabulary) -> float:
    """Returns the reference's training FLOPs per raw token."""
    return reference_measure(recipe, vocabulary)("flops_per_token")


def _steps(recipe: Recipe, a_step: dict[str, int]) -> int | None:
    """Returns how many steps the budget pays for, None if it is in seconds. a_step: the cost of one step."""
    budget = recipe.budget
    if budget.spends == 0:
        return 0
    return None if budget.stop == "seconds" else max(1, round(budget.spends / a_step[budget.stop]))
