"""What is equal between arms, what is spent, and the proof of both.

`match` sizes every arm against one reference: a decoder-AR of the recipe's size with the causal objective,
with the size's other options or (`budget.reference=plain`) without.
The solver depends on the recipe alone, so an arm trained by itself has the shape it has in a sweep.
"""

from __future__ import annotations

import statistics
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from typing import Any

import torch

from archs import FAMILIES
from archs.batch import Batch
from archs.config import CoreConfig
from archs.count import Parameters, parameters
from archs.errors import UserError
from archs.family import Family
from archs.single_stack import SingleStack
from experiments.build import family_class, objective
from experiments.recipe import Recipe, SizeConfig
from objectives.base import Objective, Vocabulary, Windows
from objectives.causal import Causal

FFN_STEP = 16  # feed-forward widths the solver tries: multiples of this
WIDTH_STEPS = (0, -1, 1, -2, 2)  # widths it tries, in steps of 2 x heads around the reference
SAMPLED_STEPS = 64  # enough that a step's mean cost is known to half a percent, and a mixture's shares too
WIDEST = 8  # times the width of the size: how far the width follows a changed depth
MATCHES_OF_FLOPS = ("flops_per_token", "flops_per_sequence")  # a match of parameters is any other
LENGTH_MARGIN = 2  # positions an objective may need, in raw windows (source, sentinels and targets)


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

    @property
    def deviation(self) -> float:
        """Of the matched quantity from the reference's, as a fraction."""
        return self.measure / self.reference - 1 if self.reference else 0.0

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
        }


def reference_config(size: SizeConfig, vocabulary: int) -> CoreConfig:
    """The recipe's size as a single stack."""
    return size.core(vocabulary, max_length=LENGTH_MARGIN * size.length + 8)


def plain_config(size: SizeConfig, vocabulary: int) -> CoreConfig:
    """The size's layers, width, heads and ffn, everything else at its default."""
    return CoreConfig(
        vocabulary=vocabulary,
        layers=size.layers,
        width=size.width,
        heads=size.heads,
        ffn=size.ffn,
        max_length=LENGTH_MARGIN * size.length + 8,
    )


def planning_vocabulary(size: int) -> Vocabulary:
    """A stand-in of the right size, for plans made before there is a tokenizer."""
    from experiments.data.tokenizer import SPECIALS

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


def plan_arm(recipe: Recipe, vocabulary: Vocabulary, arm: str = "") -> Plan:
    """Sizes the arm, and works out how many steps its budget buys.

    Raises UserError if no shape matches within the tolerance, naming the nearest.
    """
    family = family_class(recipe)
    asks = objective(recipe, vocabulary, family.layout)
    sampled, targets = _sampled(recipe, asks, vocabulary)
    config, measure, reference = _solve(recipe, family, asks, sampled, vocabulary, arm)
    flops = _mean_flops(family, asks, config, sampled)
    tokens = recipe.training.batch * recipe.size.length
    counted = parameters(family, config)
    with torch.device("meta"):
        model = family(config)
        own = {id(p) for p in model.parameters()}  # what the objective trains may share some of these
        extra = sum(p.numel() for p in asks.modules(model).parameters() if id(p) not in own)
    return Plan(
        arm=arm or recipe.label,
        family=recipe.family.name,
        objective=recipe.objective.name,
        config=config,
        parameters=counted,
        extra_parameters=extra,
        flops_per_step=flops,
        tokens_per_step=tokens,
        targets_per_step=targets,
        steps=_steps(recipe, {"flops": flops, "tokens": tokens, "targets": targets, "steps": 1}),
        match=recipe.budget.match,
        measure=measure,
        reference=reference,
        tolerance=recipe.budget.tolerance,
    )


def respent(plan: Plan, recipe: Recipe, arm: str) -> Plan:
    """The plan of an arm that differs in what it spends alone."""
    a_step = {name: getattr(plan, f"{name}_per_step") for name in ("flops", "tokens", "targets")}
    return replace(plan, arm=arm, steps=_steps(recipe, {**a_step, "steps": 1}))


def reference_flops_a_token(recipe: Recipe, vocabulary: Vocabulary) -> float:
    """Training FLOPs of a decoder-AR of the recipe's size, plain and causal, per raw token."""
    plain = FAMILIES["decoder_ar"]
    causal = Causal(vocabulary, plain.layout)
    steps, _ = _sampled(recipe, causal, vocabulary)
    flops = _mean_flops(plain, causal, plain_config(recipe.size, vocabulary.size), steps)
    return flops / (recipe.training.batch * recipe.size.length)


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
    plain = (~vocabulary.special).nonzero().squeeze(1)
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


