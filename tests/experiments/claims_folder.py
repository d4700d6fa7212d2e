"""Writes the folder of a sweep with claims as training leaves it, with made-up effects, for tests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sweep_folder

from experiments.evidence.claims.claim import Claim, read_claims
from experiments.evidence.claims.condition import Condition
from experiments.evidence.claims.endpoints import endpoint_of
from experiments.evidence.claims.replaced import replaced
from experiments.evidence.tuning import FILE, Point, Trial, Tuning
from experiments.recipe.presets import preset
from experiments.storage.json_files import write_json
from experiments.sweeps.design import SCRATCH

FAMILIES = {"ar": "decoder_ar", "pf": "prefix_lm", "pm": "permuted_lm", "ed": "encoder_decoder"}
SEEDS = 8
RATES = [1e-3, 2e-3, 4e-3, 8e-3]
# What an arm is better by than others: in logits of order and party, and in nats a byte of target.
LOGITS = {"sop": {"order": 1.6}, "ae_mlm": {"party": 0.1}, "ae_span": {"party": 0.12}}
NATS = {"ar_lm": -0.05, "ar_denoise": -0.02, "half_span": -0.06, "ae_mlm": 0.2, "pm": 0.02}
UNTRAINED = 0.9  # logits that a model from scratch is worse by
WORDS = ["the", "people", "of", "this", "union", "kept", "faith", "with", "peace", "and", "commerce"]


def write_claims(
    folder: Path,
    claims: Sequence[str] = ("C11", "C9", "C12"),
    controls: Sequence[str] = ("more_compute", "same_arm"),
    stops: Sequence[str] = ("flops", "tokens"),
    scales: Sequence[float] = (1.0,),
    seeds: int = SEEDS,
    items: int = 80,
    endpoints: dict[str, str] | None = None,
) -> Path:
    """runs/<sweep>/ with every run of the design done, tuned, and no deviation."""
    named = replaced(read_claims({"control": list(controls), "claim": list(claims)}), endpoints or {})
    cells = [Condition(stop, scale) for scale in scales for stop in stops]
    arms, scratch, tuned = _arms(named, cells, seeds)
    for number, (arm, count) in enumerate(arms.items()):
        for seed in range(count):
            write_run(folder / arm / f"seed{seed}", arm, seed, number, items)
    _declare(folder, named, cells, arms, scratch, tuned, seeds)
    return folder


def _arms(
    claims: dict[str, Claim], cells: list[Condition], seeds: int
) -> tuple[dict[str, int], dict[str, str], dict[str, str]]:
    """Seeds by arm, controls first, then from scratch, then claims under every cell."""
    arms: dict[str, int] = {}
    of = {
        role: list(
            dict.fromkeys(arm for claim in claims.values() if claim.role == role for arm in claim.arms)
        )
        for role in ("control", "claim")
    }
    twice = {claim.arm for claim in claims.values() if claim.kind == "relabelling"}
    arms |= {arm: seeds * (2 if arm in twice else 1) for arm in of["control"]}
    tasks = {
        arm
        for claim in claims.values()
        if claim.role == "claim" and any(endpoint_of(name).task for name in claim.asked)
        for arm in claim.arms
    }
    shapes: dict[str, str] = {}
    scratch = {arm: shapes.setdefault(family_of(arm), SCRATCH + arm) for arm in of["claim"] if arm in tasks}
    arms |= {arm: seeds for arm in scratch.values() if arm not in arms}
    tuned = {arm: arm for arm in of["control"]}
    for cell in cells:
        for arm in of["claim"]:
            name = cell.name(arm, cells[0])
            arms[name] = max(seeds, arms.get(name, 0))
            tuned[name] = Condition(cells[0].stop, cell.scale).name(arm, cells[0])
    return arms, scratch, tuned


def family_of(arm: str) -> str:
    if arm in ("half_ar", "eighth_ar"):
        return "decoder_ar"
    if arm.startswith("half_"):
        return "encoder_decoder"
    return FAMILIES.get(arm.removeprefix(SCRATCH).split("_")[0], "encoder_ae")


def write_run(folder: Path, arm: str, seed: int, number: int, items: int) -> None:
    family, base = family_of(arm), arm.removeprefix(SCRATCH).split(".")[0]
    objective = base if base in ("sop", "nsp") else "nsp" if base == "nsp_off" else ""
    sweep_folder.write_run(
        folder,
        family,
        seed,
        number,
        objective=objective,
        tables=scores(arm, seed, number, items),
        training={"learning_rate": RATES[1 + number % 2]},
        budget=_budget(arm),
    )
    share = {"items": 0.012, "grams": 0.0021, "measured": 77, "short": 3}
    change(folder / "evaluation.json", overlap={"party": share, "order": share})
    if arm.startswith(SCRATCH):
        (folder / "metrics.jsonl").write_text("")
        path = folder / "audit.json"
        said = json.loads(path.read_text())
        nothing = {"spent": dict.fromkeys(said["spent"], 0), "epochs": 0, "attention": []}
        change(path, **nothing, plan=said["plan"] | {"steps": 0})


def _budget(arm: str) -> dict[str, Any]:
    """As the design names it: `.tokens` stops at tokens, `.x0.25` at a quarter, what is from scratch at 0."""
    spent = {"stop": "tokens", "amount": 819_200.0} if ".tokens" in arm else {}
    _, _, scale = arm.partition(".x")
    return (
        preset("budget", "ten_minutes")
        | spent
        | {"scale": 0.0 if arm.startswith(SCRATCH) else float(scale or 1)}
    )


def scores(arm: str, seed: int, number: int, items: int) -> dict[str, pd.DataFrame]:
    """Items are as hard for one arm as for another, and a seed is as lucky in one as in another."""
    base, untrained = arm.removeprefix(SCRATCH).split(".")[0], arm.startswith(SCRATCH)
    own = np.random.default_rng((seed, number, 1))
    tables = {"likelihood": _likelihood(base, seed, own, untrained)}
    for name in ("party", "order"):
        shared, lucky = _shared(name, items), np.random.default_rng(seed).normal(0, 0.05)
        better = 0.3 + lucky + (-UNTRAINED if untrained else LOGITS.get(base, {}).get(name, 0.0))
        rows = pd.DataFrame({"item": range(items), "text": [_text(name, item) for item in range(items)]})
        for column in ("correct",) if name == "party" else ("correct_mean", "correct_first"):
            chance = 1 / (1 + np.exp(-(better + shared.normal(0, 0.8, items) + own.normal(0, 0.05))))
            rows[column] = (own.random(items) < chance).astype(int)
        tables[name] = rows
    shared = _shared("target", items)
    lengths = shared.integers(20, 60, items)
    nats = 1.3 + (1.2 if untrained else NATS.get(base, 0.0)) + shared.normal(0, 0.1, items)
    nats = nats + own.normal(0, 0.01) + own.normal(0, 0.05, items)
    tables["target"] = pd.DataFrame({"item": range(items), "nats": nats * lengths, "bytes": lengths})
    return tables


def _likelihood(base: str, seed: int, own: np.random.Generator, untrained: bool) -> pd.DataFrame:
    unit = "pll" if family_of(base) == "encoder_ae" else "nll"
    windows = 16 if unit == "pll" else 64
    shared = _shared(f"likelihood {unit}", windows)
    size = np.linspace(240.0, 290.0, windows).round()
    worse = 40 * untrained + (12 if base.startswith("eighth") else 0)
    nats = 330 + worse + shared.normal(0, 25, windows) + own.normal(0, 0.6) + own.normal(0, 3, windows)
    columns = {"item": range(windows), "document": np.arange(windows) // 4, "nats": nats, "tokens": 64}
    return pd.DataFrame(
        {**columns, "bytes": size, "unit": unit, "trigram_nats": np.linspace(300, 366, windows)}
    )


def _shared(name: str, items: int) -> np.random.Generator:
    return np.random.default_rng([items, *hashlib.sha256(name.encode()).digest()[:4]])


def _text(name: str, item: int) -> str:
    words = np.random.default_rng(item).choice(WORDS, 14)
    return f"<{name} {item}> {' '.join(words)} & so on"


def _declare(
    folder: Path,
    claims: dict[str, Claim],
    cells: list[Condition],
    arms: dict[str, int],
    scratch: dict[str, str],
    tuned: dict[str, str],
    seeds: int,
) -> None:
    named = list(dict.fromkeys(arm for claim in claims.values() for arm in claim.arms))
    dumped = {name: claim.model_dump(mode="json") for name, claim in claims.items()}
    sweep_folder.declare(folder, named, seeds, "Which of the field's statements hold on this text?")
    sweep = json.loads((folder / "sweep.json").read_text())
    tuning = {"learning_rates": RATES, "warmups": [], "fraction": 0.2, "extensions": 1}
    write_json(folder / "sweep.json", sweep | {"claims": dumped, "tuning": tuning})
    write_json(
        folder / "claims.json",
        {
            "written": 1790000000.0,
            "seeds": seeds,
            "claims": dumped,
            "digests": {name: claim.digest() for name, claim in claims.items()},
            "deviations": [],
            "excused": {},
        },
    )
    design = {
        "cells": [asdict(cell) for cell in cells],
        "scratch": scratch,
        "tuned": tuned,
    }
    write_json(folder / "design.json", {"seeds": arms, **design})
    write_json(folder / FILE, tuning_of(sorted(set(tuned.values()))).as_json())


def tuning_of(arms: list[str]) -> Tuning:
    """Every arm's curve has its least loss at its second rate or third; the first arm's at the greatest."""
    done = Tuning(0.2, RATES, [])
    for number, arm in enumerate(arms):
        best = 3 if number == 0 else 1 + number % 2
        done.trials[arm] = [
            Trial(
                Point(rate, 0.05),
                None if (number == 1 and place == 3) else 3.5 + 0.1 * number + 0.08 * (place - best) ** 2,
                flops=1e12,
                tokens=2e5,
                seconds=30.0,
            )
            for place, rate in enumerate(RATES)
        ]
    return done


def add_deviation(folder: Path, what: str) -> None:
    change(folder / "claims.json", deviations=[{"time": 1790001000.0, "what": what}])


def change(path: Path, **content: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | content))
