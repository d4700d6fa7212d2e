"""Extractive question answering: the answer is a span of the context, or there is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from archs.batch import Batch
from archs.errors import UserError
from experiments.learner import Learner
from experiments.run import Run
from experiments.tasks.baselines import baselines_for_question_answering
from experiments.tasks.contexts import POLICY, Window, batched, windows
from experiments.tasks.grid import Prepare, Tuned, answer
from experiments.tasks.kind import Answer, Example, Kind, Question, text_of
from experiments.tasks.pooled import ROWS_AT_ONCE
from experiments.tasks.task import TaskConfig
from objectives.answer_span import AnswerSpan
from objectives.base import Objective

LONGEST = 30  # tokens of an answer, as in BERT's own script (Devlin et al. 2019)


def example(row: Example, task: TaskConfig) -> Example:
    """answers: the texts allowed, none where there is no answer; spans: the characters where they stand.

    The column holds SQuAD's {"text": […], "answer_start": […]}, or a list of texts, each of which is looked
    for in the context from its beginning.
    """
    context, question, given = text_of(row, "context"), text_of(row, "question"), row["answers"]
    if isinstance(given, dict) and set(given) >= {"text", "answer_start"}:
        answers = _texts(given["text"])
        spans = _stated(answers, given["answer_start"], context)
    else:
        answers = _texts(given)
        spans = [_trimmed(context.find(each), each) for each in answers if each in context]
        if answers and not spans:
            raise ValueError(f"its answer '{answers[0]}' is not in its context; leave such items out")
    return {"context": context, "question": question, "answers": answers, "spans": spans}


def _texts(given: Any) -> list[str]:
    if not isinstance(given, list):
        raise ValueError(
            f"its answers is {type(given).__name__}, must be a list of texts, or of SQuAD "
            '{"text": […], "answer_start": […]}; neither fits into CSV'
        )
    for each in given:
        if not isinstance(each, str) or not each.strip():
            raise ValueError(
                f"one of its answers is {each!r}, must be text; an empty list says that there is none"
            )
    return given


def _stated(answers: list[str], starts: Any, context: str) -> list[list[int]]:
    if not isinstance(starts, list) or len(starts) != len(answers):
        raise ValueError(f"its {len(answers)} answers have answer_start {starts!r}, must be one number each")
    for each, start in zip(answers, starts, strict=True):
        there = context[start : start + len(each)] if isinstance(start, int) and start >= 0 else None
        if there != each:
            raise ValueError(
                f"its answer '{each}' does not stand at answer_start {start}, where its context has "
                f"{there!r}; count characters, not bytes"
            )
    return [_trimmed(start, each) for start, each in zip(starts, answers, strict=True)]


def _trimmed(start: int, answer: str) -> list[int]:
    """The characters of an answer without white space around it, for which there may be no token."""
    start += len(answer) - len(answer.lstrip())
    return [start, start + len(answer.strip())]


def text(example: Example) -> str:
    """The context alone: all questions about it fall on one side of a split."""
    return example["context"]


def finetuned(question: Question) -> Answer:
    return answer(question, preparing(question), ("span",))


def preparing(question: Question) -> Prepare:
    """How a model is finetuned to find spans: on each window that holds the first answer whole.

    A question without answer is trained on in all its windows. Where no training example is one, a span is
    always given.
    """
    others = question.data.held
    unanswerable = any(not example["answers"] for example in question.data.train)

    def prepare(run: Run, train: Sequence[Example]) -> Tuned:
        pad = run.corpus.vocabulary.pad
        read = {part: windows(run, each) for part, each in {"train": train, **others}.items()}
        trained = [(window, span) for window in read["train"][0] if (span := _asked(window, train))]
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
            found = predicted(learner, read[part][0], others[part], pad, unanswerable)
            references = [example["answers"] for example in others[part]]
            return pd.DataFrame({"item": range(len(found)), "prediction": found, "references": references})

        lengths = np.array([len(window.tokens) for window, _ in trained])
        return Tuned(objective, batch, lengths, predict, {part: cut for part, (_, cut) in read.items()})

    return prepare


def _asked(window: Window, examples: Sequence[Example]) -> tuple[int, int] | None:
    """The columns that training asks of a window, None where it lacks the answer."""
    spans = examples[window.item]["spans"]
    return window.columns(spans[0]) if spans else (window.nowhere, window.nowhere)


@torch.no_grad()
def predicted(
    learner: Learner, given: Sequence[Window], examples: Sequence[Example], pad: int, unanswerable: bool
) -> list[str]:
    """Each item's answer: the best span of all its windows, or "" where all say no more likely than that.

    Scores are sums of a first and a last row's logit; "" is scored by the window that says it least.
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
                none = firsts[window.nowhere] + lasts[window.nowhere]
                nothing[window.item] = min(nothing[window.item], none)
    return ["" if none > score else said for none, score, said in zip(nothing, best, texts, strict=True)]


def best_span(firsts: np.ndarray, lasts: np.ndarray) -> tuple[float, tuple[int, int]]:
    """The largest sum of a first and a last logit (C each), and where: at most LONGEST tokens, in order."""
    best, span = -np.inf, (0, 0)
    for more in range(min(LONGEST, len(firsts))):
        sums = firsts[: len(firsts) - more] + lasts[more:]
        place = int(sums.argmax())
        if sums[place] > best:
            best, span = float(sums[place]), (place, place + more)
    return best, span


QUESTION_ANSWERING = Kind(
    name="question_answering",
    required=("context", "question", "answers"),
    optional=(),
    metrics=("token_f1", "exact_match"),
    modes={"finetuned": finetuned},
    example=example,
    text=text,
    policy=POLICY,
    baselines=baselines_for_question_answering,
)