def _solve(
    recipe: Recipe,
    family: type[Family],
    asks: Objective,
    sampled: list[Batch],
    vocabulary: Vocabulary,
    arm: str,
) -> tuple[CoreConfig, float, float]:
    """The candidate nearest to the reference, its measure, and the reference's."""
    size = recipe.size
    own = reference_config(size, vocabulary.size)
    reference = own if recipe.budget.reference == "own" else plain_config(size, vocabulary.size)
    deep = own if size.depth is None else replace(own, layers=size.depth)
    depths = list(family.depths(deep))
    if size.decoder_layers is not None and depths != [deep]:
        depths = [replace(deep, decoder_layers=size.decoder_layers)]
    match = recipe.budget.match
    if match == "none":
        return depths[0], 0.0, 0.0

    def measure(
        kind: type[Family], objective: Objective, steps: list[Batch], length: int, config: CoreConfig
    ) -> float:
        if match in MATCHES_OF_FLOPS:
            a_sequence = _mean_flops(kind, objective, config, steps) / recipe.training.batch
            return a_sequence if match == "flops_per_sequence" else a_sequence / length
        counted = parameters(kind, config)
        return counted.core if match == "core_parameters" else counted.total

    plain = FAMILIES["decoder_ar"]
    causal = Causal(vocabulary, plain.layout)
    length = recipe.budget.reference_length or size.length
    read = recipe.model_copy(update={"size": size.model_copy(update={"length": length})})
    wanted = measure(plain, causal, _sampled(read, causal, vocabulary)[0], length, reference)
    best: tuple[float, CoreConfig, float] | None = None
    of_arm = cache(partial(measure, family, asks, sampled, size.length))
    if size.depth is not None or (size.shared_layers and match not in MATCHES_OF_FLOPS):
        depths = [_widened(depth, wanted, of_arm) for depth in depths]
    for config in candidates(depths, wanted, of_arm):
        found = of_arm(config)
        off = abs(found / wanted - 1)
        if best is None or off < best[0] - 1e-9:
            best = off, config, found
        if off <= recipe.budget.tolerance / 2:
            break  # candidates come most natural first
    assert best is not None
    off, config, found = best
    if off > recipe.budget.tolerance:
        raise UserError(
            f"arm '{arm or recipe.label}' cannot be matched on {recipe.budget.match} within "
            f"{recipe.budget.tolerance:.1%}: the nearest shape, {config.layers}"
            f"{'' if config.decoder_layers is None else f'+{config.decoder_layers}'} layers x {config.width} "
            f"with ffn {config.ffn}, is {found / wanted - 1:+.1%} off; change size.*, raise "
            "budget.tolerance, or set budget.match=none"
        )
    return config, found, wanted


def _widened(depth: CoreConfig, wanted: float, measure: Callable[[CoreConfig], float]) -> CoreConfig:
    """The same layers at the width that comes nearest, the feed-forward as many times the width as before."""
    step = 2 * depth.heads  # rope turns pairs

    def at(width: int) -> CoreConfig:
        ffn = max(round(depth.ffn / depth.width * width / FFN_STEP), 1) * FFN_STEP
        return replace(depth, width=width, ffn=ffn)

    widths = range(step, WIDEST * depth.width, step)
    above = bisect_left(widths, wanted, key=lambda width: measure(at(width)))
    return min(map(at, widths[max(above - 1, 0) : above + 1]), key=lambda shape: abs(measure(shape) - wanted))


def candidates(
    depths: list[CoreConfig],
    wanted: float,
    measure: Callable[[CoreConfig], float],
) -> Iterator[CoreConfig]:
    """Shapes to try: every depth as it is, then with the feed-forward width that comes nearest, then with
    other widths too."""
    yield from depths
    for steps in WIDTH_STEPS:
        for depth in depths:
            width = depth.width + steps * 2 * depth.heads
            if width <= 0:
                continue
            config = replace(depth, width=width)
            ffns = range(FFN_STEP, 2 * max(depth.ffn, width), FFN_STEP)
            # The measure grows with the feed-forward width: the nearest are on both sides of `wanted`.
            above = bisect_left(ffns, wanted, key=lambda ffn, at=config: measure(replace(at, ffn=ffn)))
            near = [replace(config, ffn=ffn) for ffn in ffns[max(above - 1, 0) : above + 1]]
            yield from sorted(near, key=lambda shape: abs(measure(shape) - wanted))
