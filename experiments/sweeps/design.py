"""Designs a sweep's runs: its arms, and the further arms that its claims need.

A claim is decided under each definition of the budget and at each scale, and compared with the same models
from scratch. Each of these is an arm with a name of its own:

    sop               the arm, under the sweep's own budget
    sop.tokens        under the other definition of the budget
    sop.x0.25         at a quarter of the amount
    scratch.sop       not trained at all

A relabelling control compares an arm with itself, so its arm runs with twice the seeds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from archs.errors import UserError
from experiments.budget.plan import plan_arm, planning_vocabulary, reference_flops_a_token
from experiments.evidence.claims.claim import Claim
from experiments.evidence.claims.condition import Condition
from experiments.evidence.claims.endpoints import ENDPOINTS, endpoint_of
from experiments.recipe.build import build
from experiments.recipe.groups.budget import BudgetConfig
from experiments.recipe.recipe import Recipe, Recipes
from experiments.sweeps.recipe import SweepRecipe
from experiments.sweeps.task_asks import asks

SCRATCH = "scratch."


@dataclass(frozen=True)
class Design:
    """A sweep's runs, and how its arms belong together.

    runs: {(arm, seed): recipe} in the order of running: controls, from scratch, claims; cells: conditions
    under which claims are decided, the sweep's own first; scratch: {arm: untrained arm of the same shape},
    for arms of claims on tasks; tuned: {arm: arm whose trials choose its learning rate}, for all arms that
    are trained: the same arm at the same scale under the sweep's own budget.
    """

    runs: Recipes
    cells: list[Condition] = field(default_factory=list)
    scratch: dict[str, str] = field(default_factory=dict)
    tuned: dict[str, str] = field(default_factory=dict)

    @property
    def seeds(self) -> dict[str, int]:
        """Number of seeds of each arm."""
        count: dict[str, int] = {}
        for arm, _ in self.runs:
            count[arm] = count.get(arm, 0) + 1
        return count


def design(sweep: SweepRecipe, recipes: Recipes) -> Design:
    """Returns the runs of a sweep; without claims these are its recipes as they are.

    Raises UserError if two arms would have one name, an arm cannot be sized, or the recipes lack a claim's
    task.
    """
    first = {arm: recipe for (arm, seed), recipe in recipes.items() if seed == 0}
    if not sweep.claims:
        return Design(recipes, tuned={arm: arm for arm in first})
    budget = next(iter(first.values())).budget
    own = Condition(budget.stop, 1.0)
    cells = _cells(sweep, own)
    controls = [arm for arm in first if _claims_on(sweep, arm, "control")]
    claimed = [arm for arm in first if _claims_on(sweep, arm, "claim")]
    scratch = _scratch({arm: first[arm] for arm in claimed if _task_endpoints(sweep, arm)})

    arms: dict[str, tuple[Recipe, int]] = {}

    def add(name: str, recipe: Recipe, seeds: int) -> None:
        if name in arms and arms[name][0] != recipe:
            raise UserError(
                f"arms collide: '{name}' is an arm of the sweep, and what another arm is called under a "
                "further budget, at a further scale or from scratch; rename it"
            )
        arms[name] = recipe, max(seeds, arms[name][1] if name in arms else 0)

    for arm in controls:
        add(arm, _evaluated(first[arm], sweep, arm), _seeds(sweep, arm))
    for arm, untrained in scratch.items():
        sharing = [other for other in claimed if scratch.get(other) == untrained]
        recipe = first[arm].model_copy(
            update={"name": untrained, "budget": _with(first[arm].budget, scale=0.0)}
        )
        if untrained not in arms:
            add(untrained, _evaluated(recipe, sweep, *sharing), sweep.seeds)
    tuned = {}
    for cell in cells:
        for arm in claimed:
            name = cell.name(arm, own)
            add(name, _evaluated(_under(first[arm], cell, own, name), sweep, arm), sweep.seeds)
            tuned[name] = Condition(own.stop, cell.scale).name(arm, own)
    tuned |= {arm: arm for arm in controls}
    runs = {
        (arm, seed): recipe.model_copy(update={"seed": seed})
        for arm, (recipe, seeds) in arms.items()
        for seed in range(seeds)
    }
    return Design(runs, cells, scratch, {arm: source for arm, source in tuned.items() if arm in arms})


def _cells(sweep: SweepRecipe, own: Condition) -> list[Condition]:
    """Returns the conditions that claims are decided under: each scale x each budget, `own` first."""
    stops = sweep.budgets or [own.stop]
    if own.stop not in stops:
        raise UserError(
            f"budgets={stops} must hold budget.stop={own.stop}, whose amount the recipe gives; the other "
            "definition spends what a decoder-AR of the size would"
        )
    scales = sorted(sweep.scales, key=lambda scale: scale != own.scale)
    return [
        Condition(stop, scale)
        for scale in scales
        for stop in sorted(stops, key=lambda stop: stop != own.stop)
    ]


def _claims_on(sweep: SweepRecipe, arm: str, role: str) -> list[Claim]:
    """Returns the claims, or with role "control" the controls, that compare the arm."""
    return [claim for claim in sweep.claims.values() if claim.role == role and arm in claim.arms]


def _task_endpoints(sweep: SweepRecipe, arm: str) -> list[str]:
    """Returns the endpoints of the arm's claims on which a model from scratch can be evaluated too."""
    names = [name for claim in _claims_on(sweep, arm, "claim") for name in claim.asked]
    return [name for name in dict.fromkeys(names) if endpoint_of(name).task]


