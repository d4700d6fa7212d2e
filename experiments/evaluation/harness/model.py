"""A trained run as a model of lm-evaluation-harness: its three verbs, by our own scores and decoders."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import torch
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.models.utils import normalize_gen_kwargs, postprocess_generated_text
from rich.console import Console
from rich.progress import Progress

from archs.decoding.decoding import GREEDY
from archs.errors import UserError
from experiments.evaluation.harness.lengths import Window, divided, ending
from experiments.evaluation.scoring.batching import batches, tokens_at_once
from experiments.evaluation.scoring.checks import require_language_model
from experiments.evaluation.scoring.scoring import Scored, scores
from experiments.evaluation.writing import continue_text
from experiments.runs.run import Run

T = TypeVar("T")

NEW_TOKENS = 256  # of an answer, where a task does not say: what the harness's own models write
CUT, SHORTENED, DIVIDED = "contexts cut", "answers shortened", "documents divided"


class PentarchLM(LM):
    """Log-likelihoods are of the family's own unit: "nll", or "pll" by an encoder-AE (docs/harness.md).

    window: the tokens of the run's training windows. No stack is given more, so contexts that are too long
    lose their beginning. counts: how many of each task's requests were not asked as they came, by CUT,
    SHORTENED and DIVIDED. Raises UserError for a run without a language model.
    """

    def __init__(self, run: Run) -> None:
        super().__init__()
        require_language_model(run.objective)
        self.run = run
        self.window = Window(run.objective, run.recipe.size.length)
        self.counts: defaultdict[str | None, Counter[str]] = defaultdict(Counter)

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """(-nats, whether each token is the likeliest) of each (context, continuation)."""
        pairs = [self._fitting(request) for request in requests]
        return [(-each.nats, each.greedy) for each in self._scored(pairs, "log-likelihoods")]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """-nats of each whole document, summed over its parts (`lengths.divided`)."""
        parts: list[list[tuple[str, str]]] = []
        for request in requests:
            parts.append(list(divided(self.run.corpus.tokenizer, request.args[0], self.window)))
            self.counts[request.task_name][DIVIDED] += len(parts[-1]) > 1
        found = self._scored([pair for document in parts for pair in document], "documents")
        return [-sum(next(found).nats for _ in document) for document in parts]

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """What each context is continued with, greedily, up to the first of the task's stop strings."""
        tokenizer, asked = self.run.corpus.tokenizer, [self._prompt(request) for request in requests]
        shapes = [(len(prompt), length) for prompt, length, _ in asked]
        texts = [""] * len(requests)
        most = tokens_at_once(self.run.family.config.vocabulary)
        groups = list(batches(shapes, range(len(shapes)), most))
        for numbers in tracked(groups, len(groups), "answers"):
            prompts = torch.tensor([asked[number][0] for number in numbers]).long()
            written = continue_text(self.run, prompts, shapes[numbers[0]][1], GREEDY)
            for number, tokens in zip(numbers, written.tolist(), strict=True):
                texts[number] = postprocess_generated_text(tokenizer.decode(tokens), asked[number][2], None)
        return texts

    def told(self) -> Iterator[str]:
        """One line of what the log-likelihoods are, and one of each count that is not zero."""
        unit = self.run.family.unit
        yield f"log-likelihoods are of unit '{unit}'; no two units may be compared (docs/harness.md)"
        for what in (CUT, SHORTENED, DIVIDED):
            by_task = {task: counts[what] for task, counts in self.counts.items() if counts[what]}
            if by_task:
                listed = ", ".join(f"{task} {number:,}" for task, number in by_task.items())
                yield f"{what} to fit windows of {self.window.tokens:,} tokens: {listed}"

    def _fitting(self, request: Instance) -> tuple[str, str]:
        """The context and continuation asked for; the context is cut from the left if both do not fit."""
        context, text = spaced(*request.args)
        length = len(self.run.corpus.tokenizer.encode(text))
        room = self.window.room(max(1, length))  # `scores` refuses what has no token
        if room < 0:
            raise UserError(
                f"task '{request.task_name}', document {request.doc_id}: a continuation of {length:,} tokens "
                f"does not fit windows of {self.window.tokens:,}, which the run was trained on; leave the "
                "task out, or train with a larger size.length"
            )
        return self._cut(context, room, request), text

    def _cut(self, context: str, room: int, request: Instance) -> str:
        end = ending(self.run.corpus.tokenizer, context, room)
        self.counts[request.task_name][CUT] += end != context
        return end

    def _scored(self, pairs: Sequence[tuple[str, str]], name: str) -> Iterator[Scored]:
        try:
            yield from tracked(scores(self.run, pairs), len(pairs), name)
        except UserError as error:  # it names a text by its number
            raise UserError(f"among the harness's requests for {name}, {error}") from error

    def _prompt(self, request: Instance) -> tuple[list[int], int, list[str]]:
        """A request's prompt, how many tokens to write, and the strings that end them."""
        length, stops = wanted(request.arguments[1], request)
        most = self.window.tokens // 2
        self.counts[request.task_name][SHORTENED] += length > most
        length = min(length, most)
        context = self._cut(request.args[0], self.window.room(length), request)
        return self.run.corpus.tokenizer.encode(context), length, stops


def spaced(context: str, text: str) -> tuple[str, str]:
    """The pair, with the space that ends the context at the text's beginning, as the harness has it."""
    kept = context.rstrip()
    return kept, context[len(kept) :] + text


def wanted(how: dict[str, Any], request: Instance) -> tuple[int, list[str]]:
    """How many tokens a task's generation_kwargs ask for, and until which strings.

    Raises UserError for what is not greedy, and for keys that nothing here reads.
    """
    given: dict[str, Any] = {**normalize_gen_kwargs(how, NEW_TOKENS)}
    length, stops = given.pop("max_gen_toks"), given.pop("until")
    if given.pop("do_sample") or given.pop("temperature", 0.0):
        raise UserError(
            f"task '{request.task_name}' asks for samples; answers are written greedily: leave it out"
        )
    # Of one beam, and no sample, these choose nothing.
    rest = {key: value for key, value in given.items() if key not in ("top_p", "top_k")}
    if rest.pop("num_beams", 1) != 1 or rest:
        raise UserError(
            f"task '{request.task_name}' asks in generation_kwargs for {', '.join(rest) or 'num_beams'}; "
            "only until and max_gen_toks are read: leave it out"
        )
    return length, stops


def tracked(work: Iterator[T] | Sequence[T], total: int, name: str) -> Iterator[T]:
    """The work, with a bar on a terminal's stderr."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        yield from bar.track(work, total=total, description=name)
