"""The check of `archs.flow.whole_pass` for cached decoding: a step depends on what the mask allows alone."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from einops import repeat
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from archs.batch import PADDING, Batch, MaskBuilder
from archs.core.reach import Streams
from archs.errors import UserError
from archs.families.family import Family
from archs.families.steps import blank_columns, with_room
from archs.flow.report import FlowReport, Place, compare
from archs.flow.whole_pass import stacks


def check_decoding(
    family: Family, prompt: Batch, length: int, declared: MaskBuilder | None = None
) -> FlowReport:
    """Compares the cells on which each step of `family.steps` depends with those that the mask declares.

    The rows of the report ("written") are steps, numbered by the token that they write: each layer's output
    in that step, and its logits. The cells are those of the prompt, of the source, and the tokens written
    before. The written tokens are fixed. In a row with fewer than `length` blanks only its blanks count.
    declared: as in `archs.flow.whole_pass.check_flow`. The check runs in float64 on a copy on the CPU and
    writes the text once for every cell, so give it short prompts.

    Raises UserError for a family that does not write from left to right, for a length below 1, and for a
    prompt without blanks.
    """
    if length < 1:
        raise UserError(f"length={length} writes nothing to check; give 1 or more")
    family, prompt = copy.deepcopy(family).cpu().double().eval(), prompt.to("cpu")
    room = family.steps(prompt, length).room
    length = length if room is None else min(length, int(room.max()))
    if length == 0:
        raise UserError("the prompt has no blanks, cells with weight, and nothing would be written to check")
    text = _filled(prompt, length) if family.layout == "permuted" else _continued(prompt, length)
    layers = [text.steps(reached) for reached in family.reachable(text.whole, declared)["tokens"]]
    measured = _measured(family, prompt, length, {name: cells.shape[2] for name, cells in layers[0].items()})
    numbers = [*range(1, len(layers) + 1), None]
    places = [
        Place("written", number, expected, {name: cells & text.exists for name, cells in streams.items()})
        for number, expected, streams in zip(numbers, [*layers, layers[-1]], measured, strict=True)
    ]
    return compare(places, prompt)


@dataclass(frozen=True)
class _Text:
    """Prompt and continuation as one batch.

    rows (B,length): the row of the batch that corresponds to each step. exists (B,length,1) bool: the row has
    so many steps. cells (B,length-1): the columns of the written tokens that later steps read. given (B,T)
    bool: the prompt's cells that are no blanks.
    """

    whole: Batch
    rows: Tensor
    exists: Tensor
    cells: Tensor
    given: Tensor

    def steps(self, reached: Streams) -> Streams:
        """The cells that a layer's rows reach -> those that the steps reach: prompt, written and source."""
        steps = {
            name: cells.gather(1, repeat(self.rows, "b n -> b n c", c=cells.shape[2])) & self.exists
            for name, cells in reached.items()
        }
        own, T = steps.pop("tokens"), self.given.shape[1]
        written = own.gather(2, repeat(self.cells, "b c -> b n c", n=own.shape[1]))
        written &= self.exists[:, :-1].mT  # the columns of missing blanks are cells that are no blanks
        return {"prompt": own[:, :, :T] & self.given[:, None], "written": written} | steps


def _continued(prompt: Batch, length: int) -> _Text:
    B, T = prompt.tokens.shape
    rows = repeat(torch.arange(T - 1, T - 1 + length), "n -> b n", b=B)
    exists = torch.ones(B, length, 1, dtype=torch.bool)
    given = torch.ones(B, T, dtype=torch.bool)
    return _Text(with_room(prompt, length - 1), rows, exists, rows[:, 1:], given)


def _filled(prompt: Batch, length: int) -> _Text:
    """The blanks in the order of their columns, each with a query row."""
    (B, T), blanks = prompt.tokens.shape, prompt.weights > 0
    columns, exists = blank_columns(prompt, length)
    rows = repeat(torch.arange(T, T + length), "n -> b n", b=B)
    rank, queries = blanks.cumsum(dim=1) * blanks, columns.masked_fill(~exists, PADDING)
    whole = replace(prompt, rank=rank, queries=queries)
    return _Text(whole, rows, exists[:, :, None], columns[:, :-1], ~blanks)


