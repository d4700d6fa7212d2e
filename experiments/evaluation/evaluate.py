"""Everything that is asked of a trained run, through one interface for every family."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from archs.errors import UserError
from archs.families.family import Family
from experiments.data.overlap import GRAM, overlaps
from experiments.evaluation.asking import answered
from experiments.evaluation.builtin import order
from experiments.evaluation.builtin.asked import INFILL_TEST, asked
from experiments.evaluation.builtin.classify import classifier, predictions
from experiments.evaluation.builtin.fill import fill
from experiments.evaluation.builtin.probe import POOLINGS
from experiments.evaluation.builtin.target import target
from experiments.evaluation.flow import measured_flow
from experiments.evaluation.forgetting import forgetting
from experiments.evaluation.scoring.likelihood import bits_per_byte, likelihood
from experiments.evaluation.writing import samples
from experiments.runs.environment import software
from experiments.runs.folder import RunFolder
from experiments.runs.run import Run, restore
from experiments.storage.json_files import read_json, write_json
from experiments.storage.tables import write_table
from experiments.tasks.builtin import infill, party
from experiments.tasks.modes import mode_of
from experiments.tracking import tracker
from experiments.tracking.shown import show_evaluated


def evaluate_run(folder: Path, group: str = "train") -> None:
    """Scores a trained run: scores/*.parquet, samples.json, evaluation.json; then it is done.

    Scores are a pure function of weights and recipe. group: the W&B group, the sweep's name. Raises UserError
    if another process is writing there.
    """
    with RunFolder(folder).alone():
        RunFolder(folder).remove_partial()
        _evaluate(folder, group)


def _evaluate(folder: Path, group: str) -> None:
    run = restore(folder)
    settings = run.recipe.evaluation
    seconds: dict[str, float] = {}

    def timed(name: str, ask: Callable[[], Any]) -> Any:
        print(f"{run.recipe.label} seed {run.recipe.seed}: evaluating {name}", file=sys.stderr, flush=True)
        started = time.perf_counter()
        answer = ask()
        seconds[name] = time.perf_counter() - started
        return answer

    flow, told = timed("information flow", lambda: measured_flow(run))
    finetuned: dict[str, Family] = {}  # by task: what forgetting is measured of too
    content: dict[str, Any] = {
        "flow": {"ok": flow.ok, "text": told},
        "gates": read_json(folder / "gates.json"),
        "language_model": run.objective.language_model,
        "likelihood": timed("likelihood", lambda: likelihood_of(run)),
        "party": timed("party", lambda: party_of(run, finetuned)) if settings.party else None,
        "infill": timed("infill", lambda: infill_of(run)) if settings.infill else None,
        "target": timed("target", lambda: target_of(run)) if settings.target else None,
        "order": timed("order", lambda: order_of(run)) if settings.order else None,
        "overlap": timed("overlap", lambda: overlap_of(run)),
    }
    content["not_asked"] = not_asked = {}
    for ask in settings.tasks:
        name = f"{ask.task.name}, {mode_of(ask)}"
        try:
            _, family = timed(name, lambda ask=ask: answered(run, ask))
        except UserError as error:  # of one task: what was trained is evaluated on the others all the same
            print(f"error: not asked {name}: {error}", file=sys.stderr, flush=True)
            not_asked[name] = str(error)
        else:
            if family is not None:
                finetuned[f"task:{ask.task.name}"] = family
    if run.recipe.init_from:
        content["forgetting"] = timed("forgetting", lambda: forgetting_of(run, finetuned))
    written = timed("samples", lambda: samples(run))
    write_json(folder / "samples.json", written)
    write_json(folder / "evaluation.json", content | {"seconds": seconds, "environment": software()})
    follow = tracker(run.recipe, folder, group, read_json(run.folder.audit)["spent"]["steps"] + 1)
    try:
        show_evaluated(follow, folder, run.recipe.seed, flow.measured["tokens"]["tokens"][0].numpy())
    finally:
        follow.finish()
    run.folder.set_status("done")


def likelihood_of(run: Run) -> dict[str, Any] | None:
    """None where the objective left the head that predicts tokens untrained."""
    if not run.objective.language_model:
        return None
    rows = likelihood(run)
    save(run, "likelihood", rows)
    bits = bits_per_byte(rows.nats, rows.bytes)
    anchor = bits_per_byte(rows.trigram_nats, rows.bytes)
    uniform = rows.tokens * math.log(run.corpus.vocabulary.size)
    return {
        "unit": run.family.unit,
        "bits_per_byte": bits,
        "windows": len(rows),
        "tokens": int(rows.tokens.sum()),
        "bytes": float(rows.bytes.sum()),
        "trigram_bits_per_byte": anchor,
        "uniform_bits_per_byte": bits_per_byte(uniform, rows.bytes),
        "undertrained": bits >= anchor,
    }


def party_of(run: Run, finetuned: dict[str, Family]) -> dict[str, Any]:
    data, baselines = party_data(run.recipe.evaluation.finetune.examples)
    by = classifier(run, data.train, classes=len(party.LABELS))
    finetuned["party"] = by.learner.family
    rows = predictions(run, by, data.test)
    save(run, "party", rows)
    beside = {name: each.accuracy for name, each in baselines.items()}
    return {"accuracy": float(rows.correct.mean()), "items": len(rows), **beside}


@cache
def party_data(examples: int) -> tuple[party.PartyData, dict[str, party.Baseline]]:
    """The task with so many training examples and the baselines fitted on the same, made once a process."""
    data = party.load()
    data = replace(data, train=data.train[:examples])
    return data, party.baselines(data)


def infill_of(run: Run) -> dict[str, Any]:
    rows = fill(run, *gaps(run))
    save(run, "infill", rows)
    return {
        "chrf": float(rows.chrf.mean()),
        "first_word": float(rows.first_word.mean()),
        "items": len(rows),
        "decoding": run.family.decoding,
    }


def gaps(run: Run) -> tuple[infill.Infill, infill.Infill]:
    """Those of train and of test: the same for every seed of an arm."""
    corpus, wanted = run.corpus, run.recipe.evaluation.finetune.examples
    train = infill.examples(corpus.train, corpus.vocabulary, corpus.tokenizer, wanted, seed=0)
    return train, infill.examples(corpus.test, corpus.vocabulary, corpus.tokenizer, INFILL_TEST, seed=0)


def target_of(run: Run) -> dict[str, Any]:
    rows = target(run, *gaps(run))
    save(run, "target", rows)
    nats, count = float(rows.nats.to_numpy().sum()), float(rows.bytes.to_numpy().sum())
    return {
        "nats_per_byte": nats / count,
        "items": len(rows),
        "tokens": int(rows.tokens.to_numpy().sum()),
        "bytes": count,
    }


def order_of(run: Run) -> dict[str, Any]:
    rows, beside = order.probe(run)
    save(run, "order", rows)
    accuracy = {f"accuracy_{name}": rows[f"correct_{name}"].to_numpy().mean().item() for name in POOLINGS}
    return {**accuracy, "items": len(rows), **beside}


def overlap_of(run: Run) -> dict[str, dict[str, Any]]:
    """What the training text has of each task's test items, told in one line on stderr."""
    found = overlaps(run.corpus, asked(run), Path(run.recipe.data.cache))
    told = "; ".join(f"{name}: {each}" for name, each in found.items())
    print(f"overlap of {GRAM}-grams with the training text: {told or 'no task'}", file=sys.stderr, flush=True)
    return {name: asdict(each) for name, each in found.items()}


def forgetting_of(run: Run, finetuned: dict[str, Family]) -> dict[str, Any]:
    found = forgetting(run, finetuned)
    save(run, "forgetting", found.rows)
    return found.told


def save(run: Run, name: str, rows: pd.DataFrame) -> None:
    """scores/<name>.parquet, whole or not at all."""
    write_table(run.folder.scores / f"{name}.parquet", rows)
