"""What a sweep of claims runs: its arms under every budget and scale, from scratch, and twice the seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from archs.errors import UserError
from experiments.budget.plan import plan_arm, planning_vocabulary
from experiments.evidence.claims.condition import Condition
from experiments.recipe.build import build
from experiments.sweeps.compose import compose_sweep
from experiments.sweeps.design import Design, design

CLASHING_CLAIM = """
statement: s
kind: superiority
contrasts: [{sop: 1, sop.tokens: -1}]
endpoints: [pseudo_likelihood]
published: {source: nobody}
expect: nothing
"""
SMALL = ["size=tiny", "budget.stop=flops", "budget.amount=2e10", "training.batch=8", "tracking=none"]


def designed(*overrides: str) -> Design:
    return design(*compose_sweep("claims", [*SMALL, "seeds=3", *overrides]))


@pytest.fixture(scope="module")
def whole() -> Design:
    return designed("claims=C11", "controls=[more_compute,same_arm]", "scales=[0.5,1]")


def test_controls_stand_first_then_what_is_from_scratch(whole: Design) -> None:
    assert list(whole.seeds.items()) == [
        ("half_ar", 3),
        ("eighth_ar", 6),
        ("scratch.sop", 3),
        ("sop", 3),
        ("nsp", 3),
        ("sop.tokens", 3),
        ("nsp.tokens", 3),
        ("sop.x0.5", 3),
        ("nsp.x0.5", 3),
        ("sop.tokens.x0.5", 3),
        ("nsp.tokens.x0.5", 3),
    ]
    assert whole.cells == [
        Condition("flops", 1.0),
        Condition("tokens", 1.0),
        Condition("flops", 0.5),
        Condition("tokens", 0.5),
    ]
    assert whole.scratch == {"sop": "scratch.sop", "nsp": "scratch.sop"}  # one shape


def test_arms_are_tuned_once_a_scale(whole: Design) -> None:
    assert whole.tuned == {
        "half_ar": "half_ar",
        "eighth_ar": "eighth_ar",
        "sop": "sop",
        "nsp": "nsp",
        "sop.tokens": "sop",
        "nsp.tokens": "nsp",
        "sop.x0.5": "sop.x0.5",
        "nsp.x0.5": "nsp.x0.5",
        "sop.tokens.x0.5": "sop.x0.5",
        "nsp.tokens.x0.5": "nsp.x0.5",
    }


def test_both_budgets_spend_what_a_decoder_ar_would(whole: Design) -> None:
    flops, tokens = whole.runs["sop", 0].budget, whole.runs["sop.tokens", 0].budget
    recipe = whole.runs["half_ar", 0]
    plan = plan_arm(build(recipe), planning_vocabulary(recipe.size.vocabulary))
    assert (flops.stop, tokens.stop) == ("flops", "tokens")
    assert tokens.amount == pytest.approx(flops.amount / plan.flops_per_token, rel=1e-6)
    assert (whole.runs["sop.tokens.x0.5", 0].budget.scale, whole.runs["scratch.sop", 0].budget.scale) == (
        0.5,
        0,
    )
    assert whole.runs["eighth_ar", 5].budget.scale == 0.125


def test_runs_differ_in_budget_questions_and_seed_alone(whole: Design) -> None:
    def content(arm: str, seed: int, *without: str) -> dict[str, Any]:
        return whole.runs[arm, seed].model_dump(exclude={"name", "seed", *without})

    assert content("sop", 0) == content("sop", 2)
    for other in ("sop.tokens", "sop.x0.5", "scratch.sop"):
        assert content("sop", 0, "budget") == content(other, 0, "budget")
    assert whole.runs["sop.tokens", 1].folder("claims").parts[-2:] == ("sop.tokens", "seed1")


def test_an_arm_is_asked_what_its_claims_are_decided_on(whole: Design) -> None:
    def asked(arm: str) -> list[str]:
        evaluation = whole.runs[arm, 0].evaluation
        return [name for name in ("party", "infill", "order", "target") if getattr(evaluation, name)]

    assert [asked(arm) for arm in ("half_ar", "sop", "nsp.tokens", "scratch.sop")] == [[], *[["order"]] * 3]


def test_arms_of_other_shapes_are_from_scratch_each() -> None:
    found = designed("claims=C5", "controls=[]", "budgets=flops")
    assert found.scratch == {
        "pf_denoise": "scratch.pf_denoise",
        "ed_double": "scratch.ed_double",
        "ed_shared": "scratch.ed_shared",
    }
    assert found.cells == [Condition("flops", 1.0)]


def test_a_sweep_without_claims_is_what_it_was() -> None:
    sweep, recipes = compose_sweep("five_families", SMALL)
    assert design(sweep, recipes).runs == recipes


def test_names_that_collide_are_one_line(tmp_path: Path) -> None:
    for group, text in (
        ("claims", CLASHING_CLAIM),
        (
            "sweep",
            "{name: clash, question: q, seeds: 2, claims: clash, budgets: [flops, tokens], arms: ARMS}",
        ),
    ):
        (tmp_path / group).mkdir()
        arms = "{sop: [family=encoder_ae, objective=sop], sop.tokens: [family=encoder_ae, objective=mlm]}"
        (tmp_path / group / "clash.yaml").write_text(text.replace("ARMS", arms))
    with pytest.raises(UserError, match=r"arms collide: 'sop\.tokens'"):
        design(*compose_sweep("clash", SMALL, tmp_path))
    with pytest.raises(UserError, match="cannot compose"):
        compose_sweep("claims", ["arms.sop.tokens=[family=encoder_ae]"])


def test_a_budget_that_claims_cannot_be_converted_from_is_one_line() -> None:
    with pytest.raises(UserError, match=r"must hold budget\.stop=steps"):
        designed("claims=C11", "budget.stop=steps", "budget.amount=9")
