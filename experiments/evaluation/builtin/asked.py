"""The texts of the test items of a run's built-in tasks, to measure their overlap with the training text."""

from __future__ import annotations

from experiments.data.windows import held_out
from experiments.evaluation.builtin import order
from experiments.runs.run import Run
from experiments.tasks.builtin import infill, party

INFILL_TEST = 200  # gaps


def texts_by_task(run: Run) -> dict[str, list[str]]:
    """The test items of each measured task, as text: windows, paragraphs, gaps with both their sides.

    The same for every arm of a sweep, although an encoder-AE is scored on fewer windows and the task order
    reads its windows cut.
    """
    settings, corpus, length = run.recipe.evaluation, run.corpus, run.recipe.size.length
    decode, texts = corpus.tokenizer.decode, {}

    def windows(n: int) -> list[str]:
        return [decode(row) for row in held_out(corpus.test, n, length).tokens.tolist()]

    if run.objective.language_model:
        texts["likelihood"] = windows(settings.likelihood_windows)
    if settings.party:
        texts["party"] = [example.text for example in party.load().test]
    if settings.infill or settings.target:
        test = infill.examples(corpus.test, corpus.vocabulary, corpus.tokenizer, INFILL_TEST, seed=0)
        sides = zip(test.left.tolist(), test.gaps(), test.right.tolist(), strict=True)
        stretches = [decode([*left, *gap, *right]) for left, gap, right in sides]
        texts |= {name: stretches for name in ("infill", "target") if getattr(settings, name)}
    if settings.order:
        texts["order"] = windows(order.TEST)
    return texts
