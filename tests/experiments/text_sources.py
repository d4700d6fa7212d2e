"""A source of text as a recipe names it."""

from __future__ import annotations

from typing import Any

from experiments.data.sources.source import Source
from experiments.recipe.config import validated
from experiments.recipe.groups.data import DataConfig
from experiments.runs.corpus import source_of


def source(kind: str = "auto", path: str | None = None, **more: Any) -> Source:
    return source_of(validated(DataConfig, {"source": kind, "path": path, **more}))
