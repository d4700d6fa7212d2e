"""Paragraphs of methods for a paper, generated from the recipes of the runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from experiments.evidence import audit
from experiments.evidence.claims.claim import CONFIRMATORY
from experiments.evidence.claims.endpoints import endpoint_of
from experiments.evidence.claims.readings import ALPHA, FALSE_DISCOVERIES
from experiments.evidence.claims.verdicts import FALSE_VERDICTS, RELABELLINGS
from experiments.evidence.tuning import Tuning
from experiments.report.claimed import Claimed
from experiments.report.claims.words import STOPS, listed
from experiments.report.markup import escaped
from experiments.report.section import Report, Section, Values
from experiments.report.sections.tuning import rule
from experiments.report.sections.words import corpus, count
from experiments.runs.reading import SweepRecord

REFERENCES = (
    "Benjamini and Hochberg 1995, J. R. Stat. Soc. B 57",
    "Clark 1973, J. Verbal Learn. Verbal Behav. 12 (items as a random effect)",
    "Fisher 1935, The Design of Experiments (sign-flip)",
    "Holm 1979, Scand. J. Stat. 6",
    "Satterthwaite 1946, Biometrics Bull. 2",
    "Schuirmann 1987, J. Pharmacokinet. Biopharm. 15 (two one-sided tests)",
    "Tukey 1958, Ann. Math. Stat. 29 (jackknife)",
)


def paragraphs(sweep: SweepRecord, claimed: Claimed | None, tuning: Tuning | None) -> list[str]:
    """Paragraphs on training, on statistics if there are claims, and on software."""
    texts = [_training(sweep), *([rule(tuning)] if tuning else [_untuned(sweep)])]
    if claimed is not None:
        texts += [_decided_on(claimed), _statistics(claimed), f"References: {'; '.join(REFERENCES)}."]
    return [*texts, _software(sweep)]


def _training(sweep: SweepRecord) -> str:
    recipe: dict[str, Any] = sweep.recipe
    size, budget, training = recipe["size"], recipe["budget"], recipe["training"]
    arms = [arm for arm in sweep.arms if any(run.recipe for run in sweep.of(arm))]
    families = list(dict.fromkeys(run.recipe["family"]["name"] for run in sweep.runs if run.recipe))
    tokenizer = recipe["data"].get("tokenizer") or f"one byte-level BPE of {size['vocabulary']:,} entries"
    positions = size.get("positions", "rope")
    match = audit.MATCHES[budget["match"]]
    equal = (
        "Nothing was matched"
        if budget["match"] == "none"
        else f"Arms were matched on {match} within {budget['tolerance']:.1%}"
    )
    return (
        f"We trained {len(arms)} arms of {len(families)} architectures ({listed(families)}) on "
        f"{corpus(sweep)}, with {tokenizer} trained on the training split. All arms share one Transformer "
        f"core of {size['layers']} layers x {size['width']} ({size['ffn']} in the feed-forward layers, "
        f"{size['heads']} heads, positions: {positions}) and windows of {size['length']} tokens packed with "
        f"document masks. {equal}; runs stopped at {audit.stops(sweep)}. FLOPs are counted for forward and "
        "backward passes, with masked-out attention and padding charged. Optimisation: AdamW (betas "
        f"{training['betas'][0]:g} and {training['betas'][1]:g}, weight decay {training['weight_decay']:g}, "
        f"gradients clipped at {training['clip']:g}), batches of {training['batch']} windows, warm-up over "
        f"{training['warmup']:.0%} of the arm's own budget and a cosine to {training['final']:.0%} of the "
        "peak."
    )


def _untuned(sweep: SweepRecord) -> str:
    rates = sorted({run.recipe["training"]["learning_rate"] for run in sweep.runs if run.recipe})
    return f"Learning rates were set, not tuned: {', '.join(f'{rate:g}' for rate in rates)}."


def _decided_on(claimed: Claimed) -> str:
    claims = [outcome.claim for outcome in claimed.decision.claims]
    endpoint_names = list(dict.fromkeys(name for claim in claims for name in claim.asked))
    endpoints = listed(f"{endpoint_of(name).title} ({endpoint_of(name).unit})" for name in endpoint_names)
    stops = listed(
        STOPS.get(stop, stop) for stop in dict.fromkeys(cell.stop for cell in claimed.registered.cells)
    )
    scales = sorted({cell.scale for cell in claimed.registered.cells})
    at = "" if scales == [1.0] else f" and at {listed(f'{scale:g}' for scale in scales)} times the amount"
    changed = len(claimed.registered.deviations)
    after = f"{count(changed, 'deviation')} followed, all listed" if changed else "no deviation followed"
    return (
        f"{len(claims)} claims, their contrasts, margins and endpoints were registered and hashed before "
        f"training ({claimed.registered_on}); {after}. Endpoints: {endpoints}. Each claim was read with the "
        f"budget matched in {stops}{at}, over {claimed.registered.seeds} seeds that pair the arms' data "
        "order; it decides at the amount itself, and where budgets disagree no side is taken."
    )


def _statistics(claimed: Claimed) -> str:
    controls = listed(outcome.name for outcome in claimed.decision.controls)
    relabelled = any(outcome.relabelling is not None for outcome in claimed.decision.controls)
    twin = (
        f" An arm against itself (A/A, {RELABELLINGS} relabellings) had to give a verdict in at most "
        f"{FALSE_VERDICTS:.0%}."
        if relabelled
        else ""
    )
    return (
        "For seeds s and items i, D[s, i] is the contrast of arms paired by seed and item. We test its "
        "mean with crossed random effects for seeds and items, V = max(MS_s + MS_i - MS_r, MS_s, MS_i)/(S "
        "I) with Satterthwaite's degrees of freedom floored at S - 1, and beside it with the exact "
        "sign-flip over seeds; a verdict needs both. Ratios enter as jackknife pseudo-values. Equivalence "
        "is two one-sided tests against a margin fixed beforehand. A claim of several parts takes the "
        f"largest p, against it Bonferroni's over the parts. The first {CONFIRMATORY} claims are "
        f"confirmatory, corrected by Holm at {ALPHA:g}; others are exploratory, by Benjamini-Hochberg at q "
        f"= {FALSE_DISCOVERIES:g}. A task informs claims only where pretrained arms together beat the same "
        f"models untrained. Controls had to hold before any verdict: {controls}.{twin} Pretraining and "
        "finetuning share a seed, so finetuning's variance is not separated from the seed's. The smallest "
        "visible effect is what these variances show with power .8."
    )


def _software(sweep: SweepRecord) -> str:
    versions_by_name: dict[str, set[str]] = {}
    for run in sweep.runs:
        for name, version in {
            "python": run.environment.get("python"),
            **(run.environment.get("libraries") or {}),
        }.items():
            if version:
                versions_by_name.setdefault(name, set()).add(str(version))
    text = ", ".join(
        f"{name} {' and '.join(sorted(versions))}" for name, versions in versions_by_name.items()
    )
    return f"Software: {text or 'not recorded'}."


def _markdown(report: Report, values: Values) -> Iterator[str]:
    yield "## Methods"
    yield from map(escaped, values["methods"])


def _values(report: Report) -> Values:
    return {"methods": paragraphs(report.sweep, report.claimed, report.tuning)}


SECTION = Section("methods", "Methods", _values, _markdown)
