from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_run import question_of, refused, run_of, score

from archs import FAMILIES
from archs.families.prefix_lm import PrefixLM
from archs.families.single_stack import SingleStack
from experiments.data.store import Corpus
from experiments.evaluation.finetuned.tagging import labels_of
from experiments.evaluation.modes import MODES
from experiments.evaluation.words import UNREAD, encoded_words, word_rows
from experiments.evidence.metrics import METRICS
from experiments.recipe.groups.task import TaskConfig
from experiments.recipe.recipe import Recipe
from experiments.tasks.kinds.tagging import TAGGING
from experiments.tasks.rows import load
from objectives.tagged import Tagged

Compose = Callable[..., Recipe]
LABELS = ["O", "B-PER", "I-PER"]
FILLERS = ["the", "law", "of", "our", "people", "and", "their", "peace"]
FIRST, LAST = [1, 3, 4], [2, 3, 6]  # rows of words of 2, 1 and 3 pieces behind [cls]
READ_AT = {
    "encoder_ae": FIRST,
    "decoder_ar": LAST,
    "encoder_decoder": FIRST,
    "prefix_lm": FIRST,
    "permuted_lm": FIRST,
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_word_is_read_at_its_first_piece_and_by_a_causal_family_at_its_last(
    family: str, compose: Compose, address_corpus: Corpus
) -> None:
    made = run_of(compose(f"family={family}"), address_corpus).family
    assert word_rows(made, [2, 1, 3], room=62) == READ_AT[family]
    assert word_rows(made, [2, 1, 3], room=5) == [*READ_AT[family][:2], UNREAD]
    assert word_rows(made, [2, 4, 1], room=5) == [READ_AT[family][0], UNREAD, UNREAD]
    assert word_rows(made, [0, 1], room=5) == [UNREAD, 1]


def test_a_causal_family_that_reads_in_both_directions_reads_a_word_at_its_first_piece(
    compose: Compose, address_corpus: Corpus
) -> None:
    made = run_of(compose(), address_corpus).family
    assert isinstance(made, SingleStack)
    assert word_rows(PrefixLM.of(made), [2, 1, 3], room=62) == FIRST


@pytest.mark.parametrize("family", FAMILIES)
def test_the_row_of_a_word_depends_on_the_word(family: str, compose: Compose, address_corpus: Corpus) -> None:
    """Its first piece alone is changed, then its last: a causal family's first row would miss that."""
    run = run_of(compose(f"family={family}"), address_corpus)
    words = encoded_words(run, [["the", "antidisestablishment", "law"]])
    row, length = words.rows[0][1], len(run.corpus.tokenizer.encode(" antidisestablishment"))
    assert length > 2
    asks = Tagged(run.corpus.vocabulary, run.family.layout, classes=3)
    for place in (2, 2 + length - 1):  # [cls], " the", and then its first piece
        states = []
        for token in (words.tokens[0][place], 300):
            tokens, segments, rows = words.batch([0], run.corpus.vocabulary.pad)
            tokens[0, place] = token
            batch = asks.read(tokens, segments, rows, torch.zeros_like(rows))
            states.append(run.family.hidden(batch).rows[0, row])
        assert not torch.allclose(*states)


def test_every_word_is_spelled_with_a_space_before_it(compose: Compose, address_corpus: Corpus) -> None:
    run = run_of(compose(), address_corpus)
    vocabulary, tokenizer = address_corpus.vocabulary, address_corpus.tokenizer
    words = encoded_words(run, [["The", "law", ",", "naïve"], ["Peace"]])
    assert tokenizer.decode(words.tokens[0]) == " The law , naïve"
    assert (words.tokens[0][0], words.tokens[0][-1]) == (vocabulary.cls, vocabulary.sep)
    assert words.tokens[1][1:-1] == tokenizer.encode(" Peace")
    tokens, segments, rows = words.batch([1, 0], vocabulary.pad)
    assert tokens.shape == segments.shape == (2, len(words.tokens[0]))
    assert rows[0].tolist() == [len(tokenizer.encode(" Peace")), -1, -1, -1]


def sentences(count: int, seed: int) -> list[dict[str, list[str]]]:
    """Whether a name is a person's or a place's, the word before it says."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(count):
        words = [str(word) for word in rng.choice(FILLERS, 4)]
        mark, name = str(rng.choice(["President", "near"])), str(rng.choice(["Jackson", "Lincoln", "Polk"]))
        at = int(rng.integers(5))
        tags = ["O"] * 4
        words[at:at], tags[at:at] = [mark, name], ["O", "B-PER" if mark == "President" else "B-LOC"]
        found.append({"tokens": words, "tags": tags})
    return found


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_learns_what_a_word_is_by_the_word_before_it(
    family: str, compose: Compose, address_corpus: Corpus
) -> None:
    run = run_of(compose(f"family={family}"), address_corpus)
    question = question_of(run, TAGGING, sentences(160, 0), sentences(32, 1))
    answer = MODES["tagging"]["finetuned"](question)
    assert TAGGING.baselines is not None
    guesses = TAGGING.baselines(question.data.train, question.data.test)
    assert max(METRICS["entity_f1"].of(rows) for rows in guesses.values()) < 60
    assert score(TAGGING, answer) > 85
    assert list(answer.outcomes[0].rows) == ["item", "tags", "predicted_tags", "finetuning_seed"]
    assert answer.cut == {"train": 0, "validation": 0, "test": 0}


def test_words_beyond_the_window_are_outside_and_their_item_is_counted(
    compose: Compose, address_corpus: Corpus
) -> None:
    run = run_of(compose(), address_corpus)
    long = {"tokens": ["Lincoln"] * 80, "tags": ["B-PER"] * 80}
    short = {"tokens": ["Lincoln"], "tags": ["B-PER"]}
    question = question_of(run, TAGGING, [long, short] * 8, [short, long], epochs=3)
    answer = MODES["tagging"]["finetuned"](question)
    predicted = answer.outcomes[0].rows["predicted_tags"].tolist()
    assert answer.cut == {"train": 8, "validation": 1, "test": 1}
    assert [len(each) for each in predicted] == [1, 80]
    pieces = len(address_corpus.tokenizer.encode(" Lincoln"))
    assert predicted[1] == ["B-PER"] * (62 // pieces) + ["O"] * (80 - 62 // pieces)


def test_labels_are_the_tasks_or_else_the_tags_of_all_training_examples(
    compose: Compose, address_corpus: Corpus
) -> None:
    question = question_of(run_of(compose(), address_corpus), TAGGING, sentences(9, 0), sentences(1, 1))
    assert labels_of(question) == ["B-LOC", "B-PER", "O"]
    task = question.task.model_copy(update={"labels": LABELS})
    assert labels_of(replace(question, ask=question.ask.model_copy(update={"task": task}))) == LABELS


def test_tags_are_names_or_numbers_of_the_labels() -> None:
    task = TaskConfig(name="toy", kind="tagging", path="toy", labels=LABELS)
    given = TAGGING.example({"tokens": ["Abraham", "Lincoln", "spoke"], "tags": [1, "I-PER", 0]}, task)
    assert given == {"tokens": ["Abraham", "Lincoln", "spoke"], "tags": ["B-PER", "I-PER", "O"]}
    assert TAGGING.text(given) == "Abraham Lincoln spoke"


@pytest.mark.parametrize(
    ("tokens", "tags", "told"),
    [
        (["a", "b"], ["O"], "it has 2 tokens and 1 tags; give one tag a token"),
        ([], [], "its tokens is an empty list; leave such items out"),
        (["a", " "], ["O", "O"], "word 2 of its tokens is ' ', must be text that is not empty"),
        (["a", None], ["O", "O"], "word 2 of its tokens is None, must be text that is not empty"),
        ("a b", "O O", "its tokens is str, must be a list; give .jsonl or .parquet, for CSV holds no lists"),
        (["a"], ["PER"], "tag 1 is 'PER', must be BIO: O, B-TYPE or I-TYPE"),
        (["a"], ["B-"], "tag 1 is 'B-', must be BIO: O, B-TYPE or I-TYPE"),
        (["a"], [True], "tag 1 is True, must be BIO: O, B-TYPE or I-TYPE"),
        (["a"], [3], "tag 1 is 3, must be from 0 to 2; set task.labels=[…]"),
        (["a"], ["B-PRE"], "tag 1 is 'B-PRE', must be one of: B-PER, I-PER, O; set task.labels=[…]"),
    ],
)
def test_a_wrong_item_is_refused_in_one_line(tokens: object, tags: object, told: str) -> None:
    assert refused(TAGGING, {"tokens": tokens, "tags": tags}, labels=LABELS) == told


def test_numbers_need_labels_and_labels_are_bio() -> None:
    row = {"tokens": ["a"], "tags": [0]}
    assert refused(TAGGING, row) == "tag 1 is 0, must be a name; set task.labels=[…]"
    assert (
        refused(TAGGING, row, labels=["O", "PER"])
        == "task.labels has 'PER', must be BIO: O, B-TYPE or I-TYPE"
    )


def test_a_wrong_item_is_told_with_its_file_and_row(tmp_path) -> None:
    (tmp_path / "test.jsonl").write_text('{"tokens": ["a"], "tags": ["O"]}\n{"tokens": ["a"], "tags": []}\n')
    task = TaskConfig(name="mine", kind="tagging", path=str(tmp_path))
    told = f"task 'mine', '{tmp_path}', test, row 2: it has 1 tokens and 0 tags; give one tag a token"
    with pytest.raises(ValueError, match="row 2") as error:
        load(task, TAGGING, training=False)
    assert str(error.value) == told
