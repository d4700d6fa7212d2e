"""What baselines of tasks say on rows small enough to know it beforehand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from archs.errors import UserError
from experiments.evidence.metrics import METRICS, measured
from experiments.tasks.baselines import (
    baselines_for_classification,
    baselines_for_generation,
    baselines_for_question_answering,
    baselines_for_regression,
    baselines_for_tagging,
)

WORDS = ("river", "stone", "cloud", "ember", "maple", "raven", "harbor", "willow", "meadow", "copper")


def scored(table: pd.DataFrame, metric: str) -> float:
    return measured(METRICS[metric], table, resamples=20).value


def test_the_majority_is_trains_and_words_tell_the_rest() -> None:
    train = [{"text": "good film", "label": 5}] * 3 + [{"text": "bad film", "label": 2}] * 2
    test = [
        {"text": "good", "label": 5},
        {"text": "bad thing", "label": 2},
        {"text": "a bad", "label": 2},
    ]
    found = baselines_for_classification(train, test)
    assert found["majority"]["predicted"].tolist() == [5, 5, 5]
    assert found["tfidf_logistic"]["predicted"].tolist() == [5, 2, 2]
    assert found["tfidf_logistic"].columns.tolist() == ["item", "label", "predicted"]
    assert scored(found["majority"], "accuracy") == pytest.approx(100 / 3)
    assert scored(found["tfidf_logistic"], "accuracy") == 100


def test_equally_frequent_labels_give_the_smallest() -> None:
    train = [{"text": "one", "label": 3}, {"text": "two", "label": 1}]
    assert baselines_for_classification(train, train)["majority"]["predicted"].tolist() == [1, 1]


def same_or_not(count: int, seed: int) -> list[dict[str, object]]:
    """Pairs of words, the label whether they are the same: neither text alone says anything."""
    generator = np.random.default_rng(seed)
    examples = []
    for _ in range(count):
        first, other = generator.choice(WORDS, 2, replace=False)
        same = int(generator.integers(2))
        examples.append({"text": first, "text_pair": first if same else other, "label": same})
    return examples


def test_a_linear_model_sees_whether_two_texts_are_the_same() -> None:
    found = baselines_for_classification(same_or_not(300, 0), same_or_not(100, 1))
    assert scored(found["tfidf_logistic"], "accuracy") == 100
    assert scored(found["majority"], "accuracy") < 65


def test_regression_of_pairs_has_mean_ridge_and_cosine() -> None:
    test = [
        {"text": "river stone", "text_pair": "river stone", "label": 5.0},
        {"text": "river", "text_pair": "cloud", "label": 0.0},
        {"text": "maple raven", "text_pair": "maple willow", "label": 2.0},
    ]
    train = [{**one, "label": 4.0 * float(str(one["label"])) + 1} for one in same_or_not(300, 0)]
    found = baselines_for_regression(train, test)
    assert list(found) == ["mean", "tfidf_ridge", "tfidf_cosine"]
    assert set(found["mean"]["predicted"]) == {np.mean([float(str(one["label"])) for one in train])}
    assert scored(found["mean"], "pearson") == 0
    assert found["tfidf_cosine"]["predicted"].tolist()[:2] == pytest.approx([1, 0])
    assert 0 < found["tfidf_cosine"]["predicted"].tolist()[2] < 1
    assert scored(found["tfidf_cosine"], "spearman") == pytest.approx(100)
    assert scored(found["tfidf_ridge"], "spearman") == pytest.approx(100)


def test_regression_of_single_texts_has_no_cosine() -> None:
    train = [{"text": "good", "label": 1.0}, {"text": "bad", "label": 0.0}]
    found = baselines_for_regression(train, train)
    assert list(found) == ["mean", "tfidf_ridge"]
    assert found["mean"]["predicted"].tolist() == [0.5, 0.5]
    assert np.diff(found["tfidf_ridge"]["predicted"]) < -0.2


def test_a_tokens_most_frequent_tag_and_outside_where_it_was_not_seen() -> None:
    train = [
        {"tokens": ["New", "York", "is", "New"], "tags": ["B-LOC", "I-LOC", "O", "O"]},
        {"tokens": ["New", "York"], "tags": ["B-LOC", "I-LOC"]},
    ]
    test = [{"tokens": ["Old", "York"], "tags": ["B-LOC", "I-LOC"]}, {"tokens": ["New"], "tags": ["B-LOC"]}]
    found = baselines_for_tagging(train, test)
    assert found["most_frequent_tag"]["predicted_tags"].tolist() == [["O", "I-LOC"], ["B-LOC"]]
    assert found["all_outside"]["predicted_tags"].tolist() == [["O", "O"], ["O"]]
    assert scored(found["most_frequent_tag"], "entity_f1") == 50
    assert scored(found["all_outside"], "entity_f1") == 0


def test_the_whole_context_and_no_answer_answer_questions() -> None:
    test = [
        {"context": "Bees hum at noon.", "question": "Who hums?", "answers": ["Bees", "bees hum"]},
        {"context": "It rained.", "question": "Who hums?", "answers": []},
    ]
    found = baselines_for_question_answering([], test)
    assert scored(found["no_answer"], "exact_match") == 50
    assert scored(found["whole_context"], "exact_match") == 0
    assert scored(found["whole_context"], "token_f1") == pytest.approx(100 * (2 * 2 / 6) / 2)


def test_generation_copies_the_source() -> None:
    test = [{"source": "a b", "references": ["a b", "c"]}, {"source": "d", "references": ["e"]}]
    found = baselines_for_generation([], test)
    assert list(found) == ["copy"]
    assert scored(found["copy"], "exact_text") == 50


def test_examples_that_no_baseline_can_be_fitted_on_are_refused() -> None:
    with pytest.raises(UserError, match=r"all 2 training examples have label \[1\]"):
        baselines_for_classification([{"text": "a", "label": 1}] * 2, [])
    mixed = [{"text": "a", "label": 1}, {"text": "a", "text_pair": "b", "label": 0}]
    with pytest.raises(UserError, match="some examples have a text_pair and others have none"):
        baselines_for_classification(mixed, mixed)
