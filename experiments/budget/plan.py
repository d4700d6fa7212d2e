"""What is equal between arms, what is spent, and the proof of both.

`match` sizes every arm against one reference: a decoder-AR of the recipe's size with the causal objective,
with the size's other options or (`budget.reference=plain`) without.
The solver depends on the recipe alone, so an arm trained by itself has the shape it has in a sweep.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from typing import Any

import torch

from archs import FAMILIES
from archs.batch import Batch
from archs.config import CoreConfig
from archs.count import Parameters, parameters
from archs.errors import UserError
from archs.families.family import Family
from archs.families.single_stack import SingleStack
from experiments.budget.solver import OF_PARAMETERS, own_config, plain_config, shapes, solve
from experiments.recipe.build import Built, family_class
from experiments.recipe.recipe import Recipe
from objectives.base import Objective, Vocabulary, Windows
from objectives.causal import Causal

SAMPLED_STEPS = 64  # enough that a step's mean cost is known to half a percent, and a mixture's shares too


@dataclass(frozen=True)
class Plan:
    """One arm before it runs. Counts are of training; `steps` None = stopped by seconds."""

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
    multiple: int  # of the reference's amount that the arm is matched to: 2 for an encoder-decoder at 2P
    reference_parameters: int  # of its core: P of Raffel et al. 2020
    reference_flops_per_token: float  # M

    @property
    def deviation(self) -> float:
        """Of the matched quantity from `multiple` times the reference's, as a fraction."""
        return self.measure / (self.multiple * self.reference) - 1 if self.reference else 0.0

    @property
    def times_parameters(self) -> float:
        """Core parameters in units of the reference's, whatever is matched."""
        return self.parameters.core / self.reference_parameters

    @property
    def times_flops(self) -> float:
        """FLOPs a token in units of the reference's."""
        return self.flops_per_token / self.reference_flops_per_token

    @property
    def flops_per_token(self) -> float:
        return self.flops_per_step / self.tokens_per_step

    @property
    def shape(self) -> str:
        depth = str(self.config.layers)
        if self.config.decoder_layers is not None:
            depth += f"+{self.config.decoder_layers}"
        return f"{depth} x {self.config.width}, ffn {self.config.ffn}"

    def summary(self) -> dict[str, Any]:
        """For audit.json, W&B and the report."""
        return asdict(self) | {
            "deviation": self.deviation,
            "shape": self.shape,
            "flops_per_token": self.flops_per_token,
            "times_parameters": self.times_parameters,
            "times_flops": self.times_flops,
        }


def planning_vocabulary(size: int) -> Vocabulary:
    """A stand-in of the right size, for plans made before there is a tokenizer."""
    from experiments.data.tokenizer.special import SPECIALS

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
    """Sizes the arm, and works out how many steps its budget buys.

    arm: its name in tables, the recipe's label if empty.
    Raises UserError if no shape matches within the tolerance, naming the nearest.
    """
    recipe, family = built.recipe, built.family_class
    arm, match = arm or recipe.label, recipe.budget.match
    depths = shapes(recipe, family, vocabulary.size)
    asks = built.objective(vocabulary)
    sampled, targets = _sampled(recipe, asks, vocabulary)
    of_reference = _reference(recipe, vocabulary)
    multiple = family.times_parameters(recipe.family.stacks) if match in OF_PARAMETERS else 1
    config, measure, reference = depths[0], 0.0, 0.0
    if match != "none":
        of_arm = cache(partial(_measure, recipe, family, asks, sampled, match))
        reference = of_reference(match)
        config, measure = solve(recipe, depths, multiple * reference, of_arm, arm)
    flops = _mean_flops(family, asks, config, sampled)
    tokens = recipe.training.batch * recipe.size.length
    counted = parameters(family, config)
    with torch.device("meta"):
        model = family(config)
        own = {id(p) for p in model.parameters()}  # what the objective trains may share some of these
        extra = sum(p.numel() for p in asks.modules(model).parameters() if id(p) not in own)
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
        measure=measure,
        reference=reference,
        tolerance=recipe.budget.tolerance,
        multiple=multiple,
        reference_parameters=round(of_reference("core_parameters")),
        reference_flops_per_token=of_reference("flops_per_token"),
    )