def _measured(family: Family, prompt: Batch, length: int, cells: dict[str, int]) -> list[Streams]:
    """On which cells each step depends, for each layer and for the logits. cells: their number by stream.

    Each cell in turn is moved in a random direction, by forward-mode derivatives. They need no graph, which
    cached decoding does not keep, and unlike finite differences they are not lost in rounding.
    """
    calls = _cells_read(family, prompt, length)
    numbers = range(sum(cells.values()))
    moved = [_moved_by(family, prompt, length, [read == number for read in calls]) for number in numbers]
    by_layer = torch.stack(moved, dim=-1)
    return [dict(zip(cells, layer.split(list(cells.values()), dim=-1), strict=True)) for layer in by_layer]


def _cells_read(family: Family, prompt: Batch, length: int) -> list[Tensor]:
    """The numbers of the cells (B,n) that each call of the embedding reads.

    Cells are numbered through the prompt, the written tokens and the source. The family writes a text whose
    tokens are these numbers, since it may read its prompt in any order.
    """
    (B, T), calls = prompt.tokens.shape, []

    def note(module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
        calls.append(args[0])
        return (torch.zeros_like(args[0]),)

    numbered = replace(prompt, tokens=repeat(torch.arange(T), "t -> b t", b=B))
    if prompt.source is not None:
        first = T + length - 1
        source = torch.arange(first, first + prompt.source.shape[1])
        numbered = replace(numbered, source=repeat(source, "s -> b s", b=B))
    hook = family.embedding.register_forward_pre_hook(note)
    _write(family, numbered, length, lambda number: torch.full((B,), T + number), lambda logits: None)
    hook.remove()
    return calls


def _moved_by(family: Family, prompt: Batch, length: int, where: list[Tensor]) -> Tensor:
    """Which outputs change if the cells `where` (B,n) bool of each call of the embedding change.

    The newest row of each layer, then the logits: (layers + 1,B,length) bool.
    """
    direction = torch.randn(
        family.embedding.embedding_dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    calls = iter(where)
    latest: list[Tensor] = []
    steps: list[Tensor] = []

    def move(module: nn.Module, args: tuple[Tensor], output: Tensor) -> Tensor:
        return forward_ad.make_dual(output, next(calls)[:, :, None] * direction)

    def keep(module: nn.Module, args: tuple[Tensor], output: tuple[Tensor, list[Tensor]]) -> None:
        latest[:] = [layer[:, -1] for layer in output[1]]

    def take(logits: Tensor) -> None:
        steps.append(torch.stack([_moves(output) for output in (*latest, logits)]))

    hooks = [family.embedding.register_forward_hook(move)]
    hooks += [stack.register_forward_hook(keep) for stack in stacks(family)]
    tokens = torch.zeros(len(prompt.tokens), dtype=torch.long)
    with (
        warnings.catch_warnings(action="ignore", category=DeprecationWarning),  # of torch, by torch
        forward_ad.dual_level(),
        sdpa_kernel(SDPBackend.MATH),  # the one backend that has forward-mode derivatives
    ):
        _write(family, prompt, length, lambda number: tokens, take)
    for hook in hooks:
        hook.remove()
    return torch.stack(steps, dim=-1)


def _moves(output: Tensor) -> Tensor:
    """output (B,D) -> (B) bool: the row's derivative is not zero."""
    tangent = forward_ad.unpack_dual(output).tangent
    return torch.zeros(len(output), dtype=torch.bool) if tangent is None else tangent.ne(0).any(dim=-1)


@torch.no_grad()
def _write(
    family: Family,
    prompt: Batch,
    length: int,
    token: Callable[[int], Tensor],
    take: Callable[[Tensor], None],
) -> None:
    """Writes token(0), token(1), … (B) after the prompt, and passes each step's logits to `take`."""
    steps = family.steps(prompt, length)
    take(steps.first())
    for number in range(length - 1):
        take(steps.next(token(number)))
