"""Options that change how a run is trained and not what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from run_files import assert_same_to_the_last_bit, rows

from archs import FAMILIES
from archs.core.transformer import Stack
from experiments.recipe.recipe import Recipe
from experiments.storage.json_files import read_json
from experiments.training.module import Pretraining
from experiments.training.train import train

Compose = Callable[..., Recipe]
# A second family that the objective trains, and two stacks of one set of weights.
OTHERS = ["system=electra", "family=encoder_decoder_shared"]
SHORT = ["size.dropout=0.1", "training.log_every=1", "training.accumulate=2", "budget.amount=4"]


@pytest.mark.slow
@pytest.mark.parametrize("recipe_of", [*(f"family={family}" for family in FAMILIES), *OTHERS])
def test_checkpointed_activations_change_no_bit_of_a_run_and_no_flop_of_its_audit(
    recipe_of: str, compose: Compose, tmp_path: Path, finished: list[Pretraining]
) -> None:
    train(compose(recipe_of, *SHORT), tmp_path / "plain")
    train(compose(recipe_of, *SHORT, "training.checkpoint_activations=true"), tmp_path / "checkpointed")
    for module, checkpointed in zip(finished, (False, True), strict=True):
        stacks = [part for part in module.learner.modules() if isinstance(part, Stack)]
        assert stacks
        assert all(stack.recomputes is checkpointed for stack in stacks)
    assert_same_to_the_last_bit(tmp_path / "plain", tmp_path / "checkpointed")
    one, two = (read_json(tmp_path / name / "audit.json")["spent"] for name in ("plain", "checkpointed"))
    assert one["flops"] == two["flops"]


@pytest.mark.slow
def test_bfloat16_takes_the_fused_optimiser_and_clips_to_the_norm(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = Pretraining.configure_gradient_clipping
    seen: list[tuple[bool, float, float]] = []

    def watch(self: Pretraining, optimizer: torch.optim.Optimizer, *how, **more) -> None:
        gradients = [parameter.grad for parameter in self.learner.parameters()]
        before = torch.nn.utils.get_total_norm(gradients).item()
        clip(self, optimizer, *how, **more)
        after = torch.nn.utils.get_total_norm(gradients).item()
        seen.append((optimizer.defaults["fused"], before, after))

    monkeypatch.setattr(Pretraining, "configure_gradient_clipping", watch)
    losses = {}
    for precision in ("32-true", "bf16-mixed"):
        seen.clear()
        same = ["training.log_every=1", "budget.amount=10", "training.clip=0.5"]
        train(compose(f"training.precision={precision}", *same), tmp_path / precision)
        assert len(seen) == 10
        assert all(fused and before > 0.5 >= after - 1e-5 for fused, before, after in seen)
        assert all(after > 0.499 for _, _, after in seen)
        losses[precision] = [row["loss"] for row in rows(tmp_path / precision)]
    assert losses["bf16-mixed"] != losses["32-true"]
    assert losses["bf16-mixed"] == pytest.approx(losses["32-true"], abs=0.02)
