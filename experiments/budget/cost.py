"""What a step of an arm costs, counted on batches that are really built.

Every arm is matched against one reference: a decoder-AR of the recipe's size with the causal objective, with
the size's other options or (`budget.reference=plain`) without.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch

from archs import FAMILIES
from archs.batch import Batch
from archs.config import CoreConfig
from archs.count import parameters
from archs.errors import UserError
from archs.families.family import Family
from archs.families.single_stack import SingleStack
from experiments.budget.solver import OF_PARAMETERS, own_config, plain_config
from experiments.recipe.build import family_class
from experiments.recipe.recipe import Recipe
from objectives.base import Objective, Vocabulary, Windows
from objectives.causal import Causal

SAMPLED_STEPS = 64  # enough that a step's mean cost is known to half a percent, and a mixture's shares too


def sampled_steps(recipe: Recipe, objective: Objective, vocabulary: Vocabulary) -> tuple[list[Batch], int]:
    """Returns batches on random text, at steps spread over the budget, and their mean number of targets.

    There are many, because one batch's prefix is short and another's long. They are kept as shapes on the
    meta device, because the values of large batches would fill the memory. Raises UserError if the
    objective, or a part of a mixture, asks for no token.
    """
    rng = torch.Generator().manual_seed(0)
    ordinary = vocabulary.ordinary
    shape = (recipe.training.batch, recipe.size.length)
    shapes: list[Batch] = []
    targets: list[int] = []
    for step in range(SAMPLED_STEPS):
        text = ordinary[torch.randint(len(ordinary), shape, generator=rng)]
        fraction = None if recipe.budget.stop == "seconds" else (step + 0.5) / SAMPLED_STEPS
        batch = objective.build(Windows(text, step=step, fraction=fraction), rng)
        _check_mask(recipe, batch)
        shapes.append(batch.to("meta"))
        targets.append(objective.supervised(batch))
    for part in {batch.part for batch in shapes}:
        if not any(number for number, batch in zip(targets, shapes, strict=True) if batch.part == part):
            names = list(recipe.objective.parts)
            name = f"part '{names[part]}'" if names else f"'{recipe.objective.name}'"
            raise UserError(
                f"objective {name} asks for no token, so '{recipe.label}' would learn nothing by it; "
                "check its options, and a select of your own"
            )
    return shapes, round(statistics.mean(targets))


def _check_mask(recipe: Recipe, batch: Batch) -> None:
    """Raises UserError if the batch has its own mask, and the recipe's mask or positions do not allow one."""
    if batch.mask is None:
        return
    if recipe.family.mask is not None:
        raise UserError(
            f"objective '{recipe.objective.name}' brings masks of its own, so family.mask="
            f"{recipe.family.mask} cannot replace them; leave family.mask out, or choose another objective"
        )
    kind = family_class(recipe)
    if recipe.size.positions == "relative" and issubclass(kind, SingleStack) and not kind.both_ways:
        rows = torch.arange(batch.tokens.shape[1])
        if bool(batch.mask(batch).dense(len(batch.tokens), rows, rows).triu(1).any()):
            raise UserError(
                f"objective '{recipe.objective.name}' lets tokens see later ones, which family {kind.kind}'s "
                "relative positions cannot tell apart; use family=prefix_lm, or size.positions=rope"
            )


def mean_flops(family: type[Family], objective: Objective, config: CoreConfig, steps: list[Batch]) -> int:
    """Returns the mean training FLOPs of a step."""
    with torch.device("meta"):
        model = family(config)
    return round(statistics.mean(objective.flops(model, batch) for batch in steps))


def measure(
    recipe: Recipe,
    family: type[Family],
    objective: Objective,
    steps: list[Batch],
    match: str,
    config: CoreConfig,
) -> float:
    """Returns how much this shape has of the quantity `match`; the recipe gives batch and window length."""
    if match in OF_PARAMETERS:
        counted = parameters(family, config)
        return counted.core if match == "core_parameters" else counted.total
    a_sequence = mean_flops(family, objective, config, steps) / recipe.training.batch
    return a_sequence if match == "flops_per_sequence" else a_sequence / recipe.size.length


def reference_measure(recipe: Recipe, vocabulary: Vocabulary) -> Callable[[str], float]:
    """Returns a function from the name of a matched quantity to how much of it the reference has."""
    size = recipe.size
    config = (own_config if recipe.budget.reference == "own" else plain_config)(size, vocabulary.size)
    length = recipe.budget.reference_length or size.length
    of_reference = recipe.model_copy(update={"size": size.model_copy(update={"length": length})})
    family = FAMILIES["decoder_ar"]
    causal = Causal(vocabulary, family.layout)
    sampled, _ = sampled_steps(of_reference, causal, vocabulary)
    return lambda match: measure(of_reference, family, causal, sampled, match, config)