def _seeds(sweep: SweepRecipe, arm: str) -> int:
    twice = any(claim.kind == "relabelling" for claim in _claims_on(sweep, arm, "control"))
    return sweep.seeds * (2 if twice else 1)


def _evaluated(recipe: Recipe, sweep: SweepRecipe, *arms: str) -> Recipe:
    """Returns the recipe with only the evaluation that the claims on these arms need, and its likelihood."""
    claims = [claim for claim in sweep.claims.values() if set(arms) & set(claim.arms)]
    wanted = {endpoint_of(name).switch for claim in claims for name in claim.asked}
    switches = {point.switch: point.switch in wanted for point in ENDPOINTS.values() if point.switch}
    changes = {**switches, "infill": False, "tasks": asks(recipe, claims)}
    return recipe.model_copy(update={"evaluation": recipe.evaluation.model_copy(update=changes)})


def _under(recipe: Recipe, cell: Condition, own: Condition, name: str) -> Recipe:
    """Returns the arm's recipe, as arm `name`, under a cell of the design."""
    budget = _with(recipe.budget, scale=recipe.budget.scale * cell.scale)
    if cell.stop != own.stop:
        budget = _with(budget, stop=cell.stop, amount=_converted(recipe, cell.stop))
    return recipe.model_copy(update={"name": name, "budget": budget})


def _with(budget: BudgetConfig, **changes: Any) -> BudgetConfig:
    return budget.model_copy(update=changes)


def _converted(recipe: Recipe, stop: str) -> float:
    """Returns what a decoder-AR of the size spends of `stop` while it spends the recipe's amount."""
    flops_a_token = reference_flops_a_token(recipe, planning_vocabulary(recipe.size.vocabulary))
    return recipe.budget.amount / flops_a_token if stop == "tokens" else recipe.budget.amount * flops_a_token


def _scratch(arms: dict[str, Recipe]) -> dict[str, str]:
    """Returns {arm: name of the untrained arm of its family and shape}; arms of one shape share one."""
    shapes: dict[str, str] = {}
    untrained: dict[str, str] = {}
    for arm, recipe in arms.items():
        plan = plan_arm(build(recipe), planning_vocabulary(recipe.size.vocabulary), arm)
        shape = f"{recipe.family.model_dump()} {plan.config}"
        untrained[arm] = shapes.setdefault(shape, SCRATCH + arm)
    return untrained
