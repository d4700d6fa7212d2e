"""Finds the shape of an arm that matches the reference.

Of the shapes that are tried it is the first that is near enough, else the nearest.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import replace

from archs.config import CoreConfig
from archs.errors import UserError
from archs.families.family import Family
from experiments.recipe.groups.size import SizeConfig
from experiments.recipe.recipe import Recipe

FFN_STEP = 16  # the feed-forward widths that are tried are multiples of this
WIDTH_STEPS = (0, -1, 1, -2, 2)  # the widths that are tried, in steps of 2 x heads from the size's own
WIDEST = 8  # a changed depth widens the arm to at most this times the size's width
LENGTH_MARGIN = 2  # an objective may need so many times the window's positions (source, sentinels, targets)
LENGTH_ROOM = 8  # and a few more for special tokens
OF_PARAMETERS = ("core_parameters", "parameters")  # matched quantities that are not FLOPs

Measure = Callable[[CoreConfig], float]


def own_config(size: SizeConfig, vocabulary: int) -> CoreConfig:
    """Returns the recipe's size as a single stack."""
    return size.core(vocabulary, max_length=LENGTH_MARGIN * size.length + LENGTH_ROOM)


def plain_config(size: SizeConfig, vocabulary: int) -> CoreConfig:
    """Returns a single stack of the size's layers, width, heads and ffn, with defaults for all else."""
    return CoreConfig(
        vocabulary=vocabulary,
        layers=size.layers,
        width=size.width,
        heads=size.heads,
        ffn=size.ffn,
        max_length=LENGTH_MARGIN * size.length + LENGTH_ROOM,
    )


def shapes(recipe: Recipe, family: type[Family], vocabulary: int) -> list[CoreConfig]:
    """Returns the recipe's size as shapes of the family, one for each depth to try, the most natural first.

    Raises UserError if the family has no such stacks, or if both `stacks` and the size set the depth.
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
    """Returns the shape whose measure is near enough to `wanted`, and that measure.

    Raises UserError, which names the arm and the nearest shape, if none is within the tolerance.
    """
    size, match, tolerance = recipe.size, recipe.budget.match, recipe.budget.tolerance
    best: tuple[float, CoreConfig, float] | None = None
    if size.depth is not None or (size.shared_layers and match in OF_PARAMETERS):
        depths = [_widened(depth, wanted, measure) for depth in depths]
    for config in candidates(depths, wanted, measure):
        measured = measure(config)
        off = abs(measured / wanted - 1)
        if best is None or off < best[0] - 1e-9:
            best = off, config, measured
        if off <= tolerance / 2:
            break  # the most natural candidates come first
    assert best is not None
    off, config, measured = best
    if off > tolerance:
        raise UserError(
            f"arm '{arm}' cannot be matched on {match} within {tolerance:.1%}: the nearest shape, "
            f"{config.layers}{'' if config.decoder_layers is None else f'+{config.decoder_layers}'} layers x "
            f"{config.width} with ffn {config.ffn}, is {measured / wanted - 1:+.1%} off; change size.*, "
            "raise budget.tolerance, or set budget.match=none"
        )
    return config, measured


def _widened(depth: CoreConfig, wanted: float, measure: Measure) -> CoreConfig:
    """Returns the same layers at the nearest width, with the same ratio of feed-forward to width."""
    step = 2 * depth.heads  # rope rotates pairs, so a head is of even width

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
    """Yields the shapes to try: each depth as it is, then other feed-forward widths, then other widths."""
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
