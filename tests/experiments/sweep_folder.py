"""Writes a sweep's folder as training and evaluation leave it, with made-up numbers, for tests."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.recipe.recipe import Recipe

OBJECTIVES = {
    "encoder_ae": "mlm",
    "decoder_ar": "causal",
    "encoder_decoder": "span",
    "prefix_lm": "prefix",
    "permuted_lm": "permutation",
}
STEPS, TOKENS, FLOPS = 200, 4096, 18_000_000_000
PROMPT = "Fellow citizens of the Senate:"


def write_sweep(folder: Path, arms: list[str], seeds: int = 1, question: str = "Which one?") -> Path:
    """runs/<sweep>/ with every run done; arms are names of families."""
    for number, arm in enumerate(arms):
        for seed in range(seeds):
            write_run(folder / arm / f"seed{seed}", arm, seed, number)
    declare(folder, arms, seeds, question)
    return folder


def declare(folder: Path, arms: list[str], seeds: int, question: str = "Which one?") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    overrides = {arm: [f"family={arm}"] for arm in arms}
    content = {"name": folder.name, "question": question, "seeds": seeds, "arms": overrides, "overrides": []}
    (folder / "sweep.json").write_text(json.dumps(content))


def write_run(
    folder: Path,
    family: str,
    seed: int,
    number: int = 0,
    *,
    objective: str = "",
    tables: dict[str, pd.DataFrame] | None = None,
    **settings: Any,
) -> Path:
    """One run that is done. tables: its scores, made up if not given; settings: of its recipe."""
    rng = np.random.default_rng((seed, number))
    (folder / "scores").mkdir(parents=True)
    asked = {"objective": objective or OBJECTIVES[family], "size": "tiny", **settings}
    Recipe(family=family, seed=seed, **asked).to_yaml(folder / "recipe.yaml")  # type: ignore[arg-type]
    set_status(folder, "done")
    rows = metrics(rng, number)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    _dump(folder / "audit.json", audit(family, rows[-1], number))
    _dump(
        folder / "environment.json", {"python": "3.11.9", "libraries": {"torch": "2.13.0"}, "device": "cpu"}
    )
    tables = tables or scores(rng, "pll" if family == "encoder_ae" else "nll", number)
    for name, table in tables.items():
        table.to_parquet(folder / "scores" / f"{name}.parquet", index=False)
    _dump(folder / "evaluation.json", evaluation(tables))
    continuation = {
        "prompt": PROMPT,
        "continuation": f"words of {family}",
        "decoding": f"decoder of {family}",
    }
    _dump(folder / "samples.json", [continuation, {**continuation, "prompt": "And to the House:"}])
    return folder


def set_status(folder: Path, state: str, **more: Any) -> None:
    _dump(folder / "status.json", {"state": state, "time": 0.0, **more})


def _dump(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content))


def metrics(rng: np.random.Generator, number: int) -> list[dict[str, float]]:
    rows = []
    for step in range(5, STEPS + 1, 5):
        loss = 3.5 + 0.2 * number + 4 * math.exp(-step / 50)
        row = {
            "step": step,
            "fraction": step / STEPS,
            "tokens": step * TOKENS,
            "targets": step * TOKENS // (1 + number),
            "flops": step * FLOPS,
            "seconds": step * 0.3,
            "loss": loss + rng.normal(0, 0.08),
            "learning_rate": 1e-3,
            "tokens_per_second": TOKENS / 0.3,
        }
        rows.append(row | ({"validation_loss": loss + 0.05} if step % 20 == 0 else {}))
    return rows


def audit(family: str, last: dict[str, float], number: int) -> dict[str, Any]:
    split = 2 if family == "encoder_decoder" else None
    plan = {
        "arm": family,
        "family": family,
        "objective": OBJECTIVES[family],
        "config": {"layers": 2, "width": 64, "ffn": 256, "decoder_layers": split},
        "parameters": {"core": 790_000 + 100 * number, "embedding": 524_288},
        "extra_parameters": 0,
        "flops_per_step": FLOPS,
        "tokens_per_step": TOKENS,
        "targets_per_step": TOKENS // (1 + number),
        "steps": STEPS,
        "match": "core_parameters",
        "measure": 790_000 + 100 * number,
        "reference": 790_000,
        "tolerance": 0.02,
        "deviation": 100 * number / 790_000,
        "shape": "2+2 x 64, ffn 256" if split else "4 x 64, ffn 256",
        "flops_per_token": FLOPS / TOKENS,
    }
    spent = {name: last[name] for name in ("tokens", "targets", "flops", "seconds")}
    return {
        "plan": plan,
        "spent": {"steps": STEPS, **spent},
        "parameters": 1_314_288 + 100 * number,
        "attention": ["causal: is_causal", "causal & document: dense"],
        "epochs": 0.31,
        "corpus": "72cc4da73c314c8a",
        "raw_tokens_in_corpus": 2_640_000,
    }


def scores(rng: np.random.Generator, unit: str, number: int) -> dict[str, pd.DataFrame]:
    windows, paragraphs, gaps = (16 if unit == "pll" else 64), 1000, 200
    likelihood = pd.DataFrame(
        {
            "item": range(windows),
            "document": np.arange(windows) // 4,
            "nats": rng.normal(330 + 6 * number, 25, windows),
            "tokens": 64,
            "bytes": np.linspace(240.0, 290.0, windows).round(),
            "unit": unit,
            "trigram_nats": np.linspace(300, 366, windows),
        }
    )
    label, right = np.arange(paragraphs) % 2, rng.random(paragraphs) < 0.56 + 0.01 * number
    party = pd.DataFrame(
        {
            "item": range(paragraphs),
            "president": "Somebody",
            "label": label,
            "predicted": np.where(right, label, 1 - label),
            "correct": right.astype(int),
        }
    )
    infill = pd.DataFrame(
        {
            "item": range(gaps),
            "left": [f"left of gap {item}: we have" for item in range(gaps)],
            "right": "of the people.",
            "reference": "kept the trust",
            "prediction": [f"<b>the</b> peace & order {number}" for _ in range(gaps)],
            "chrf": rng.gamma(4, 4, gaps),
            "first_word": (rng.random(gaps) < 0.2).astype(int),
        }
    )
    order = pd.DataFrame({"item": range(windows), "document": np.arange(windows) // 4, "label": 0})
    for pooling in ("mean", "first"):
        order[f"predicted_{pooling}"] = rng.integers(0, 2, windows)
        order[f"correct_{pooling}"] = 1 - order[f"predicted_{pooling}"]
    target = pd.DataFrame({"item": range(gaps), "document": 0, "nats": rng.normal(28 + number, 3, gaps)})
    target["tokens"], target["bytes"] = 7, 30.0
    tables = {"likelihood": likelihood, "party": party, "infill": infill}
    return {**tables, "target": target, "order": order}


def evaluation(tables: dict[str, pd.DataFrame]) -> dict[str, Any]:
    rows = tables["likelihood"]

    def bits(nats: np.ndarray) -> float:
        return float(nats.sum() / math.log(2) / np.asarray(rows["bytes"]).sum())

    here, trigram = bits(np.asarray(rows["nats"])), bits(np.asarray(rows["trigram_nats"]))
    uniform = bits(np.asarray(rows["tokens"]) * math.log(512))
    return {
        "likelihood": {
            "unit": str(rows["unit"][0]),
            "bits_per_byte": here,
            "trigram_bits_per_byte": trigram,
            "uniform_bits_per_byte": uniform,
            "undertrained": here > trigram,
        },
        "gates": {
            "unigram_kl_nats": 0.041,
            "trigram_bits_per_byte": trigram,
            "uniform_bits_per_byte": uniform,
            "verdicts": [
                "unigram KL 0.041 nats a token: the same domain",
                "trigram anchor",
                "uniform ceiling",
            ],
        },
        "party": {"accuracy": 0.5, "items": 1000, "majority": 0.5, "tfidf_logistic": 0.552},
        "infill": {"chrf": 0.0, "first_word": 0.0, "items": 200, "decoding": "left to right"},
        "target": {"nats_per_byte": 1.0, "items": 200},
        "order": {"accuracy_mean": 0.5, "accuracy_first": 0.5, "majority": 0.488, "input_embeddings": 0.503},
        "flow": {"ok": True, "text": "information flows exactly where the mask says"},
        "seconds": {"likelihood": 1.0},
    }
