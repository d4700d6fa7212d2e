"""What a task is (where its items are, what its columns hold, its metrics) and how it is asked of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from experiments.recipe.config import FOLDER, Amount, Config, Count
from experiments.recipe.presets import preset

KindName = Literal[
    "classification",
    "regression",
    "tagging",
    "question_answering",
    "minimal_pairs",
    "cloze",
    "generation",
    "language_modelling",
]
Mode = Literal["zero_shot", "finetuned", "frozen", "static"]
Part = Literal["train", "validation", "test", "apart"]


class TaskConfig(Config):
    """A task, as in `configs/task/NAME.yaml`.

    `source`: a Hugging Face dataset: `name`, `name:config`, or `name:*` for all its configurations.
    `path`: read instead of `source`: a local folder of `<split>.parquet`, `.jsonl` or `.csv` files, or one
    such file.
    `columns`: {role: column} for the roles of the kind. A column is a name, `outer.inner` of a nested column,
    or a template such as `"{question} {passage}"`. A role that is not listed is the column of its own name.
    `labels`: the classes in order; the column holds their numbers or their names.
    `metrics`: the primary one first; empty = the metrics of the kind.
    `splits`: {part: split of the source} for the parts train, validation, test and `apart` (a second test,
    reported by itself). A part that is not listed is the split of its own name.
    """

    name: Annotated[str, Field(pattern=rf"^{FOLDER}$")]
    kind: KindName
    source: str | None = None
    path: str | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    labels: list[str] = Field(default_factory=list)
    metrics: list[str] = Field(default_factory=list)
    splits: dict[Part, str] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, values: Any) -> Any:
        """`{preset: mr, path: …}` is the shipped task mr with another path."""
        if isinstance(values, str):
            return preset("task", values)
        if isinstance(values, dict) and "preset" in values:
            changes = {key: value for key, value in values.items() if key != "preset"}
            return preset("task", str(values["preset"])) | changes
        return values

    @model_validator(mode="after")
    def _is_somewhere(self) -> TaskConfig:
        if self.source is None and self.path is None:
            raise ValueError(f"task '{self.name}' names neither a source nor a path; add task.path=FOLDER")
        return self

    @property
    def where(self) -> str:
        """Returns the path or the dataset, for error messages."""
        return f"'{self.path}'" if self.path is not None else f"dataset '{self.source}'"


class FinetuneGrid(Config):
    """Finetuning, with the same trials for every family.

    Each learning rate is tried once with each pooling. The best on validation is finetuned with `seeds`
    seeds, one of them the trial's own. `epochs`: passes over the training examples, ended after `steps` steps
    if given. `scratch`: whether the untrained model of the same shape is finetuned too (the assay).
    `unmasked`: whether a causal family is finetuned once more without its mask.
    """

    learning_rates: Annotated[list[Amount], Field(min_length=1)] = Field(default=[3e-4, 1e-3, 3e-3])
    seeds: Count = 3
    epochs: Count = 3
    steps: Count | None = None
    batch: Count = 32
    poolings: Annotated[list[Literal["mean", "own"]], Field(min_length=1)] = Field(default=["mean", "own"])
    scratch: bool = True
    unmasked: bool = True


class AskConfig(Config):
    """How a task is asked of a run.

    `mode`: None = the first mode of the task's kind. `examples`: at most so many training examples are used;
    several numbers give a learning curve. `items`: at most so many test items, a fixed random subset; None =
    all. `validation`: at most so many validation examples to judge trials by, a fixed random subset.
    `pair`: a pair of texts is read "joined" in one row, or each text "apart". `layers`: which frozen hidden
    states are probed: of the "last" layer, of "each" by itself, or a learned "mix" of all. `pll`: which
    tokens an encoder-AE hides to score one: that token alone ("original"), or also the later tokens of its
    word ("word_l2r"). `beams`: width of the beam search in generation.
    """

    task: TaskConfig
    mode: Mode | None = None
    examples: Annotated[list[Count], Field(min_length=1)] = Field(default=[10_000])
    items: Count | None = None
    validation: Count = 1000
    finetune: FinetuneGrid = FinetuneGrid()
    pair: Literal["joined", "apart"] = "joined"
    layers: Literal["last", "each", "mix"] = "last"
    pll: Literal["original", "word_l2r"] = "word_l2r"
    beams: Count = 4

    @field_validator("examples", mode="before")
    @classmethod
    def _one_is_a_list(cls, given: Any) -> Any:
        return given if isinstance(given, list) else [given]


def from_here(task: TaskConfig) -> TaskConfig:
    """Returns the task with an absolute path, so that it means the same from any folder."""
    if task.path is None:
        return task
    return task.model_copy(update={"path": str(Path(task.path).expanduser().absolute())})
