"""How a task is asked and judged: its mode, the options that change how, its primary metric."""

from __future__ import annotations

from archs.errors import UserError
from experiments.recipe.groups.task import AskConfig, Mode, TaskConfig
from experiments.tasks.kind import LEARNED
from experiments.tasks.kinds import KINDS

# What tells one way of asking from another, where it is not the usual one; which modes it is for.
WAYS: dict[str, tuple[Mode, ...]] = {
    "pair": LEARNED,
    "layers": ("frozen",),
    "pll": ("zero_shot",),
}


def mode_of(ask: AskConfig) -> Mode:
    """The mode asked for, or the kind's usual one.

    Raises UserError for one that the kind does not have, and for an option that the mode would not read.
    """
    modes = KINDS[ask.task.kind].modes
    if ask.mode is not None and ask.mode not in modes:
        raise UserError(
            f"mode={ask.mode}: task '{ask.task.name}' is of kind {ask.task.kind}, which can be asked: "
            f"{', '.join(modes)}"
        )
    mode = ask.mode or modes[0]
    if ask.beams != AskConfig.model_fields["beams"].default and ask.task.kind != "generation":
        raise UserError(
            f"beams={ask.beams} is for kind generation, and this is {ask.task.kind}; leave it out"
        )
    if ask.pair != "joined" and ask.task.kind not in ("classification", "regression"):
        raise UserError(
            f"pair={ask.pair} is for kinds that read pairs, and this is {ask.task.kind}; leave it out"
        )
    for name, meant in WAYS.items():
        value = getattr(ask, name)
        if value != AskConfig.model_fields[name].default and mode not in meant:
            allowed = " or ".join(meant)
            raise UserError(f"{name}={value} is for mode {allowed}, and this is {mode}; leave it out")
    return mode


def options_of(ask: AskConfig) -> list[str]:
    """The values of pair, layers and pll that are not the usual ones: each way has files of its own."""
    usual = {name: AskConfig.model_fields[name].default for name in WAYS}
    return [getattr(ask, name) for name in WAYS if getattr(ask, name) != usual[name]]


def primary(task: TaskConfig) -> str:
    """The name of its primary metric."""
    return task.metrics[0] if task.metrics else KINDS[task.kind].metrics[0]


def scores_table(task: str, mode: str) -> str:
    """What a run's table of scores/ is called that has each item's share of the task's primary metric."""
    return f"task-{task}-{mode}"
