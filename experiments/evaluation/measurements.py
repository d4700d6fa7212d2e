"""The measurements of a trained run. A new one is a function here and an entry in MEASUREMENTS."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from archs.families.family import Family
from experiments.data.overlap import GRAM, overlaps
from experiments.evaluation.builtin import order
from experiments.evaluation.builtin.asked import INFILL_TEST, texts_by_task
from experiments.evaluation.builtin.classify import classifier, predictions
from experiments.evaluation.builtin.fill import fill
from experiments.evaluation.builtin.probe import POOLINGS
from experiments.evaluation.builtin.target import target
from experiments.evaluation.forgetting import forgetting
from experiments.evaluation.scoring.likelihood import bits_per_byte, likelihood
from experiments.runs.run import Run
from experiments.storage.tables import write_table
from experiments.tasks.builtin import infill, party


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A run under evaluation.

    finetuned: the family after finetuning, by task; forgetting is measured of it.
    """

    run: Run
    finetuned: dict[str, Family] = field(default_factory=dict)


@dataclass(frozen=True)
class Measurement:
    """One measurement.

    name: its key in evaluation.json. wanted: whether the recipe asks for it. ask: returns its numbers and
    writes its rows to scores/.
    """

    name: str
    wanted: Callable[[Run], bool]
    ask: Callable[[Evaluation], Any]


def likelihood_of(evaluation: Evaluation) -> dict[str, Any] | None:
    """Bits per byte of held-out text; None if the objective leaves the head for tokens untrained."""
    run = evaluation.run
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


def party_of(evaluation: Evaluation) -> dict[str, Any]:
    run = evaluation.run
    data, baselines = party_data(run.recipe.evaluation.finetune.examples)
    finetuned = classifier(run, data.train, classes=len(party.LABELS))
    evaluation.finetuned["party"] = finetuned.learner.family
    rows = predictions(run, finetuned, data.test)
    save(run, "party", rows)
    accuracies = {name: each.accuracy for name, each in baselines.items()}
    return {"accuracy": float(rows.correct.mean()), "items": len(rows), **accuracies}


@cache
def party_data(examples: int) -> tuple[party.PartyData, dict[str, party.Baseline]]:
    """The task with its first `examples` training examples, and baselines fitted on them; once a process."""
    data = party.load()
    data = replace(data, train=data.train[:examples])
    return data, party.baselines(data)


def infill_of(evaluation: Evaluation) -> dict[str, Any]:
    run = evaluation.run
    rows = fill(run, *gaps(run))
    save(run, "infill", rows)
    return {
        "chrf": float(rows.chrf.mean()),
        "first_word": float(rows.first_word.mean()),
        "items": len(rows),
        "decoding": run.family.decoding,
    }


def gaps(run: Run) -> tuple[infill.Infill, infill.Infill]:
    """The gaps of train and of test, the same for every seed of an arm."""
    corpus, examples = run.corpus, run.recipe.evaluation.finetune.examples
    train = infill.examples(corpus.train, corpus.vocabulary, corpus.tokenizer, examples, seed=0)
    return train, infill.examples(corpus.test, corpus.vocabulary, corpus.tokenizer, INFILL_TEST, seed=0)


def target_of(evaluation: Evaluation) -> dict[str, Any]:
    run = evaluation.run
    rows = target(run, *gaps(run))
    save(run, "target", rows)
    nats, count = float(rows.nats.to_numpy().sum()), float(rows.bytes.to_numpy().sum())
    return {
        "nats_per_byte": nats / count,
        "items": len(rows),
        "tokens": int(rows.tokens.to_numpy().sum()),
        "bytes": count,
    }


def order_of(evaluation: Evaluation) -> dict[str, Any]:
    run = evaluation.run
    rows, baselines = order.probe(run)
    save(run, "order", rows)
    accuracy = {f"accuracy_{name}": rows[f"correct_{name}"].to_numpy().mean().item() for name in POOLINGS}
    return {**accuracy, "items": len(rows), **baselines}


def overlap_of(evaluation: Evaluation) -> dict[str, dict[str, Any]]:
    """How much of each task's test items stands in the training text; also printed to stderr."""
    run = evaluation.run
    shared = overlaps(run.corpus, texts_by_task(run), Path(run.recipe.data.cache))
    text = "; ".join(f"{name}: {each}" for name, each in shared.items())
    print(f"overlap of {GRAM}-grams with the training text: {text or 'no task'}", file=sys.stderr, flush=True)
    return {name: asdict(each) for name, each in shared.items()}


def forgetting_of(evaluation: Evaluation) -> dict[str, Any]:
    forgotten = forgetting(evaluation.run, evaluation.finetuned)
    save(evaluation.run, "forgetting", forgotten.rows)
    return forgotten.summary


def save(run: Run, name: str, rows: pd.DataFrame) -> None:
    """Writes scores/<name>.parquet, whole or not at all."""
    write_table(run.folder.scores / f"{name}.parquet", rows)


MEASUREMENTS = (
    Measurement("likelihood", lambda run: True, likelihood_of),
    Measurement("party", lambda run: run.recipe.evaluation.party, party_of),
    Measurement("infill", lambda run: run.recipe.evaluation.infill, infill_of),
    Measurement("target", lambda run: run.recipe.evaluation.target, target_of),
    Measurement("order", lambda run: run.recipe.evaluation.order, order_of),
    Measurement("overlap", lambda run: True, overlap_of),
)
# Runs after the recipe's tasks, because it also scores the families that they finetuned.
FORGETTING = Measurement("forgetting", lambda run: run.recipe.init_from is not None, forgetting_of)
