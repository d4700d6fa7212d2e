"""How a task is asked: its mode, and the options that make a variant of it; and its primary metric."""

from __future__ import annotations

from archs.errors import UserError
from experiments.recipe.groups.task import AskConfig, Mode, TaskConfig
from experiments.tasks.kind import LEARNED
from experiments.tasks.kinds import KINDS

# Options of AskConfig that make a variant where they are not the default, and the modes that read them.
VARIANTS: dict[str, tuple[Mode, ...]] = {
    "pair": LEARNED,
    "layers": ("frozen",),
    "pll": ("zero_shot",),
}


def mode_of(ask: AskConfig) -> Mode:
    """Returns the mode of `ask`, or the default mode of the task's kind.

    Raises UserError for a mode that the kind lacks, and for an option that the mode would not read.
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
    for name, readers in VARIANTS.items():
        value = getattr(ask, name)
        if value != AskConfig.model_fields[name].default and mode not in readers:
            allowed = " or ".join(readers)
            raise UserError(f"{name}={value} is for mode {allowed}, and this is {mode}; leave it out")
    return mode


def options_of(ask: AskConfig) -> list[str]:
    """Returns the values of pair, layers and pll that are not the default; each variant has its own files."""
    defaults = {name: AskConfig.model_fields[name].default for name in VARIANTS}
    return [getattr(ask, name) for name in VARIANTS if getattr(ask, name) != defaults[name]]


def primary(task: TaskConfig) -> str:
    """Returns the name of the task's primary metric."""
    return task.metrics[0] if task.metrics else KINDS[task.kind].metrics[0]


def scores_table(task: str, mode: str) -> str:
    """Returns the name of the table in scores/ that holds each item's share of the primary metric."""
    return f"task-{task}-{mode}"
