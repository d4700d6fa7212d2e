"""The shape of an arm: of those tried, the first near enough to what is matched, or the nearest."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import replace

from archs.config import CoreConfig
from archs.errors import UserError
from archs.families.family import Family
from experiments.recipe.groups.size import SizeConfig
from experiments.recipe.recipe import Recipe

FFN_STEP = 16  # feed-forward widths that are tried: multiples of this
WIDTH_STEPS = (0, -1, 1, -2, 2)  # widths that are tried, in steps of 2 x heads around the reference
WIDEST = 8  # times the width of the size: how far the width follows a changed depth
LENGTH_MARGIN = 2  # positions an objective may need, in raw windows (source, sentinels and targets)
LENGTH_ROOM = 8  # and a few more, for special tokens
OF_PARAMETERS = ("core_parameters", "parameters")  # the matches that are not of FLOPs

Measure = Callable[[CoreConfig], float]


def own_config(size: SizeConfig, vocabulary: int) -> CoreConfig:
    """The recipe's size as a single stack."""
    return size.core(vocabulary, max_length=LENGTH_MARGIN * size.length + LENGTH_ROOM)


def plain_config(size: SizeConfig, vocabulary: int) -> CoreConfig:
    """The size's layers, width, heads and ffn, everything else at its default."""
    return CoreConfig(
        vocabulary=vocabulary,
        layers=size.layers,
        width=size.width,
        heads=size.heads,
        ffn=size.ffn,
        max_length=LENGTH_MARGIN * size.length + LENGTH_ROOM,
    )


def shapes(recipe: Recipe, family: type[Family], vocabulary: int) -> list[CoreConfig]:
    """The recipe's size as the family takes it, in each depth to be tried, most natural first.

    Raises UserError for stacks that the family does not have, or that the size gives another depth.
    """
    size, stacks = recipe.size, recipe.family.stacks
    own = own_config(size, vocabulary)
    deep = own if size.depth is None else replace(own, layers=size.depth)
    depths = list(family.depths(deep, stacks))
    if size.decoder_layers is None or depths == [deep]:
        return depths
    if stacks is not None:
        raise UserError(
            f"family.stacks={stacks} and size.decoder_layers={size.decoder_layers} both say how deep the "
            "decoder is; leave one of them out"
        )
    return [replace(deep, decoder_layers=size.decoder_layers)]


def solve(
    recipe: Recipe, depths: list[CoreConfig], wanted: float, measure: Measure, arm: str
) -> tuple[CoreConfig, float]:
    """The shape that comes near enough to `wanted`, and its measure.

    Raises UserError if no shape matches within the tolerance, naming the arm and the nearest.
    """
    size, match, tolerance = recipe.size, recipe.budget.match, recipe.budget.tolerance
    best: tuple[float, CoreConfig, float] | None = None
    if size.depth is not None or (size.shared_layers and match in OF_PARAMETERS):
        depths = [_widened(depth, wanted, measure) for depth in depths]
    for config in candidates(depths, wanted, measure):
        found = measure(config)
        off = abs(found / wanted - 1)
        if best is None or off < best[0] - 1e-9:
            best = off, config, found
        if off <= tolerance / 2:
            break  # candidates come most natural first
    assert best is not None
    off, config, found = best
    if off > tolerance:
        raise UserError(
            f"arm '{arm}' cannot be matched on {match} within {tolerance:.1%}: the nearest shape, "
            f"{config.layers}{'' if config.decoder_layers is None else f'+{config.decoder_layers}'} layers x "
            f"{config.width} with ffn {config.ffn}, is {found / wanted - 1:+.1%} off; change size.*, raise "
            "budget.tolerance, or set budget.match=none"
        )
    return config, found


def _widened(depth: CoreConfig, wanted: float, measure: Measure) -> CoreConfig:
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
    measure: Measure,
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
