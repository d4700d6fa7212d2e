"""The differences between a family and the Hugging Face model whose weights it has.

    python -m archs.hf.parity            the table of docs/parity.md, with random weights
    python -m archs.hf.parity FOLDER …   the same for your own models

Both models read the same random texts, padded on either side. Compared are logits, hidden states of each
layer and the gradients of one loss, in float32, at all cells except padding.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from archs.batch import Batch
from archs.errors import UserError
from archs.families.encoder_decoder import EncoderDecoder
from archs.families.family import Family
from archs.hf.cases import CASES, build
from archs.hf.folder import open_folder, reference_of
from archs.hf.load import from_hf, weights_of
from archs.hf.samples import sample_for
from archs.hf.weights import read

COLUMNS = (
    "model",
    "configuration",
    "logits",
    "hidden states",
    "gradients",
    "largest logit",
    "largest gradient",
)


@dataclass(frozen=True)
class Differences:
    """The largest absolute differences in float32, and the largest logit and gradient for comparison."""

    logits: float
    hidden: float
    gradients: float
    largest_logit: float
    largest_gradient: float


def compare(model: PreTrainedModel, seed: int = 0) -> Differences:
    """Compares `from_hf(model)` with `model`, both in eval mode, on random texts. Sets the model's gradients.

    Raises UserError for a model that `from_hf` refuses, for one too small for the texts, and for one that
    runs pentarch's own code, since it would be compared with itself.
    """
    family, reference = from_hf(model), reference_of(model.config.model_type)
    sample = sample_for(family, model.config, torch.Generator().manual_seed(seed))
    logits = family.logits(family.hidden(sample.batch).targets)
    model.eval().zero_grad()
    out = model(**sample.theirs, output_hidden_states=True, return_dict=True)
    targets = sample.batch.targets[sample.batch.weights > 0]
    logits, answers = logits[: len(targets)], their_answers(out.logits, sample.batch)
    for each in (logits, answers):
        functional.cross_entropy(each, targets).backward()
    theirs = their_gradients(family, model, reference.links(model.config))
    gradients = [
        (torch.zeros_like(each) if each.grad is None else each.grad, theirs[name])
        for name, each in family.named_parameters()
        if name in theirs
    ]
    return Differences(
        logits=largest(logits - answers),
        hidden=largest(*(one - two for one, two in hidden_states(family, sample.batch, out))),
        gradients=largest(*(ours - other for ours, other in gradients)),
        largest_logit=largest(answers),
        largest_gradient=largest(*(other for _, other in gradients)),
    )


def their_answers(logits: Tensor, batch: Batch) -> Tensor:
    """Their logits (B,T,V), or (B,M,V) of query rows, at the cells with weight: (N,V)."""
    if batch.queries is None:
        return logits[batch.weights > 0]
    whole = logits.new_zeros(*batch.tokens.shape, logits.shape[2])
    row, slot = (batch.queries >= 0).nonzero(as_tuple=True)
    whole[row, batch.queries[row, slot]] = logits[row, slot]
    return whole[batch.weights > 0]


def hidden_states(family: Family, batch: Batch, out: Any) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs of our and their hidden states, layer by layer, without padding; the last pair is normed."""
    hidden = family.hidden(batch)
    T = batch.tokens.shape[1]
    real = torch.ones_like(batch.tokens) > 0 if batch.segments is None else batch.segments >= 0
    if isinstance(family, EncoderDecoder):
        assert batch.source_segments is not None
        memory, layers = family.encode(batch)
        yield from layer_by_layer(
            [*layers[:-1], memory], out.encoder_hidden_states, batch.source_segments >= 0
        )
        theirs = out.decoder_hidden_states
    elif batch.queries is not None:
        content, query_rows = out.hidden_states[::2], out.hidden_states[1::2]
        used = (batch.weights.gather(1, batch.queries.clamp(min=0)) > 0) & (batch.queries >= 0)
        yield from layer_by_layer([each[:, T:] for each in hidden.layers], query_rows, used)
        theirs = content
    else:
        theirs = out.hidden_states
    yield from layer_by_layer([*(each[:, :T] for each in hidden.layers[:-1]), hidden.rows], theirs, real)


def layer_by_layer(ours: list[Tensor], theirs: Any, real: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    after_embedding = theirs[1:]
    for one, two in zip(ours, after_embedding, strict=True):
        yield one[real], two[real]


def their_gradients(family: Family, model: PreTrainedModel, links: list[Any]) -> dict[str, Tensor]:
    """Their gradients under our names, without those of constants such as BART's final bias."""
    weights = weights_of(model)
    learned = {name: each.grad for name, each in weights.items() if each.grad is not None}
    gradients = {name: learned.get(name, torch.zeros_like(each)) for name, each in weights.items()}
    renamed = read(links, gradients, dict(family.named_parameters()))
    constant = {name for link in links for name in link.ours if not set(link.theirs) & set(learned)}
    return {name: gradient for name, gradient in renamed.items() if name not in constant}


def largest(*tensors: Tensor) -> float:
    """The largest absolute value; nan if any value is nan."""
    return float(torch.stack([each.detach().abs().max() for each in tensors]).max())


def row(model: str, configuration: str, compared: Differences) -> str:
    """A row of the table with the columns COLUMNS."""
    differences = (f"{each:.1e}" for each in (compared.logits, compared.hidden, compared.gradients))
    largest_values = (f"{each:.2g}" for each in (compared.largest_logit, compared.largest_gradient))
    return line(model, configuration, *differences, *largest_values)


def line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table. A user's mistake is printed as one line to stderr, with exit code 2."""
    parser = argparse.ArgumentParser(
        prog="python -m archs.hf.parity",
        description="The largest differences between a family and the Hugging Face model it was read from.",
    )
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="A folder with a model.")
    folders: list[Path] = parser.parse_args(arguments).folders
    try:
        for each in table(opened(folders) if folders else cases()):
            print(each, flush=True)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def table(models: Iterator[tuple[str, str, PreTrainedModel]]) -> Iterator[str]:
    """The table's lines. The header comes with the first row, so that a refused model prints none."""
    head = (line(*COLUMNS), line(*("---" for _ in COLUMNS)))
    for name, configuration, model in models:
        yield from (*head, row(name, configuration, compare(model)))
        head = ()


def cases() -> Iterator[tuple[str, str, PreTrainedModel]]:
    for name, configuration, model_type, arguments in CASES:
        yield name, configuration, build(model_type, arguments)


def opened(folders: list[Path]) -> Iterator[tuple[str, str, PreTrainedModel]]:
    for folder in folders:
        model = open_folder(folder)
        yield type(model).__name__, str(folder), model


if __name__ == "__main__":
    main()
