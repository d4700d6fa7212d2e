"""Links between our weights and Hugging Face's, and conversion in both directions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from torch import Size, Tensor

from archs.errors import UserError

Form = Literal["same", "transposed", "heads_in", "heads_out", "row"]

# Functions that turn their weight into ours, and ours into theirs of a given shape.
FORMS: dict[Form, tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Size], Tensor]]] = {
    "same": (lambda t: t, lambda t, _: t),
    "transposed": (lambda t: t.t(), lambda t, _: t.t()),
    "heads_in": (
        lambda t: rearrange(t, "d h e -> (h e) d"),
        lambda t, shape: rearrange(t, "(h e) d -> d h e", h=shape[1]),
    ),
    "heads_out": (
        lambda t: rearrange(t, "d h e -> d (h e)"),
        lambda t, shape: rearrange(t, "d (h e) -> d h e", h=shape[1]),
    ),
    "row": (lambda t: t.flatten(), lambda t, shape: t.reshape(shape)),  # (1,…,1,V) -> (V)
}


@dataclass(frozen=True)
class Link:
    """Our weights that equal theirs, both concatenated on the first axis, theirs converted by `form`.

    skip: the number of their first rows that are not used, such as BART's first two positions.
    """

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    form: Form = "same"
    skip: int = 0


PARTS = ("weight", "bias")


def module(
    ours: str | tuple[str, ...], theirs: str | tuple[str, ...], form: Form = "same", skip: int = 0
) -> list[Link]:
    """Links the weights and the biases of modules. Links that exist on neither side are ignored later."""
    ours, theirs = ((each,) if isinstance(each, str) else each for each in (ours, theirs))
    named = {part: [tuple(f"{name}.{part}" for name in side) for side in (ours, theirs)] for part in PARTS}
    return [
        Link(named["weight"][0], named["weight"][1], form, skip),
        Link(named["bias"][0], named["bias"][1]),
    ]


def read(
    links: Iterable[Link], theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Converts their weights to ours, with the names and shapes in `ours`.

    Raises UserError with the first names of weights that are missing, left over, or of another shape.
    """
    present = [link for link in links if _in_any(link.ours, ours) or _in_any(link.theirs, theirs)]
    check_names(
        missing=[name for link in present for name in link.theirs if name not in theirs],
        extra=sorted(set(theirs) - {name for link in present for name in link.theirs}),
    )
    converted: dict[str, Tensor] = {}
    for link in present:
        into, _ = FORMS[link.form]
        whole = torch.cat([into(theirs[name][link.skip :]) for name in link.theirs])
        unknown = [name for name in link.ours if name not in ours]
        if unknown:
            raise UserError(f"extra weights: {', '.join(link.theirs)}; the configuration says there are none")
        lengths = [len(ours[name]) for name in link.ours]
        shape = (sum(lengths), *ours[link.ours[0]].shape[1:])
        if tuple(whole.shape) != shape:
            raise UserError(
                f"shape mismatch: {', '.join(link.theirs)} make {tuple(whole.shape)}, the configuration says "
                f"{shape}; config and weights are not of one model"
            )
        converted |= dict(zip(link.ours, whole.split(lengths), strict=True))
    absent = sorted(set(ours) - set(converted))
    assert not absent, f"no link leads to {absent}"
    return converted


def write(
    links: Iterable[Link], ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Converts our weights to theirs, with the names and shapes in `theirs`; skipped rows are zeros."""
    converted: dict[str, Tensor] = {}
    for link in links:
        if not _in_any(link.ours, ours):
            continue
        into, back = FORMS[link.form]
        shapes = [theirs[name].shape for name in link.theirs]
        lengths = [len(into(torch.empty(shape, device="meta"))) - link.skip for shape in shapes]
        parts = torch.cat([ours[name] for name in link.ours]).split(lengths)
        for name, shape, part in zip(link.theirs, shapes, parts, strict=True):
            if link.skip:
                part = torch.cat((part.new_zeros(link.skip, *part.shape[1:]), part))
            converted[name] = back(part, shape).contiguous()
    differ = set(theirs) ^ set(converted)
    assert not differ, f"no link leads to {sorted(differ)}"
    return converted


def _in_any(names: tuple[str, ...], weights: Mapping[str, Tensor]) -> bool:
    return any(name in weights for name in names)


def check_names(missing: list[str], extra: list[str], where: str = "") -> None:
    """Raises UserError with the first names of missing or extra weights; `where` is added to the message."""
    for what, names in (("missing", missing), ("extra", extra)):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            shown = f"{', '.join(names[:3])}{more}"
            raise UserError(f"{what} weights{where}: {shown}; config and weights must be of one model")
