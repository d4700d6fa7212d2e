"""Mixtures as recipes: what is refused before anything runs; counts are those of what was trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from archs.errors import UserError
from archs.masks import document
from experiments.budget.plan import plan_arm, planning_vocabulary
from experiments.evaluation.flow import measured_flow
from experiments.recipe.build import build
from experiments.recipe.groups.objective import ObjectiveConfig
from experiments.recipe.recipe import Recipe
from experiments.runs.folder import RunFolder
from experiments.runs.run import restore
from experiments.storage.json_files import read_json, read_lines
from experiments.sweeps.compose import compose_sweep
from experiments.sweeps.plan import plans
from experiments.training.train import train

Compose = Callable[..., Recipe]
VOCABULARY = planning_vocabulary(4096)


def with_parts(recipe: Recipe, parts: dict[str, Any], **options: Any) -> Recipe:
    """The recipe with these parts alone, taken in turn."""
    options = options or {"weights": dict.fromkeys(parts, 1)}
    objective = ObjectiveConfig(name="mixture", options={"parts": parts, **options})
    return recipe.model_copy(update={"objective": objective})


@pytest.mark.parametrize(
    ("family", "parts", "said"),
    [
        (
            "prefix_lm",
            {"a": {"name": "permutation"}},
            "part 'a' of the mixture, objective 'permutation', cannot",
        ),
        ("prefix_lm", {"a": {"name": "mlm"}}, "first part 'a', objective 'mlm', is asked in evaluation"),
        ("prefix_lm", {"a": {"name": "caual"}}, "parts.a: unknown objective 'caual'"),
        ("prefix_lm", {"a": {"name": "ul2"}}, "a mixture has no mixtures in it"),
        ("prefix_lm", {"a": {"name": "causal", "option": 1}}, "parts.a: unknown key 'option'"),
        ("prefix_lm", {"a": 3}, "parts.a: came 3"),
        ("prefix_lm", {"a b": {"name": "causal"}}, "a part's name is made of"),
        ("prefix_lm", "causal", "parts: came 'causal'"),
        (
            "encoder_ae",
            {"a": {"name": "mlm", "options": {"rat": 0.1}}},
            "part 'a' of the mixture: unknown option",
        ),
        ("encoder_ae", {"a": {"name": "mlm", "options": {"select": {"rate": 1}}}}, "options.select: came"),
        ("encoder_ae", {"a": {"name": "mlm", "options": {"rate": 0.0}}}, "rate=0.0"),
        ("encoder_ae", {"a": {"name": "mlm", "mode": 40}}, "mode=40"),
        ("encoder_ae", {"a": {"name": "sop", "mode": 1}}, "moves the text about"),
    ],
)
def test_parts_that_cannot_be_are_one_line_before_anything_runs(
    family: str, parts: Any, said: str, compose: Compose
) -> None:
    recipe = with_parts(compose(f"family={family}"), parts, weights={"a": 1})

    def before_anything_runs() -> None:
        build(recipe)
        plan_arm(build(recipe), VOCABULARY)

    with pytest.raises(UserError) as error:
        before_anything_runs()
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_mask_of_one_s_own_does_not_go_with_an_objective_that_brings_masks(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_mask.py").write_text("def rule(q, k):\n    return k <= q\n")
    monkeypatch.chdir(tmp_path)
    unilm = compose("family=prefix_lm", "objective=mixture", "family.mask=own_mask.rule")
    with pytest.raises(UserError, match="part 'masked' of the mixture brings a mask of its own"):
        build(unilm)
    pseudo = compose("family=encoder_ae", "objective=pseudo_masked", "family.mask=own_mask.rule")
    build(pseudo)
    with pytest.raises(UserError, match="objective 'pseudo_masked' brings masks of its own"):
        plan_arm(build(pseudo), VOCABULARY)


def test_one_way_relative_positions_do_not_go_with_a_mask_that_looks_ahead(compose: Compose) -> None:
    relative = ("objective=gpt_bert", "size.positions=relative", "budget.match=none")
    with pytest.raises(UserError, match="cannot tell apart"):
        plan_arm(build(compose("family=decoder_ar", *relative)), VOCABULARY)
    plan_arm(build(compose("family=prefix_lm", *relative)), VOCABULARY)


@pytest.mark.slow
def test_a_schedule_in_seconds_is_refused_and_the_arm_is_named() -> None:
    clock = ["budget.stop=seconds", "budget.amount=60", "size=tiny"]
    with pytest.raises(UserError, match=r"arm 'ernie': .*budget in seconds"):
        plans(compose_sweep("systems", clock)[1])


def test_a_part_that_asks_for_nothing_is_refused(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "idle_part.py").write_text(
        "def select(tokens, word_starts, special, rng):\n    return special & ~special\n"
    )
    monkeypatch.chdir(tmp_path)
    idle = "objective.options.parts.masked.options.select=idle_part.select"
    with pytest.raises(UserError, match="part 'masked' asks for no token"):
        plan_arm(build(compose("family=prefix_lm", "objective=mixture", idle)), VOCABULARY)


@pytest.mark.slow
@pytest.mark.parametrize("system", ["unilm", "ul2", "ernie"])
def test_what_is_planned_is_spent_and_every_part_is_trained_and_checked(
    system: str, compose: Compose, tmp_path: Path
) -> None:
    recipe = compose(f"system={system}", "training.log_every=1", "budget.amount=48")
    train(recipe, tmp_path / "run")
    audit = read_json(RunFolder(tmp_path / "run").audit)
    plan, spent = audit["plan"], audit["spent"]
    assert spent["flops"] == pytest.approx(48 * plan["flops_per_step"], rel=0.02)
    assert spent["targets"] == pytest.approx(48 * plan["targets_per_step"], rel=0.05)
    names = list(recipe.objective.parts)
    trained = {key for row in read_lines(RunFolder(tmp_path / "run").metrics) for key in row}
    assert {f"loss_{name}_tokens" for name in names} <= trained
    report, told = measured_flow(restore(tmp_path / "run"))
    assert report.ok
    assert told.endswith(f"in all {len(names)} parts")


def test_a_leak_in_a_later_part_is_told(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The prefix and the masked third may look ahead; the causal one, the second part, may not."""
    recipe = compose("system=unilm", "budget.amount=2", "objective.options.parts.prefix.options={low: 1.0}")
    train(recipe, tmp_path / "run")
    run = restore(tmp_path / "run")
    monkeypatch.setattr(type(run.family), "mask_of", lambda self, batch: document(batch.segments))
    report, told = measured_flow(run)
    assert not report.ok
    assert told.startswith("part 2 of 3: ")
