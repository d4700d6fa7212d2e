"""Streams the documents of a Hugging Face dataset."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from archs.errors import UserError
from experiments.data.sources.document import Document, missing_column, not_text
from experiments.data.sources.source import Source


@dataclass(frozen=True, kw_only=True)
class HuggingFace(Source):
    """The train split of a dataset.

    name: on the hub, or a local folder; `name:config` picks a configuration.
    """

    kind = "huggingface"
    name: str

    def read(self) -> Iterator[Document]:
        return _read(self.name, self.text_column)

    def update(self, digest: Any) -> None:
        """Adds the dataset's own hash: of its commit on the hub, or of the time stamps of its local files."""
        digest.update(f"{self.name}\0{_builder(self.name).hash}".encode())


def _read(name: str, text_column: str) -> Iterator[Document]:
    import datasets

    dataset, config = _named(name)
    try:
        stream = datasets.load_dataset(dataset, config, split="train", streaming=True)
    except (OSError, ValueError) as error:
        raise _not_loaded(name, error) from error
    columns = stream.column_names
    for number, row in enumerate(stream):
        if text_column not in row:
            raise missing_column(f"data.name={name}", text_column, columns or list(row))
        if not isinstance(row[text_column], str):
            raise not_text(f"data.name={name}", number, text_column, row[text_column])
        yield Document(row[text_column], f"{name}#{number}")


def _builder(name: str) -> Any:
    import datasets
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()  # else it prints a line for each retry before the error
    dataset, config = _named(name)
    try:
        return datasets.load_dataset_builder(dataset, config)
    except (OSError, ValueError) as error:
        raise _not_loaded(name, error) from error


def _named(name: str) -> tuple[str, str | None]:
    dataset, _, config = name.partition(":")
    return dataset, config or None


def _not_loaded(name: str, error: Exception) -> UserError:
    reason = str(error).strip().split("\n")[0].rstrip(".")
    return UserError(
        f"Hugging Face dataset '{name}' could not be loaded: {reason}; check the name and the network, "
        "write name:config to pick a configuration, or give local files by data.path"
    )
