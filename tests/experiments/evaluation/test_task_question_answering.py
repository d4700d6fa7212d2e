from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from toy_run import question_of, refused, run_of, score

from archs import FAMILIES
from archs.batch import Batch
from archs.errors import UserError
from archs.families.family import Family
from experiments.data.store import Corpus
from experiments.evaluation.finetuned.contexts import parts, windows
from experiments.evaluation.finetuned.question_answering import LONGEST, best_span, predicted
from experiments.evaluation.modes import MODES
from experiments.evidence.metrics import METRICS
from experiments.recipe.groups.task import TaskConfig
from experiments.recipe.recipe import Recipe
from experiments.tasks.kinds.question_answering import QUESTION_ANSWERING
from experiments.training.learner import Learner
from objectives.answer_span import AnswerSpan

Compose = Callable[..., Recipe]
TASK = TaskConfig(name="toy", kind="question_answering", path="toy")
FILLERS = ["the", "law", "of", "our", "people", "and", "their", "peace"]


def example(context: str, answers: object, question: str = "Who?") -> dict:
    return QUESTION_ANSWERING.example({"context": context, "question": question, "answers": answers}, TASK)


def test_squads_answers_stand_where_they_say_and_others_are_found_at_their_first_place() -> None:
    context = "Zürich is not Zürich."
    stated = example(context, {"text": ["Zürich", "not "], "answer_start": [14, 10]})
    assert (stated["answers"], stated["spans"]) == (["Zürich", "not "], [[14, 20], [10, 13]])
    assert example(context, ["Zürich", "Bern"])["spans"] == [[0, 6]]
    assert example(context, {"text": [], "answer_start": []})["answers"] == []
    assert example(context, [])["spans"] == []


@pytest.mark.parametrize(
    "context", ["The naïve Ōe of 東京タワー wrote “so” 👍🏽.", "plain words, said plainly"]
)
def test_columns_of_a_span_give_its_characters_back(
    context: str, compose: Compose, address_corpus: Corpus
) -> None:
    """Of every span that begins and ends with a token, and so of every word."""
    run = run_of(compose("family=encoder_ae"), address_corpus)
    (window, *more), cut = windows(run, [example(context, [])])
    assert (more, cut) == ([], 0)
    for word in context.split():
        start = context.index(word)
        columns = window.columns((start, start + len(word)))
        assert columns is not None
        assert context[window.characters(columns)].strip() == word
        ids = window.tokens[columns[0] : columns[1] + 1]
        assert run.corpus.tokenizer.decode(ids).strip() == word


@pytest.mark.parametrize("family", FAMILIES)
def test_no_answer_is_the_first_row_where_rows_see_later_ones_else_the_last(
    family: str, compose: Compose, address_corpus: Corpus
) -> None:
    run = run_of(compose(f"family={family}"), address_corpus)
    (window,), _ = windows(run, [example("the law", [], question="Who is it?")])
    words, encode = address_corpus.vocabulary, address_corpus.tokenizer.encode
    question, context = encode("Who is it?"), encode("the law")
    assert window.tokens == [words.cls, *question, words.sep, *context, words.sep]
    assert window.first == len(question) + 2
    first = family in ("encoder_ae", "prefix_lm", "permuted_lm")
    assert window.nowhere == (0 if first else len(window.tokens) - 1)


def test_windows_overlap_by_half_and_cover_the_context() -> None:
    assert list(parts(10, 4)) == [(0, 4), (2, 6), (4, 8), (6, 10)]
    assert list(parts(9, 5)) == [(0, 5), (3, 8), (6, 9)]
    assert list(parts(3, 4)) == [(0, 3)]
    assert list(parts(4, 4)) == [(0, 4)]


def test_a_long_context_is_read_in_windows_and_what_is_cut_away_is_counted(
    compose: Compose, address_corpus: Corpus
) -> None:
    run = run_of(compose(), address_corpus)
    filler = "the law of our people " * 20
    there = example(f"{filler}Lincoln {filler}", ["Lincoln"])
    too_long = example(f"{filler}.", [filler.strip()])
    long_question = example("Lincoln spoke", ["Lincoln"], question="who " * 60)
    found, cut = windows(run, [there, too_long, long_question, example(filler, [])])
    assert cut == 2
    assert max(len(window.tokens) for window in found) == 64
    held = [window.columns(there["spans"][0]) is not None for window in found if window.item == 0]
    assert 1 <= sum(held) <= 2 < len(held)
    assert not any(window.columns(too_long["spans"][0]) for window in found if window.item == 1)
    asked = next(window for window in found if window.item == 2)
    assert asked.first == (64 - 3) // 2 + 2


class Told(AnswerSpan):
    """Finds one token, and says no answer as loudly as it is told where the token is and elsewhere."""

    token, here, elsewhere = 0, 0.0, 0.0

    def answers(self, family: Family, modules: nn.ModuleDict, batch: Batch) -> Tensor:
        found = batch.tokens == self.token
        logits = 5.0 * found
        logits[:, 0] = torch.where(found.any(1), self.here, self.elsewhere)
        return logits.masked_fill(~batch.extras["choices"], -torch.inf).unsqueeze(1).expand(-1, 2, -1)


