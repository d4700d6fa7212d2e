"""An imported model is a family like any other: checked, trained on, scored, written with, given back."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from references import SPECIALS, VOCABULARY, made, open_auto
from torch.optim import AdamW

from archs.decoding.generate import prompts
from archs.flow.cached_decoding import check_decoding
from archs.flow.whole_pass import check_flow
from archs.hf import from_hf, to_hf
from archs.hf.parity import compare
from archs.hf.references import REFERENCES
from objectives import OBJECTIVES
from objectives.base import Objective, Windows

ASKED = [
    *((name, "mlm") for name in ("bert", "roberta", "albert", "electra", "modernbert")),
    *((name, "causal") for name in ("gpt2", "llama")),
    *((name, objective) for name in ("t5", "bart") for objective in ("span", "prefix")),
    ("bart", "denoising"),
    ("xlnet", "permutation"),
]


def asks(model_type: str, name: str) -> Objective:
    return OBJECTIVES[name](VOCABULARY, REFERENCES[model_type].family.layout)


def windows(rows: int, width: int, packed: bool = False) -> Windows:
    """Random text, which can be learned by heart only; packed: two documents a row and padding."""
    rng = torch.Generator().manual_seed(0)
    tokens = torch.randint(SPECIALS, 61, (rows, width), generator=rng)
    if not packed:
        return Windows(tokens)
    segments = (torch.arange(width) >= width // 2).long().repeat(rows, 1)
    segments[0, -2:] = -1
    return Windows(tokens.masked_fill(segments < 0, 0), segments)


def test_every_architecture_is_gone_on_with() -> None:
    assert {model_type for model_type, _ in ASKED} == set(REFERENCES)


@pytest.mark.parametrize(("model_type", "name"), ASKED)
def test_training_goes_on_from_imported_weights_and_transformers_opens_the_result(
    model_type: str, name: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    family, objective = from_hf(made(model_type)), asks(model_type, name)
    before = copy.deepcopy(family.state_dict())
    batch = objective.build(windows(8, 20), torch.Generator().manual_seed(0))
    optimiser, losses = AdamW(family.parameters(), lr=5e-3), []
    family.train()
    for _ in range(16):
        loss = objective.loss(family, torch.nn.ModuleDict(), batch).value
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    family.eval()
    assert losses[-1] < 0.9 * losses[0]

    context, rest = windows(2, 9).tokens[:, :4], windows(2, 9).tokens[:, 4:]
    score = family.score(objective.ask(context, rest))
    assert (score.nats < 0).sum() == rest.numel()
    assert score.unit == ("pll" if name == "mlm" else "nll")

    to_hf(family, tmp_path, model_type=model_type)
    opened = open_auto(model_type, tmp_path)
    assert compare(opened).logits < 1e-4
    trained = from_hf(opened).state_dict()
    assert all(torch.equal(trained[key], each) for key, each in family.state_dict().items())
    assert any(not torch.equal(trained[key], each) for key, each in before.items())


@pytest.mark.parametrize("packed", [False, True], ids=["full", "packed"])
@pytest.mark.parametrize(("model_type", "name"), ASKED)
def test_information_flows_in_an_imported_model_as_its_masks_declare(
    model_type: str, name: str, packed: bool
) -> None:
    batch = asks(model_type, name).build(windows(2, 8, packed), torch.Generator().manual_seed(1))
    report = check_flow(from_hf(made(model_type)), batch)
    assert report.ok, str(report)


@pytest.mark.parametrize("model_type", ["gpt2", "llama", "t5", "bart"])
def test_information_flows_in_cached_decoding_of_an_imported_model_as_in_one_pass(model_type: str) -> None:
    batch = prompts([[11, 12, 13], [14]], [[21, 22], [23, 24, 25]])
    report = check_decoding(from_hf(made(model_type)), batch, length=3)
    assert report.ok, str(report)