def respent(plan: Plan, recipe: Recipe, arm: str) -> Plan:
    """The plan of an arm that differs in what it spends alone."""
    a_step = {name: getattr(plan, f"{name}_per_step") for name in ("flops", "tokens", "targets")}
    return replace(plan, arm=arm, steps=_steps(recipe, {**a_step, "steps": 1}))


def reference_flops_a_token(recipe: Recipe, vocabulary: Vocabulary) -> float:
    """Training FLOPs of what arms are matched to, per raw token."""
    return _reference(recipe, vocabulary)("flops_per_token")


def _steps(recipe: Recipe, a_step: dict[str, int]) -> int | None:
    budget = recipe.budget
    if budget.spends == 0:
        return 0
    return None if budget.stop == "seconds" else max(1, round(budget.spends / a_step[budget.stop]))


def _sampled(recipe: Recipe, asks: Objective, vocabulary: Vocabulary) -> tuple[list[Batch], int]:
    """Batches really built, on random text, spread over the budget; and the mean number of their targets.

    Many, because one prefix is split early and another late. Their shapes alone are kept: of large batches
    the values would fill the memory.
    """
    rng = torch.Generator().manual_seed(0)
    plain = vocabulary.ordinary
    shape = (recipe.training.batch, recipe.size.length)
    shapes: list[Batch] = []
    targets: list[int] = []
    for step in range(SAMPLED_STEPS):
        text = plain[torch.randint(len(plain), shape, generator=rng)]
        fraction = None if recipe.budget.stop == "seconds" else (step + 0.5) / SAMPLED_STEPS
        batch = asks.build(Windows(text, step=step, fraction=fraction), rng)
        _check_mask(recipe, batch)
        shapes.append(batch.to("meta"))
        targets.append(asks.supervised(batch))
    for part in {batch.part for batch in shapes}:
        if not any(number for number, batch in zip(targets, shapes, strict=True) if batch.part == part):
            names = list(recipe.objective.parts)
            which = f"part '{names[part]}'" if names else f"'{recipe.objective.name}'"
            raise UserError(
                f"objective {which} asks for no token, so '{recipe.label}' would learn nothing by it; "
                "check its options, and a select of your own"
            )
    return shapes, round(statistics.mean(targets))


def _check_mask(recipe: Recipe, batch: Batch) -> None:
    """Raises UserError if the batch brings a mask that does not go with the recipe's mask or positions."""
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


def _mean_flops(family: type[Family], asks: Objective, config: CoreConfig, steps: list[Batch]) -> int:
    """Training FLOPs of a step."""
    with torch.device("meta"):
        model = family(config)
    return round(statistics.mean(asks.flops(model, batch) for batch in steps))


def _measure(
    recipe: Recipe, family: type[Family], asks: Objective, steps: list[Batch], match: str, config: CoreConfig
) -> float:
    """How much this shape has of what is matched; `recipe` tells the batch and the length of its windows."""
    if match in OF_PARAMETERS:
        counted = parameters(family, config)
        return counted.core if match == "core_parameters" else counted.total
    a_sequence = _mean_flops(family, asks, config, steps) / recipe.training.batch
    return a_sequence if match == "flops_per_sequence" else a_sequence / recipe.size.length


def _reference(recipe: Recipe, vocabulary: Vocabulary) -> Callable[[str], float]:
    """How much the reference has of what a match names."""
    size = recipe.size
    config = (own_config if recipe.budget.reference == "own" else plain_config)(size, vocabulary.size)
    length = recipe.budget.reference_length or size.length
    reads = recipe.model_copy(update={"size": size.model_copy(update={"length": length})})
    family = FAMILIES["decoder_ar"]
    causal = Causal(vocabulary, family.layout)
    sampled, _ = _sampled(reads, causal, vocabulary)
    return lambda match: _measure(reads, family, causal, sampled, match, config)