@pytest.mark.parametrize(
    ("here", "elsewhere", "unanswerable", "said"),
    [
        (2.0, 6.0, True, ["Congress", ""]),
        (6.0, 6.0, True, ["", ""]),
        (6.0, 2.0, True, ["Congress", ""]),
        (6.0, 6.0, False, ["Congress", "our"]),
    ],
)
def test_the_best_span_of_all_windows_wins_unless_each_says_no_answer_louder(
    here: float,
    elsewhere: float,
    unanswerable: bool,
    said: list[str],
    compose: Compose,
    address_corpus: Corpus,
) -> None:
    run, words = run_of(compose("family=encoder_ae"), address_corpus), address_corpus.vocabulary
    filler = "the law of our people " * 20
    examples = [example(f"{filler}Congress {filler}", ["Congress"]), example(filler, [])]
    found, _ = windows(run, examples)
    asks = Told(words, run.family.layout)
    (asks.token,) = address_corpus.tokenizer.encode(" Congress")
    asks.here, asks.elsewhere = here, elsewhere
    assert predicted(Learner(run.family, asks), found, examples, words.pad, unanswerable) == said


def test_a_span_is_in_order_and_no_longer_than_thirty_tokens() -> None:
    assert best_span(np.array([0.0, 3.0, 1.0]), np.array([9.0, 0.0, 2.0])) == (9.0, (0, 0))
    assert best_span(np.array([0.0, 3.0, 1.0]), np.array([1.0, 0.0, 2.0])) == (5.0, (1, 2))
    firsts, lasts = np.zeros(40), np.zeros(40)
    firsts[0], lasts[LONGEST - 1], lasts[LONGEST] = 9.0, 2.0, 5.0
    assert best_span(firsts, lasts) == (11.0, (0, LONGEST - 1))
    lasts[LONGEST] = 12.0
    assert best_span(firsts, lasts) == (12.0, (LONGEST, LONGEST))


def questions(count: int, seed: int) -> list[dict]:
    """Who is named? In a fifth of the texts nobody."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(count):
        words = [str(word) for word in rng.choice(FILLERS, 6)]
        name = str(rng.choice(["Jackson", "Lincoln", "Polk"]))
        answers = [] if rng.random() < 0.2 else [name]
        at = int(rng.integers(7))
        words[at:at] = answers
        found.append({"context": " ".join(words), "question": "Who?", "answers": answers})
    return found


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_learns_to_find_a_name_and_that_there_is_none(
    family: str, compose: Compose, address_corpus: Corpus
) -> None:
    run = run_of(compose(f"family={family}"), address_corpus)
    question = question_of(run, QUESTION_ANSWERING, questions(160, 0), questions(32, 1))
    answer = MODES["question_answering"]["finetuned"](question)
    assert QUESTION_ANSWERING.baselines is not None
    guesses = QUESTION_ANSWERING.baselines(question.data.train, question.data.test)
    assert max(METRICS["token_f1"].of(rows) for rows in guesses.values()) < 40
    rows = answer.outcomes[0].rows
    assert score(QUESTION_ANSWERING, answer) > 80
    assert "" in set(rows["prediction"])
    assert list(rows) == ["item", "prediction", "references", "finetuning_seed"]
    assert answer.cut == {"train": 0, "validation": 0, "test": 0}


def test_without_a_training_question_that_has_no_answer_a_span_is_always_given(
    compose: Compose, address_corpus: Corpus
) -> None:
    run = run_of(compose(), address_corpus)
    answered = [each for each in questions(60, 0) if each["answers"]]
    question = question_of(run, QUESTION_ANSWERING, answered, questions(20, 1), rate=1e-6, epochs=1)
    rows = MODES["question_answering"]["finetuned"](question).outcomes[0].rows
    assert "" not in set(rows["prediction"])
    assert any(len(each) == 0 for each in rows["references"])


def test_a_window_too_small_for_every_answer_is_told(compose: Compose, address_corpus: Corpus) -> None:
    long = "the law of our people " * 20
    row = {"context": long, "question": "Who?", "answers": [long]}
    question = question_of(run_of(compose(), address_corpus), QUESTION_ANSWERING, [row] * 4, [row])
    with pytest.raises(
        UserError, match="no training example of task 'toy' has its answer whole in a window of 64"
    ):
        MODES["question_answering"]["finetuned"](question)


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        (
            {"text": ["Bern"], "answer_start": [0]},
            "its answer 'Bern' does not stand at answer_start 0, where its context has 'Züri'; count "
            "characters, not bytes",
        ),
        ({"text": ["is"], "answer_start": [-14]}, "its answer 'is' does not stand at answer_start -14"),
        ({"text": ["is"], "answer_start": ["7"]}, "its answer 'is' does not stand at answer_start 7"),
        ({"text": ["is"], "answer_start": []}, "its 1 answers have answer_start [], must be one number each"),
        (["Bern"], "its answer 'Bern' is not in its context; leave such items out"),
        ([" "], "one of its answers is ' ', must be text; an empty list says that there is none"),
        ({"text": "is", "answer_start": 7}, "its answers is str, must be a list of texts, or of SQuAD"),
        ("is", "its answers is str, must be a list of texts, or of SQuAD"),
        (None, "its answers is NoneType, must be a list of texts, or of SQuAD"),
    ],
)
def test_wrong_answers_are_refused_in_one_line(answers: object, told: str) -> None:
    row = {"context": "Zürich is it.", "question": "Who?", "answers": answers}
    assert refused(QUESTION_ANSWERING, row).startswith(told)


@pytest.mark.parametrize("role", ["context", "question"])
def test_an_empty_text_is_refused(role: str) -> None:
    row = {"context": "Zürich.", "question": "Who?", "answers": []} | {role: " "}
    assert refused(QUESTION_ANSWERING, row) == f"its {role} is empty; leave such items out"
