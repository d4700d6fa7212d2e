"""The base class of sources: documents in a fixed order, and a hash that changes when they change.

Sources are read lazily, so a corpus may be larger than memory.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from experiments.data.sources.document import Document


class KeptOut(Protocol):
    """Text that no training document may hold, such as a task's test split."""

    def fingerprint(self) -> str: ...
    def holds(self, text: str) -> bool: ...


@dataclass(frozen=True, kw_only=True)
class Source(ABC):
    """A source of text.

    kind: its name in a recipe. text_column: the column that holds the text, if rows have columns.
    kept_out: documents that hold text of it are left out.
    """

    kind: ClassVar[str]
    text_column: str = "text"
    kept_out: KeptOut | None = None

    @abstractmethod
    def read(self) -> Iterator[Document]:
        """Yields all documents, always in the same order.

        Raises UserError for a file that is missing, empty, binary or not UTF-8, and for a missing column.
        """

    @abstractmethod
    def update(self, digest: Any) -> None:
        """Adds what identifies the documents to a hashlib digest, without parsing them."""

    def named(self) -> str:
        """Returns the beginning of the fingerprint: the kind, and the options that choose among documents."""
        return f"{self.kind}\0{self.text_column}"

    def documents(self) -> Iterator[Document]:
        """Yields the documents that are not blank and hold no text of `kept_out`."""
        kept_out = self.kept_out
        for document in self.read():
            if document.text.strip() and not (kept_out is not None and kept_out.holds(document.text)):
                yield document

    def fingerprint(self) -> str:
        """Returns a hash of what `documents` yields."""
        digest = hashlib.sha256(self.named().encode())
        if self.kept_out is not None:
            digest.update(self.kept_out.fingerprint().encode())
        self.update(digest)
        return digest.hexdigest()
