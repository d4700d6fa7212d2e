"""How each kind of task can be asked and by what it is judged, the usual first, told without torch.

`KINDS` holds what does it; a test holds the two against each other.
"""

from __future__ import annotations

from archs.errors import UserError
from experiments.tasks.task import AskConfig, KindName, Mode, TaskConfig

LEARNED: tuple[Mode, ...] = ("finetuned", "frozen", "static")
MODES: dict[KindName, tuple[Mode, ...]] = {
    "classification": LEARNED,
    "regression": LEARNED,
    "tagging": LEARNED,
    "question_answering": ("finetuned",),
    "minimal_pairs": ("zero_shot",),
    "cloze": ("zero_shot",),
    "generation": ("finetuned", "zero_shot"),
    "language_modelling": ("zero_shot",),
}
METRIC: dict[KindName, str] = {
    "classification": "accuracy",
    "regression": "spearman",
    "tagging": "entity_f1",
    "question_answering": "token_f1",
    "minimal_pairs": "pair_accuracy",
    "cloze": "cloze_accuracy",
    "generation": "nats_per_byte",
    "language_modelling": "bits_per_byte",
}


def mode_of(ask: AskConfig) -> Mode:
    """The mode asked for, or the kind's usual one. Raises UserError for one that the kind does not have."""
    modes = MODES[ask.task.kind]
    if ask.mode is not None and ask.mode not in modes:
        raise UserError(
            f"mode={ask.mode}: task '{ask.task.name}' is of kind {ask.task.kind}, which can be asked: "
            f"{', '.join(modes)}"
        )
    return ask.mode or modes[0]


def primary(task: TaskConfig) -> str:
    """The name of its primary metric."""
    return task.metrics[0] if task.metrics else METRIC[task.kind]


def scores_table(task: str, mode: str) -> str:
    """What a run's table of scores/ is called that has each item's share of the task's primary metric."""
    return f"task-{task}-{mode}"
