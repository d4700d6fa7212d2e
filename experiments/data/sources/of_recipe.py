"""Makes the source that a recipe's `data` names."""

from __future__ import annotations

from experiments.data.sources.addresses import Addresses
from experiments.data.sources.files import Files
from experiments.data.sources.hugging_face import HuggingFace
from experiments.data.sources.source import KeptOut, Source
from experiments.recipe.groups.data import DataConfig


def source_of(data: DataConfig, kept_out: KeptOut | None = None) -> Source:
    """Returns the source that `data` names, but for source "task", which `runs.corpus` makes."""
    match data.source:
        case "sotu":
            only = tuple(sorted(data.only.items()))
            return Addresses(text_column=data.text_column, kept_out=kept_out, only=only)
        case "text" | "parquet" | "jsonl" as kind:
            assert data.path is not None
            return Files(text_column=data.text_column, kept_out=kept_out, path=data.path, format=kind)
        case "huggingface":
            assert data.name is not None
            return HuggingFace(text_column=data.text_column, kept_out=kept_out, name=data.name)
    raise AssertionError(f"no source of this room: {data.source}")
