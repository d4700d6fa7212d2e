"""Generation without finetuning: the run continues the source, which is its prompt, as it was pretrained."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch

from experiments.evaluation.finetuned.source_target import encoded, longest_target, utf8
from experiments.evaluation.finetuned.writing import decoding, until
from experiments.evaluation.question import Answer, Question
from experiments.evaluation.scoring.batching import batches, tokens_at_once
from experiments.evaluation.scoring.checks import check
from experiments.evaluation.scoring.token_scores import score_tokens
from experiments.runs.run import Run
from experiments.tasks.kind import Example, Outcome

BESIDE = 2  # tokens that an objective adds to a prompt: bos, a sentinel


def zero_shot(question: Question) -> Answer:
    """One outcome for each part: the greedy continuation of each source, and the nats of its first reference.

    Raises UserError for a run whose objective trains no language model.
    """
    run, data = question.run, question.data
    check(run.family, run.objective, run.corpus.tokenizer, None)
    longest, outcomes, cut = longest_target(run, data.test), [], {}
    for part, items in data.asked.items():
        pairs = encoded(run, items, longest, "beginning", BESIDE)
        cut |= {part: pairs.cut, f"{part}'s references": pairs.targets_cut}
        rows = pd.DataFrame({"item": range(len(items))})
        if run.family.unit == "nll":
            rows["nats"], rows["bytes"] = nats_of_first(run, items, pairs.sources, longest)
        written = continued(run, pairs.sources, longest)
        rows["prediction"] = [run.corpus.tokenizer.decode(ids).strip() for ids in written]
        rows["references"] = [item["references"] for item in items]
        outcomes.append(Outcome({"model": "pretrained", "decoding": "own", "part": part}, rows))
    writes = {"longest": longest, "beams": 1, "own": run.family.decoding, "unit": run.family.unit}
    return Answer(outcomes, cut=cut, more={"writes": writes})


def nats_of_first(
    run: Run, items: Sequence[Example], sources: Sequence[list[int]], longest: int
) -> tuple[list[float], list[int]]:
    """Nats and bytes of each first reference given its source, as `scoring.score_texts` defines them.

    Scores token ids, since a source that was cut may not be a text. The reference begins with a space, which
    counts, unless the source ends with white space; eos is not scored.
    """
    tokenizer = run.corpus.tokenizer
    texts = [("" if item["source"][-1].isspace() else " ") + item["references"][0] for item in items]
    ids = tokenizer.encode_batch(texts)
    pairs = [(source, each[:longest]) for source, each in zip(sources, ids, strict=True)]
    nats = [sum(each.nats) for each in score_tokens(run.family, run.objective, pairs)]
    sizes = [utf8(tokenizer, text, len(each), longest) for text, each in zip(texts, ids, strict=True)]
    return nats, sizes


def continued(run: Run, sources: Sequence[list[int]], longest: int) -> list[list[int]]:
    """The run's continuation of each source, without eos; prompts of one length share a batch."""
    words, texts = run.corpus.vocabulary, [[] for _ in sources]
    how = decoding(words, run.family.layout == "in_place", 1)
    shapes = [(len(source), longest) for source in sources]
    for chosen in batches(shapes, range(len(sources)), tokens_at_once(words.size)):
        prompts = torch.tensor([sources[item] for item in chosen]).long()
        written = run.family.generate(run.objective.prompt(prompts, longest).to(run.device), longest, how)
        for item, row in zip(chosen, written.tolist(), strict=True):
            texts[item] = until(row, words.eos)
    return texts
