"""What later stages forget: bits per byte on the first stage's validation text, after every stage.

The measurement is that of `evaluation/scoring/likelihood.py`, on the first run's text in its windows, of
the run, of every run that it goes back to, and of the run once it is finetuned. A chain's runs have one
tokenizer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from archs.errors import UserError
from archs.families.family import Family
from experiments.data.overlap import overlaps
from experiments.evaluation.scoring.likelihood import bits_per_byte, second_halves, windows_of
from experiments.runs.chain import Chain, Stage, sha256
from experiments.runs.folder import RunFolder
from experiments.runs.run import Run, restore
from experiments.storage.json_files import read_json

FINETUNE = "finetune"
SPLIT = "validation"


@dataclass(frozen=True)
class Forgetting:
    """told: for evaluation.json; rows: one a stage and window: place, stage, item, document, nats, tokens,
    bytes, unit."""

    told: dict[str, Any]
    rows: pd.DataFrame


def forgetting(run: Run, finetuned: dict[str, Family]) -> Forgetting:
    """Of a run that began from another. finetuned: copies of its family, by the task they are finetuned on.

    Raises UserError if a run that it goes back to is no longer where it was, or was trained again.
    """
    chain = Chain.of(read_json(run.folder.audit)["chain"]).stages
    first = _restored(chain[0])
    by_stage: list[dict[str, Any]] = []
    tables: list[pd.DataFrame] = []
    for place, (name, asked, of) in enumerate(_asked(run, first, chain, finetuned)):
        told: dict[str, Any] = {"stage": name, "run": str(of.folder.path), "unit": of.family.unit}
        if not of.objective.language_model:
            by_stage.append({**told, "bits_per_byte": None, "windows": 0})
            continue
        rows = second_halves(replace(of, family=asked), first.corpus, SPLIT, first.recipe)
        rows.insert(0, "stage", name)
        rows.insert(0, "place", place)
        tables.append(rows)
        by_stage.append({**told, "bits_per_byte": bits_per_byte(rows.nats, rows.bytes), "windows": len(rows)})
    text = {
        "run": str(first.folder.path),
        "stage": chain[0].stage,
        "split": SPLIT,
        "corpus": first.corpus.digest,
        "length": first.recipe.size.length,
    }
    return Forgetting(
        {"text": text, "by_stage": by_stage, "overlap": _overlap(run, first)},
        pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(),
    )


def _asked(
    run: Run, first: Run, chain: list[Stage], finetuned: dict[str, Family]
) -> Iterator[tuple[str, Family, Run]]:
    """Each stage by name, the family that is asked, and whose it is; one run is held at a time."""
    yield chain[0].stage, first.family, first
    for stage in chain[1:-1]:
        between = _restored(stage)
        yield stage.stage, between.family, between
    yield chain[-1].stage, run.family, run
    for task, family in finetuned.items():
        yield f"{FINETUNE} on {task}", family, run


def _restored(stage: Stage) -> Run:
    folder = Path(stage.run)
    if not folder.is_dir():
        raise UserError(
            f"stage '{stage.stage}' of this run was trained in '{folder}', and there is no such folder now; "
            "forgetting is measured on its text: put it back"
        )
    if stage.weights != sha256(RunFolder(folder)):
        raise UserError(
            f"stage '{stage.stage}' of this run was trained in '{folder}', which holds other weights now; "
            "train what came after it again too"
        )
    return restore(folder)


def _overlap(run: Run, first: Run) -> dict[str, Any]:
    """Of the windows that are asked: what this stage's own training text has of them."""
    rows = windows_of(first.corpus, SPLIT, first.recipe).tokens.tolist()
    texts = [first.corpus.tokenizer.decode(row) for row in rows]
    (found,) = overlaps(run.corpus, {"forgetting": texts}, Path(run.recipe.data.cache)).values()
    return asdict(found)
