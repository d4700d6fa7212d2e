"""A trained run as a model of lm-evaluation-harness: its three verbs, with our scores and decoders."""

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

NEW_TOKENS = 256  # of an answer, if a task sets no limit: the default of the harness's own models
CUT, SHORTENED, DIVIDED = "contexts cut", "answers shortened", "documents divided"


class PentarchLM(LM):
    """A run as the harness calls it.

    Log-likelihoods have the family's own unit: "nll", or "pll" of an encoder-AE (docs/harness.md).

    window: the run's training windows. No stack reads more tokens, so contexts that are too long lose their
    beginning. counts: by task, how many requests were changed to fit: CUT, SHORTENED or DIVIDED. Raises
    UserError for a run without a language model.
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
        scored = self._scored([pair for document in parts for pair in document], "documents")
        return [-sum(next(scored).nats for _ in document) for document in parts]

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """The greedy continuation of each context, up to the first of the task's stop strings."""
        tokenizer, prompted = self.run.corpus.tokenizer, [self._prompt(request) for request in requests]
        shapes = [(len(prompt), length) for prompt, length, _ in prompted]
        texts = [""] * len(requests)
        most = tokens_at_once(self.run.family.config.vocabulary)
        groups = list(batches(shapes, range(len(shapes)), most))
        for numbers in tracked(groups, len(groups), "answers"):
            prompts = torch.tensor([prompted[number][0] for number in numbers]).long()
            written = continue_text(self.run, prompts, shapes[numbers[0]][1], GREEDY)
            for number, tokens in zip(numbers, written.tolist(), strict=True):
                texts[number] = postprocess_generated_text(
                    tokenizer.decode(tokens), prompted[number][2], None
                )
        return texts

    def told(self) -> Iterator[str]:
        """Lines to print: the unit of the log-likelihoods, and each count that is not zero."""
        unit = self.run.family.unit
        yield f"log-likelihoods are of unit '{unit}'; no two units may be compared (docs/harness.md)"
        for change in (CUT, SHORTENED, DIVIDED):
            by_task = {task: counts[change] for task, counts in self.counts.items() if counts[change]}
            if by_task:
                listed = ", ".join(f"{task} {number:,}" for task, number in by_task.items())
                yield f"{change} to fit windows of {self.window.tokens:,} tokens: {listed}"

    def _fitting(self, request: Instance) -> tuple[str, str]:
        """The request's context and continuation; the context is cut from the left if both do not fit."""
        context, text = spaced(*request.args)
        length = len(self.run.corpus.tokenizer.encode(text))
        room = self.window.room(max(1, length))  # `scores` refuses a text without tokens
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
        except UserError as error:  # the error names a text by its number
            raise UserError(f"among the harness's requests for {name}, {error}") from error

    def _prompt(self, request: Instance) -> tuple[list[int], int, list[str]]:
        """A request's prompt, how many tokens to write, and the strings that end the answer."""
        length, stops = wanted(request.arguments[1], request)
        most = self.window.tokens // 2
        self.counts[request.task_name][SHORTENED] += length > most
        length = min(length, most)
        context = self._cut(request.args[0], self.window.room(length), request)
        return self.run.corpus.tokenizer.encode(context), length, stops


def spaced(context: str, text: str) -> tuple[str, str]:
    """Moves the space at the context's end to the text's beginning, as the harness does."""
    kept = context.rstrip()
    return kept, context[len(kept) :] + text


def wanted(kwargs: dict[str, Any], request: Instance) -> tuple[int, list[str]]:
    """How many tokens a task's generation_kwargs ask for, and the strings that end them.

    Raises UserError for decoding that is not greedy, and for keys that are not supported.
    """
    options: dict[str, Any] = {**normalize_gen_kwargs(kwargs, NEW_TOKENS)}
    length, stops = options.pop("max_gen_toks"), options.pop("until")
    if options.pop("do_sample") or options.pop("temperature", 0.0):
        raise UserError(
            f"task '{request.task_name}' asks for samples; answers are written greedily: leave it out"
        )
    # These have no effect on greedy decoding.
    rest = {key: value for key, value in options.items() if key not in ("top_p", "top_k")}
    if rest.pop("num_beams", 1) != 1 or rest:
        raise UserError(
            f"task '{request.task_name}' asks in generation_kwargs for {', '.join(rest) or 'num_beams'}; "
            "only until and max_gen_toks are read: leave it out"
        )
    return length, stops


def tracked(work: Iterator[T] | Sequence[T], total: int, name: str) -> Iterator[T]:
    """Iterates over the work, with a progress bar on stderr if that is a terminal."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        yield from bar.track(work, total=total, description=name)
