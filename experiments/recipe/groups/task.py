"""What a task is: where its items are, which columns hold what, how it is judged. A few lines of YAML."""

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
    """A task: `configs/task/NAME.yaml`.

    `source`: a Hugging Face dataset, `name`, `name:config` or, for all its configurations, `name:*`. `path`:
    a local folder of `<split>.parquet`, `.jsonl` or `.csv` files, or one such file, read in place of
    `source`. `columns`: for each role of the kind the column that holds it: a name, `outer.inner` of a nested
    one, or a template such as `"{question} {passage}"`; a role that is not named is looked for under its own
    name. `labels`: the classes in order; the column holds their numbers or their names. `metrics`: the first
    is the primary one; those of the kind if empty. `splits`: which split of the source is train, validation,
    test, or `apart` (a second test, reported by itself), where it is not the one of that name.
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
        """For messages."""
        return f"'{self.path}'" if self.path is not None else f"dataset '{self.source}'"


class FinetuneGrid(Config):
    """Finetuning, the same for every family: equal trials, then nested seeds.

    Each learning rate is tried once for each pooling; what is best on validation is finetuned with `seeds`
    seeds, the trial's among them. `epochs` over the training examples, at most `steps` steps if given.
    `scratch`: the same for the same model untrained (the assay). `unmasked`: a causal family once more,
    reading in both directions.
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

    `mode`: the kind's first if not given. `examples`: how many training examples at most; several numbers
    are an axis. `items`: a seeded subset of the test items; `validation`: how many validation
    examples trials are judged by at most, drawn alike. `pair`: a pair is read "joined" in one row, or
    each text "apart". `layers`: of frozen states, the "last", "each" by itself, or a learned "mix" of all.
    `pll`: how an encoder-AE's tokens are hidden. `beams`: of generation.
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
    """With its path in full, so that it means the same from any folder."""
    if task.path is None:
        return task
    return task.model_copy(update={"path": str(Path(task.path).expanduser().absolute())})
