"""What later stages forget: bits per byte on the first stage's validation text, after every stage.

The instrument is `evaluation/scoring/likelihood.py`, on the first run's text in the first run's windows. It
scores every run of the chain, then the last run after each finetuning. All runs of a chain share a tokenizer.
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
    """summary: for evaluation.json. rows: one for each stage and window, with place, stage, item, document,
    nats, tokens, bytes and unit.
    """

    summary: dict[str, Any]
    rows: pd.DataFrame


def forgetting(run: Run, finetuned: dict[str, Family]) -> Forgetting:
    """Scores all stages of a run that began from another.

    finetuned: copies of the run's family, by the task they were finetuned on. Raises UserError if an earlier
    run of the chain is no longer in its folder, or was trained again.
    """
    chain = Chain.of(read_json(run.folder.audit)["chain"]).stages
    first = _restored(chain[0])
    by_stage: list[dict[str, Any]] = []
    tables: list[pd.DataFrame] = []
    for place, (name, family, owner) in enumerate(_families_by_stage(run, first, chain, finetuned)):
        entry: dict[str, Any] = {"stage": name, "run": str(owner.folder.path), "unit": owner.family.unit}
        if not owner.objective.language_model:
            by_stage.append({**entry, "bits_per_byte": None, "windows": 0})
            continue
        rows = second_halves(replace(owner, family=family), first.corpus, SPLIT, first.recipe)
        rows.insert(0, "stage", name)
        rows.insert(0, "place", place)
        tables.append(rows)
        by_stage.append(
            {**entry, "bits_per_byte": bits_per_byte(rows.nats, rows.bytes), "windows": len(rows)}
        )
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


def _families_by_stage(
    run: Run, first: Run, chain: list[Stage], finetuned: dict[str, Family]
) -> Iterator[tuple[str, Family, Run]]:
    """Yields each stage's name, the family to score and the run it belongs to; loads one run at a time."""
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
    """How much of the scored windows stands in the last stage's own training text."""
    rows = windows_of(first.corpus, SPLIT, first.recipe).tokens.tolist()
    texts = [first.corpus.tokenizer.decode(row) for row in rows]
    (shared,) = overlaps(run.corpus, {"forgetting": texts}, Path(run.recipe.data.cache)).values()
    return asdict(shared)
