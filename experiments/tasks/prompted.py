"""Generation without finetuning: the source is a prompt, gone on from as the run was pretrained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from experiments.run import Run
from experiments.scoring import require_language_model
from experiments.tasks.kind import Answer, Example, Outcome, Question
from experiments.tasks.source_target import encoded, longest_target, portions, utf8
from experiments.tasks.writing import CELLS, decoding, until

BESIDE = 2  # what an objective puts before or after a prompt: bos, a sentinel


def zero_shot(question: Question) -> Answer:
    """One outcome a part: what the run writes greedily after each source, and the nats of its reference.

    Raises UserError for a run whose objective trains no language model.
    """
    run, data = question.run, question.data
    require_language_model(run.objective)
    longest, outcomes, cut = longest_target(run, data.test), [], {}
    for part, items in (("test", data.test), ("apart", data.apart)):
        if not items:
            continue
        pairs = encoded(run, items, longest, "beginning", BESIDE)
        cut |= {part: pairs.cut, f"{part}'s references": pairs.targets_cut}
        rows = pd.DataFrame({"item": range(len(items))})
        if run.family.unit == "nll":
            rows[["nats", "bytes"]] = nats_of_first(run, items, pairs.sources, longest)
        written = continued(run, pairs.sources, longest)
        rows["prediction"] = [run.corpus.tokenizer.decode(ids).strip() for ids in written]
        rows["references"] = [item["references"] for item in items]
        outcomes.append(Outcome({"model": "pretrained", "decoding": "own", "part": part}, rows))
    told = {"longest": longest, "beams": 1, "own": run.family.decoding, "unit": run.family.unit}
    return Answer(outcomes, cut=cut, more={"writes": told})


@torch.no_grad()
def nats_of_first(
    run: Run, items: Sequence[Example], sources: Sequence[list[int]], longest: int
) -> np.ndarray:
    """Nats and bytes (n,2) of each first reference given its source, as `scoring.score_texts` has them.

    By token ids, since a source that was cut is no text any more. A space stands between the two, and counts,
    unless the source ends with white space; eos is not asked.
    """
    tokenizer, found = run.corpus.tokenizer, np.zeros((len(items), 2))
    for row, (item, source) in enumerate(zip(items, sources, strict=True)):
        text = ("" if item["source"][-1].isspace() else " ") + item["references"][0]
        ids = tokenizer.encode(text)
        batch = run.objective.ask(torch.tensor([source]).long(), torch.tensor([ids[:longest]]))
        score = run.family.score(batch.to(run.device))
        found[row] = -float(score.nats.sum()), utf8(tokenizer, text, len(ids), longest)
    return found


def continued(run: Run, sources: Sequence[list[int]], longest: int) -> list[list[int]]:
    """What the run writes after each source by its objective, without eos; prompts of one length together."""
    words, found = run.corpus.vocabulary, [[] for _ in sources]
    how = decoding(words, run.family.layout == "in_place", 1)
    lengths = np.array([len(source) for source in sources])
    for length in np.unique(lengths):
        alike = np.flatnonzero(lengths == length)
        for chosen in portions(lengths[alike] + longest, CELLS):
            prompts = torch.tensor([sources[item] for item in alike[chosen]]).long()
            batch = run.objective.prompt(prompts, longest).to(run.device)
            written = run.family.generate(batch, longest, how)
            for item, row in zip(alike[chosen].tolist(), written.tolist(), strict=True):
                found[item] = until(row, words.eos)
    return found
