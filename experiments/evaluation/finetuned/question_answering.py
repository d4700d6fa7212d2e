"""Extractive question answering: the answer is a span of the context, or there is none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from archs.batch import Batch
from archs.errors import UserError
from experiments.evaluation.finetuned.contexts import Window, batched, windows
from experiments.evaluation.finetuned.grid import Prepare, Tuned, answer
from experiments.evaluation.finetuned.pooled import ROWS_AT_ONCE
from experiments.evaluation.question import Answer, Question
from experiments.runs.run import Run
from experiments.tasks.kind import Example
from experiments.training.learner import Learner
from objectives.answer_span import AnswerSpan
from objectives.base import Objective

LONGEST = 30  # tokens of an answer, as in BERT's own script (Devlin et al. 2019)


def finetuned(question: Question) -> Answer:
    return answer(question, preparing(question), ("span",))


def preparing(question: Question) -> Prepare:
    """Prepares finetuning on each window that holds all of the first answer.

    A question without an answer is trained on in all its windows. If every training question has an answer,
    the model always predicts a span.
    """
    others = question.data.held
    unanswerable = any(not example["answers"] for example in question.data.train)

    def prepare(run: Run, train: Sequence[Example]) -> Tuned:
        pad = run.corpus.vocabulary.pad
        windows_by_part = {part: windows(run, each) for part, each in {"train": train, **others}.items()}
        trained = [
            (window, span)
            for window in windows_by_part["train"][0]
            if (span := _columns_to_predict(window, train))
        ]
        if not trained:
            raise UserError(
                f"no training example of task '{question.task.name}' has its answer whole in a window of "
                f"{run.recipe.size.length} tokens; ask a run with a larger size.length"
            )

        def objective(pooling: str) -> AnswerSpan:
            return AnswerSpan(run.corpus.vocabulary, run.family.layout)

        def batch(asks: Objective, chosen: np.ndarray, seed: int) -> Batch:
            assert isinstance(asks, AnswerSpan)
            spans = torch.tensor([trained[place][1] for place in chosen])
            return asks.read(*batched([trained[place][0] for place in chosen], pad, unanswerable), spans)

        def predict(learner: Learner, part: str) -> pd.DataFrame:
            answers = predicted(learner, windows_by_part[part][0], others[part], pad, unanswerable)
            references = [example["answers"] for example in others[part]]
            return pd.DataFrame(
                {"item": range(len(answers)), "prediction": answers, "references": references}
            )

        lengths = np.array([len(window.tokens) for window, _ in trained])
        return Tuned(
            objective, batch, lengths, predict, {part: cut for part, (_, cut) in windows_by_part.items()}
        )

    return prepare


def _columns_to_predict(window: Window, examples: Sequence[Example]) -> tuple[int, int] | None:
    """The first and last column that training asks of a window; None if the window lacks the answer."""
    spans = examples[window.item]["spans"]
    return window.columns(spans[0]) if spans else (window.nowhere, window.nowhere)


@torch.no_grad()
def predicted(
    learner: Learner, given: Sequence[Window], examples: Sequence[Example], pad: int, unanswerable: bool
) -> list[str]:
    """Each item's answer: the best span of all its windows, or "" if that scores higher.

    A score is the sum of a first and a last row's logit. The score of "" is its least over the item's
    windows.
    """
    asks, device = learner.objective, learner.family.embedding.weight.device
    assert isinstance(asks, AnswerSpan)
    best, texts = np.full(len(examples), -np.inf), [""] * len(examples)
    nothing = np.full(len(examples), np.inf if unanswerable else -np.inf)
    order = np.argsort([len(window.tokens) for window in given], kind="stable")
    for places in np.array_split(order, -(-len(order) // ROWS_AT_ONCE)):
        some = [given[place] for place in places]
        batch = asks.read(*batched(some, pad, unanswerable), torch.zeros(len(some), 2, dtype=torch.long))
        logits = asks.answers(learner.family, learner.extra, batch.to(device)).cpu().numpy()
        for window, (firsts, lasts) in zip(some, np.where(np.isnan(logits), 0, logits), strict=True):
            inside = slice(window.first, window.first + len(window.places))
            score, span = best_span(firsts[inside], lasts[inside])
            if score > best[window.item]:
                columns = span[0] + window.first, span[1] + window.first
                best[window.item] = score
                texts[window.item] = examples[window.item]["context"][window.characters(columns)].strip()
            if unanswerable:
                score_of_none = firsts[window.nowhere] + lasts[window.nowhere]
                nothing[window.item] = min(nothing[window.item], score_of_none)
    return [
        "" if score_of_none > score else text
        for score_of_none, score, text in zip(nothing, best, texts, strict=True)
    ]


def best_span(firsts: np.ndarray, lasts: np.ndarray) -> tuple[float, tuple[int, int]]:
    """The largest sum of a first and a last logit (C each), and its columns, at most LONGEST of them."""
    best, span = -np.inf, (0, 0)
    for more in range(min(LONGEST, len(firsts))):
        sums = firsts[: len(firsts) - more] + lasts[more:]
        place = int(sums.argmax())
        if sums[place] > best:
            best, span = float(sums[place]), (place, place + more)
    return best, span
