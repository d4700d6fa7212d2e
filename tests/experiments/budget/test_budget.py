"""What is matched, what is spent, and the counts behind both."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from archs import FAMILIES, CoreConfig
from archs.errors import UserError
from experiments.budget.plan import Plan, plan_arm, planning_vocabulary
from experiments.recipe.build import build
from experiments.recipe.groups.budget import BudgetConfig
from experiments.recipe.recipe import Recipe, Recipes
from experiments.sweeps.compose import compose_sweep
from experiments.sweeps.plan import plan as show_plan
from experiments.sweeps.plan import plans
from experiments.training.learner import Learner
from objectives import OBJECTIVES
from objectives.base import Windows

Compose = Callable[..., Recipe]
VOCABULARY = planning_vocabulary(512)
PAIRS = [(f, o) for f, o in product(FAMILIES, OBJECTIVES) if f in OBJECTIVES[o].families]

# What the terms of a loss are by chance, in nats: which of 512 tokens, replaced or not.
CHANCE = {"tokens": math.log(512), "replaced": math.log(2)}

# Four documents begin with one and the same bos: a causal LM cannot go below 4 ln 4 / 48 = 0.12 nats.
FITTED = 0.2


def windows(rows: int, width: int, packed: bool) -> Windows:
    rng = torch.Generator().manual_seed(0)
    tokens = torch.randint(80, 512, (rows, width), generator=rng)
    if not packed:
        return Windows(tokens)
    segments = (torch.arange(width) >= width // 3).long().expand(rows, width).clone()
    tokens[:, width // 3 - 1] = VOCABULARY.eos
    return Windows(tokens, segments)


def learner_of(family: str, objective: str, **changes) -> Learner:
    decoder_layers = 2 if family == "encoder_decoder" else None
    config = CoreConfig(512, 2, 32, 4, 64, 200, decoder_layers=decoder_layers, **changes)
    kind = FAMILIES[family]
    return Learner(kind(config), OBJECTIVES[objective](VOCABULARY, kind.layout))


@pytest.mark.slow
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("family", "objective"), PAIRS)
def test_counted_flops_are_those_of_a_training_step(family: str, objective: str, packed: bool) -> None:
    learner = learner_of(family, objective)
    batch = learner.objective.build(windows(4, 61, packed), torch.Generator().manual_seed(1))
    with FlopCounterMode(display=False) as measured, sdpa_kernel(SDPBackend.MATH):
        learner(batch).value.backward()
    assert learner.objective.flops(learner.family, batch) == pytest.approx(
        measured.get_total_flops(), rel=0.01
    )


@pytest.mark.slow
@pytest.mark.parametrize(("family", "objective"), PAIRS)
def test_every_pair_starts_near_ln_v_and_overfits_one_batch(family: str, objective: str) -> None:
    """In every term of its loss, for a weighted sum hides which term is fitted."""
    torch.manual_seed(0)
    learner = learner_of(family, objective)
    batch = learner.objective.build(windows(2, 24, packed=True), torch.Generator().manual_seed(1))
    first = {name: term.item() for name, term in learner(batch).terms.items()}
    assert "tokens" in first
    for name in first.keys() & CHANCE.keys():
        assert first[name] == pytest.approx(CHANCE[name], rel=0.05)
    optimiser = torch.optim.Adam(learner.parameters(), lr=1e-2)
    for _ in range(300):  # replaced tokens take the longest: until the generator has fitted the text
        optimiser.zero_grad()
        loss = learner(batch)
        loss.value.backward()
        optimiser.step()
        worst = max(term.item() for term in loss.terms.values())
        if worst < FITTED:
            break
    assert worst < FITTED


@pytest.mark.slow
@pytest.mark.parametrize("match", ["core_parameters", "parameters", "flops_per_token", "flops_per_sequence"])
def test_all_five_families_are_matched_within_the_tolerance(match: str, compose: Compose) -> None:
    plans = [
        plan_arm(build(compose(f"family={f}", f"budget.match={match}", "size.vocabulary=512")), VOCABULARY)
        for f in FAMILIES
    ]
    assert all(abs(plan.deviation) <= 0.02 for plan in plans)
    if match == "core_parameters":
        assert max(p.parameters.core for p in plans) <= 1.02 * min(p.parameters.core for p in plans)
    if match == "flops_per_token":
        assert max(p.flops_per_token for p in plans) <= 1.02 * min(p.flops_per_token for p in plans)


@pytest.mark.slow
def test_an_encoder_decoder_matched_on_parameters_halves_its_depth_and_about_its_flops(
    compose: Compose,
) -> None:
    decoder = plan_arm(build(compose("size=mini")), planning_vocabulary(4096))
    both = plan_arm(build(compose("size=mini", "family=encoder_decoder")), planning_vocabulary(4096))
    assert (decoder.config.layers, both.config.layers, both.config.decoder_layers) == (4, 2, 2)
    assert 0.35 < both.flops_per_token / decoder.flops_per_token < 0.65


@pytest.mark.slow
def test_an_encoder_decoder_matched_on_flops_has_about_twice_the_parameters(compose: Compose) -> None:
    both = plan_arm(
        build(compose("family=encoder_decoder", "size=mini", "budget.match=flops_per_token")),
        planning_vocabulary(4096),
    )
    assert both.parameters.core > 1.6 * 787_584  # a decoder-AR of size=mini


def planned(compose: Compose, *overrides: str) -> Plan:
    return plan_arm(build(compose("size=mini", *overrides)), planning_vocabulary(4096))


def test_two_stacks_have_twice_a_single_stacks_parameters_and_about_its_flops(compose: Compose) -> None:
    single = planned(compose, "family=decoder_ar", "objective=span")
    double = planned(compose, "family=encoder_decoder_2p")
    assert (double.config.layers, double.config.decoder_layers, double.config.shared_stacks) == (4, 4, False)
    assert double.parameters.core == pytest.approx(2 * 787_584, rel=0.02)
    assert double.times_parameters == pytest.approx(2, rel=0.02)
    assert abs(double.deviation) <= 0.02
    assert double.flops_per_token == pytest.approx(single.flops_per_token, rel=0.05)


@pytest.mark.slow
def test_shared_stacks_have_a_single_stacks_parameters_and_about_its_flops(compose: Compose) -> None:
    """Less what the narrower feed-forward saves, which pays for cross-attention."""
    single = planned(compose, "family=decoder_ar", "objective=span")
    shared = planned(compose, "family=encoder_decoder_shared")
    assert (shared.config.layers, shared.config.decoder_layers, shared.config.shared_stacks) == (4, 4, True)
    assert shared.parameters.core == pytest.approx(787_584, rel=0.02)
    assert shared.config.ffn == 256
    assert 0.8 < shared.flops_per_token / single.flops_per_token < 1
    assert shared.flops_per_token > 1.5 * planned(compose, "family=encoder_decoder").flops_per_token


def test_all_parameters_of_two_stacks_are_twice_those_of_the_reference(compose: Compose) -> None:
    both = planned(compose, "family=encoder_decoder_2p", "budget.match=parameters")
    assert both.parameters.total == pytest.approx(2 * (787_584 + 4096 * 128), rel=0.02)


@pytest.mark.parametrize("stacks", ["2p", "shared"])
def test_two_stacks_matched_on_flops_have_those_of_the_reference(stacks: str, compose: Compose) -> None:
    plan = planned(compose, f"family=encoder_decoder_{stacks}", "budget.match=flops_per_token")
    assert plan.multiple == 1
    assert plan.times_flops == pytest.approx(1, rel=0.02)
    assert (plan.config.layers, plan.config.decoder_layers) == (4, 4)


def test_the_preset_that_halves_the_depth_is_the_one_there_always_was(compose: Compose) -> None:
    plan = planned(compose, "family=encoder_decoder")
    halves = planned(compose, "family=encoder_decoder", "family.stacks=halves")
    assert plan.config == halves.config
    assert plan.shape == "2+2 x 128, ffn 384"


@pytest.mark.slow
@pytest.mark.parametrize("match", ["none", "core_parameters", "flops_per_token"])
def test_every_plan_says_its_parameters_and_flops_in_those_of_the_reference(
    match: str, compose: Compose
) -> None:
    plan = planned(compose, "family=encoder_ae", "size.shared_layers=true", f"budget.match={match}")
    own = planned(compose, "family=decoder_ar", "size.shared_layers=true")
    assert plan.times_parameters == pytest.approx(plan.parameters.core / own.parameters.core)
    assert plan.times_flops == pytest.approx(plan.flops_per_token / 8_650_752)
    assert plan.summary()["times_flops"] == plan.times_flops


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["family=prefix_lm", "family.stacks=shared"], "prefix_lm has one stack and allows null alone"),
        (["family=encoder_decoder_2p", "size.decoder_layers=1"], "both say how deep the decoder is"),
        (["family.stacks=third"], "choose one of: double, halves, shared|choose one of: .*halves"),
    ],
)
def test_stacks_that_cannot_be_are_one_line(overrides: list[str], message: str, compose: Compose) -> None:
    with pytest.raises(UserError, match=message) as raised:
        plan_arm(build(compose(*overrides)), VOCABULARY)
    assert "\n" not in str(raised.value)


# What cannot be matched: no shape comes so near, or what the head costs cannot be taken away.
NARROW = ("size.layers=3", "size.heads=8", "budget.tolerance=0.0001")
UNMATCHED = {
    "core_parameters": ("family=encoder_decoder", *NARROW),
    "parameters": ("family=encoder_decoder_shared", *NARROW),
    "flops_per_token": ("family=encoder_decoder_2p", *NARROW),
    "flops_per_sequence": ("family=decoder_ar", "size.length=256", "budget.reference_length=32"),
}


@pytest.mark.slow
@pytest.mark.parametrize("match", UNMATCHED)
def test_an_arm_that_cannot_be_matched_is_one_line_with_the_nearest_shape(
    match: str, compose: Compose
) -> None:
    recipe = compose(*UNMATCHED[match], f"budget.match={match}")
    with pytest.raises(UserError) as raised:
        plan_arm(build(recipe), VOCABULARY, "mine")
    told = re.sub(r"\d+(\.\d+)?", "N", str(raised.value).replace("+", "-"))
    depth = "N" if "decoder_ar" in recipe.family.name else "N-N"
    assert told == (
        f"arm 'mine' cannot be matched on {match} within N%: the nearest shape, {depth} layers x N with ffn "
        "N, is -N% off; change size.*, raise budget.tolerance, or set budget.match=none"
    )


@pytest.mark.slow
def test_arms_of_t5s_comparison_fit_eighty_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    show_plan(*compose_sweep("t5_variants", []))
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert [shown.count(times) for times in ("1.00 P", "2.00 P")] == [4, 1]
    assert max(len(line) for line in shown.splitlines()) <= 80


@pytest.mark.parametrize("stop", ["flops", "tokens", "targets", "steps"])
def test_the_planned_steps_spend_the_budget(stop: str, compose: Compose) -> None:
    amount = {"flops": 1e10, "tokens": 40_960, "targets": 20_000, "steps": 17}[stop]
    plan = plan_arm(
        build(compose("family=prefix_lm", f"budget.stop={stop}", f"budget.amount={amount}")), VOCABULARY
    )
    a_step = {
        "flops": plan.flops_per_step,
        "tokens": plan.tokens_per_step,
        "targets": plan.targets_per_step,
        "steps": 1,
    }[stop]
    assert plan.steps is not None
    assert abs(plan.steps * a_step - amount) <= a_step / 2


def test_seconds_fix_no_steps(compose: Compose) -> None:
    assert plan_arm(build(compose("budget.stop=seconds")), VOCABULARY).steps is None


def test_the_planned_cost_of_a_random_split_is_its_mean(compose: Compose) -> None:
    recipe = compose("family=prefix_lm", "training.batch=16")
    plan = plan_arm(build(recipe), VOCABULARY)
    asks = OBJECTIVES["prefix"](VOCABULARY, "concatenated")
    model = FAMILIES["prefix_lm"](plan.config)
    rng = torch.Generator().manual_seed(5)
    costs = [asks.flops(model, asks.build(windows(16, 64, packed=False), rng)) for _ in range(400)]
    assert plan.flops_per_step == pytest.approx(statistics.mean(costs), rel=0.01)


def test_a_sops_pair_head_is_in_the_audit_and_not_in_the_family(compose: Compose) -> None:
    plain = plan_arm(build(compose("family=encoder_ae")), VOCABULARY)
    with_sop = plan_arm(build(compose("family=encoder_ae", "objective=sop")), VOCABULARY)
    assert plain.extra_parameters == 0
    assert with_sop.extra_parameters == 2 * with_sop.config.width + 2
    assert with_sop.parameters == plain.parameters


@pytest.mark.slow
@pytest.mark.parametrize("match", ["core_parameters", "flops_per_token"])
@pytest.mark.parametrize("depth", [2, 8])
def test_another_depth_changes_the_width_and_keeps_what_is_matched(
    match: str, depth: int, compose: Compose
) -> None:
    recipe = compose("family=decoder_ar", f"size.depth={depth}", f"budget.match={match}", "size=mini")
    plan = plan_arm(build(recipe), planning_vocabulary(4096))
    assert plan.config.layers == depth
    assert abs(plan.deviation) <= plan.tolerance
    assert plan.config.width < 128 if depth == 8 else plan.config.width > 128
    assert plan.config.ffn / plan.config.width == pytest.approx(4, rel=0.15)


def test_shared_layers_are_widened_to_as_many_parameters_as_a_plain_reference(compose: Compose) -> None:
    shared = compose("family=encoder_ae", "size=mini", "size.shared_layers=true", "budget.reference=plain")
    plain = compose("family=decoder_ar", "size=mini")
    plan, reference = (plan_arm(build(recipe), planning_vocabulary(4096)) for recipe in (shared, plain))
    assert plan.reference == reference.parameters.core
    assert abs(plan.deviation) <= plan.tolerance
    assert plan.config.width > 200


def test_the_plain_reference_does_not_follow_the_options_of_an_arms_size(compose: Compose) -> None:
    options = ("family=decoder_ar", "size=mini", "size.activation=swiglu")
    own, plain = (
        plan_arm(build(compose(*options, f"budget.reference={reference}")), planning_vocabulary(4096))
        for reference in ("own", "plain")
    )
    assert own.config.ffn == 512
    assert plain.config.ffn < 400
    assert abs(plain.parameters.core / plain.reference - 1) <= plain.tolerance


def sweep_of(tmp_path: Path, arms: str, *overrides: str) -> Recipes:
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "mine.yaml").write_text(f"name: mine\nquestion: Which?\narms: {arms}\n")
    small = ["size=tiny", "budget=smoke", "size.vocabulary=512", "budget.match=core_parameters"]
    return compose_sweep("mine", [*small, *overrides], tmp_path)[1]


def test_arms_matched_to_different_references_are_one_line(tmp_path: Path) -> None:
    arms = "{gated: [size.activation=swiglu], plain: [size.activation=gelu]}"
    recipes = sweep_of(tmp_path, arms)
    with pytest.raises(UserError, match=r"'gated' and 'plain' would be matched to different core_parameters"):
        plans(recipes)
    matched = {key: one.model_copy(update={"budget": plain(one)}) for key, one in recipes.items()}
    assert len({plan.reference for plan in plans(matched)}) == 1


def plain(recipe: Recipe) -> BudgetConfig:
    return recipe.budget.model_copy(update={"reference": "plain"})


@pytest.mark.slow
@pytest.mark.parametrize(
    "sweep", ["depth_width", "embedding_width", "shared_layers", "batch_steps", "t5_variants"]
)
def test_each_factor_of_structure_is_a_sweep_that_can_be_matched(sweep: str) -> None:
    recipes = compose_sweep(sweep, ["data.cache=unused"])[1]
    by_arm = {plan.arm: plan for plan in plans(recipes)}
    assert all(abs(plan.deviation) <= plan.tolerance for plan in by_arm.values())
    if sweep == "depth_width":
        assert [plan.config.layers for plan in by_arm.values()] == [8, 4, 2]
    if sweep == "embedding_width":
        assert {(plan.config.layers, plan.config.width) for plan in by_arm.values()} == {(4, 128)}
    if sweep == "shared_layers":
        assert by_arm["shared"].parameters.core * 4 == pytest.approx(by_arm["own"].parameters.core, rel=0.01)
    if sweep == "batch_steps":
        spent = [(plan.steps or 0) * plan.flops_per_step for plan in by_arm.values()]
        assert max(spent) / min(spent) < 1.02


@pytest.mark.slow
def test_arms_of_different_batches_can_be_matched_on_flops_a_token() -> None:
    planned = plans(compose_sweep("batch_steps", ["budget.match=flops_per_token"])[1])
    assert all(abs(plan.deviation) <= plan.tolerance for plan in planned)
    assert all(plan.measure == pytest.approx(plan.flops_per_token) for plan in planned)


def test_flops_a_sequence_are_those_a_token_times_the_length(compose: Compose) -> None:
    size = ("family=prefix_lm", "size.length=48")
    token, sequence = (
        plan_arm(build(compose(*size, f"budget.match={match}")), VOCABULARY)
        for match in ("flops_per_token", "flops_per_sequence")
    )
    assert sequence.config == token.config
    assert sequence.measure == pytest.approx(48 * token.measure)
    assert sequence.reference == pytest.approx(48 * token.reference)


def test_arms_of_different_lengths_are_matched_on_flops_a_sequence(tmp_path: Path) -> None:
    """And refused without one length for the reference of both."""
    arms = "{short: [size.length=64], long: [size.length=80]}"
    recipes = sweep_of(tmp_path, arms, "budget.match=flops_per_sequence", "size.width=128", "size.ffn=512")
    with pytest.raises(
        UserError, match="'short' and 'long' would be matched to different flops_per_sequence"
    ):
        plans(recipes)
    alike = {
        key: one.model_copy(update={"budget": one.budget.model_copy(update={"reference_length": 64})})
        for key, one in recipes.items()
    }
    short, long = plans(alike)
    assert 64 * short.flops_per_token == pytest.approx(80 * long.flops_per_token, rel=0.02)
    assert long.config.ffn < short.config.ffn == 512


def test_an_arm_of_half_the_budget_takes_half_the_steps(compose: Compose) -> None:
    whole, half, double, none = (
        plan_arm(
            build(compose("budget.stop=flops", "budget.amount=1e10", f"budget.scale={scale}")), VOCABULARY
        )
        for scale in (1, 0.5, 2, 0)
    )
    assert whole.steps
    assert half.steps == pytest.approx(whole.steps / 2, abs=1)
    assert double.steps == pytest.approx(whole.steps * 2, abs=1)
    assert none.steps == 0


def test_an_untrained_arm_of_a_budget_in_seconds_takes_no_steps(compose: Compose) -> None:
    assert plan_arm(build(compose("budget.stop=seconds", "budget.scale=0")), VOCABULARY).steps == 0


@pytest.mark.slow
def test_arms_of_other_scales_are_in_the_table_and_spend_theirs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arms = "{whole: [budget.scale=1], quarter: [budget.scale=0.25], untrained: [budget.scale=0]}"
    recipes = sweep_of(tmp_path, arms, "budget.stop=tokens", "budget.amount=131072")
    show_plan(compose_sweep("mine", [], tmp_path)[0], recipes)
    shown = capsys.readouterr().out
    assert "stop at 1.311e+05 tokens x budget.scale" in " ".join(shown.split())
    assert [each.steps for each in plans(recipes)] == [128, 32, 0]
    assert all(f"x {scale}" in shown for scale in ("1", "0.25", "0"))
    assert max(len(line) for line in shown.splitlines()) <= 80


@pytest.mark.slow
def test_a_plan_refuses_what_its_sweep_would() -> None:
    few = ["size=tiny", "budget.stop=flops", "budget.amount=1e9"]
    with pytest.raises(UserError, match="in 1 whole steps"):
        show_plan(*compose_sweep("depth_width", few))


def test_an_arm_whose_share_of_the_budget_is_too_small_is_one_line(tmp_path: Path) -> None:
    arms = "{whole: [budget.scale=1], little: [budget.scale=0.01]}"
    recipes = sweep_of(tmp_path, arms, "budget.stop=tokens", "budget.amount=131072")
    with pytest.raises(
        UserError, match=r"arm 'little' spends 1,024 tokens in 1 whole steps, -21.9% off .*1,311;"
    ):
        show_plan(compose_sweep("mine", [], tmp_path)[0], recipes)


@pytest.mark.slow
def test_an_arm_that_is_not_matched_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    show_plan(*compose_sweep("shared_layers", []))
    assert capsys.readouterr().out.count("unmatched") == 1
