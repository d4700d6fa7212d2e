"""The tasks on which a run of a sweep with claims is evaluated: those that decide its arm's claims."""

from __future__ import annotations

from collections.abc import Iterable

from archs.errors import UserError
from experiments.evidence.claims.claim import Claim
from experiments.evidence.claims.endpoint import Asked
from experiments.evidence.claims.endpoints import endpoint_of
from experiments.recipe.groups.task import AskConfig
from experiments.recipe.presets import configs_dir
from experiments.recipe.recipe import Recipe
from experiments.tasks.modes import mode_of, primary


def asks(recipe: Recipe, claims: Iterable[Claim]) -> list[AskConfig]:
    """Returns the entries of `evaluation.tasks` on which the claims are decided.

    Each comes without its own model from scratch: the design has untrained arms, which are evaluated on the
    same tasks with the same finetuning seeds. Raises UserError if the recipe does not list a task, lists it
    twice, or judges it by another metric.
    """
    wanted = wanted_by(claims)
    listed = {one: _listed(recipe, one) for one in wanted}
    if missing := [one for one, entries in listed.items() if not entries]:
        raise UserError(
            f"claims are decided on {', '.join(one.words for one in missing)}, which evaluation.tasks does "
            f"not list; add to it, as in 'evaluation.tasks=[{', '.join(map(_as_entry, missing))}]', and give "
            "path: FOLDER beside preset: for local files"
        )
    for one, (ask, *others) in listed.items():
        if others:
            raise UserError(
                f"evaluation.tasks lists {one.words} {1 + len(others)} times in the mode {one.mode}, and a "
                "claim is decided on it; list it once"
            )
        if primary(ask.task) != one.metric:
            raise UserError(
                f"a claim is decided on {one.words} by {one.metric}, and evaluation.tasks judges it by "
                f"{primary(ask.task)} first; write the endpoint as "
                f"task:{one.task}@{one.mode}:{primary(ask.task)}, or set its metrics"
            )
    return [_without_scratch(ask) for (ask,) in listed.values()]


def wanted_by(claims: Iterable[Claim]) -> list[Asked]:
    """Returns the tasks that the claims' endpoints read, each once, in the order of the claims."""
    measures = [each for claim in claims for name in claim.asked for each in endpoint_of(name).measures]
    return list(dict.fromkeys(each.asked for each in measures if each.asked is not None))


def _listed(recipe: Recipe, one: Asked) -> list[AskConfig]:
    return [ask for ask in recipe.evaluation.tasks if (ask.task.name, mode_of(ask)) == (one.task, one.mode)]


def _as_entry(one: Asked) -> str:
    """Returns the entry that evaluation.tasks lacks, as `{task: {preset: mr}, mode: finetuned}`."""
    shipped = (configs_dir() / "task" / f"{one.task}.yaml").exists()
    task = f"{{preset: {one.task}}}" if shipped else f"{{name: {one.task}, kind: KIND, path: FOLDER}}"
    return f"{{task: {task}, mode: {one.mode}}}"


def _without_scratch(ask: AskConfig) -> AskConfig:
    return ask.model_copy(update={"finetune": ask.finetune.model_copy(update={"scratch": False})})
