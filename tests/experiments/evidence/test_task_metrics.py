"""Metrics of tasks against the field's libraries, and on literal rows."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sacrebleu
from scipy import stats
from sklearn import metrics as sklearn_metrics

from archs.errors import UserError
from experiments.evidence.metrics import METRICS, measured
from experiments.evidence.metrics.answers import answer_words
from experiments.evidence.metrics.entities import entities

RNG = np.random.default_rng(7)
TEXTS = [
    "the cat sat on the mat .",
    "a dog barked at the cat",
    "two birds sang",
    "nobody was there at all today",
]
ALLOWED = [
    ["the cat sat on the mat.", "a cat was sitting on a mat"],
    ["a dog barked at a cat"],
    ["two birds were singing", "birds sang", "two birds sing"],
    ["somebody was there today"],
]


def classified(label: list[int], predicted: list[int]) -> pd.DataFrame:
    return pd.DataFrame({"label": label, "predicted": predicted})


def generated() -> pd.DataFrame:
    return pd.DataFrame({"prediction": TEXTS, "references": ALLOWED})


def answered(prediction: str, *references: str) -> pd.DataFrame:
    return pd.DataFrame({"prediction": [prediction], "references": [list(references)]})


def tagged(tags: list[str], predicted: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {"tags": [one.split() for one in tags], "predicted_tags": [p.split() for p in predicted]}
    )


def test_metrics_have_the_names_that_recipes_spell() -> None:
    assert set(METRICS) == {
        *("accuracy", "f1", "macro_f1", "matthews", "pearson", "spearman", "entity_f1", "exact_match"),
        *("token_f1", "exact_text", "bleu", "chrf", "rouge1", "rouge2", "rougeL", "pair_accuracy"),
        *("cloze_accuracy", "word_perplexity", "nats_per_byte", "bits_per_byte"),
    }
    assert {metric.better for metric in METRICS.values()} == {"higher", "lower"}


def test_metrics_of_classes_are_those_of_literal_rows() -> None:
    rows = classified([1, 1, 1, 0, 0, 0, 0, 0], [1, 1, 0, 1, 0, 0, 0, 0])
    assert METRICS["accuracy"].of(rows) == 75
    assert METRICS["f1"].of(rows) == pytest.approx(100 * 2 / 3)
    assert METRICS["macro_f1"].of(rows) == pytest.approx(100 * (2 / 3 + 4 / 5) / 2)
    assert METRICS["matthews"].of(rows) == pytest.approx(100 * 7 / 15)


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_metrics_of_classes_equal_scikit_learns(classes: int) -> None:
    label = RNG.integers(0, classes, 200)
    predicted = np.where(RNG.random(200) < 0.5, label, RNG.integers(0, classes + (classes > 2), 200))
    rows = pd.DataFrame({"label": label, "predicted": predicted})
    expected = {
        "accuracy": sklearn_metrics.accuracy_score(label, predicted),
        "macro_f1": sklearn_metrics.f1_score(label, predicted, average="macro"),
        "matthews": sklearn_metrics.matthews_corrcoef(label, predicted),
    }
    if classes == 2:
        expected["f1"] = sklearn_metrics.f1_score(label, predicted)
    for name, value in expected.items():
        assert METRICS[name].of(rows) == pytest.approx(100 * float(value), abs=1e-9), name


def test_classes_that_are_never_predicted_give_zero_and_no_warning() -> None:
    rows = classified([1, 0, 0, 1], [0, 0, 0, 0])
    assert METRICS["f1"].of(rows) == 0
    assert METRICS["matthews"].of(rows) == 0
    assert METRICS["f1"].of(classified([0, 0], [0, 0])) == 0
    assert METRICS["macro_f1"].of(rows) == pytest.approx(100 * (0 + 2 / 3) / 2)


def test_f1_of_three_classes_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"classes 0 and 1, these rows have \[0, 1, 2\]; choose macro_f1"):
        METRICS["f1"].of(classified([0, 1, 2], [0, 1, 1]))


def test_correlations_equal_scipys_with_ties_and_far_from_zero() -> None:
    label = RNG.integers(0, 6, 150) / 2
    predicted = 1e4 + label + RNG.normal(size=150).round(1)
    rows = pd.DataFrame({"label": label, "predicted": predicted})
    for name, theirs in (("pearson", stats.pearsonr), ("spearman", stats.spearmanr)):
        expected = 100 * np.asarray(theirs(label, predicted))[0]
        assert METRICS[name].of(rows) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("name", ["pearson", "spearman"])
def test_correlations_with_a_constant_are_zero_and_with_a_missing_number_missing(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        constant = pd.DataFrame({"label": [0.0, 1.0, 2.0], "predicted": [0.1] * 3})
        assert METRICS[name].of(constant) == 0
        assert measured(METRICS[name], constant).high == 0
        assert math.isnan(METRICS[name].of(constant.assign(predicted=[0.1, np.nan, 0.3])))


def test_entities_are_read_leniently() -> None:
    assert entities(["B-PER", "I-PER", "O", "B-LOC"]) == {("PER", 0, 2), ("LOC", 3, 4)}
    assert entities(["I-PER", "I-PER", "O"]) == {("PER", 0, 2)}  # no B- before
    assert entities(["B-PER", "I-LOC", "I-LOC"]) == {("PER", 0, 1), ("LOC", 1, 3)}  # another type
    assert entities(["B-PER", "B-PER", "I-PER"]) == {("PER", 0, 1), ("PER", 1, 3)}
    assert entities(["B-part-of", "I-part-of"]) == {("part-of", 0, 2)}
    assert entities([]) == set()


def test_entity_f1_of_literal_rows() -> None:
    rows = tagged(["B-PER I-PER O B-LOC", "O B-ORG"], ["B-PER I-PER O B-ORG", "I-ORG B-ORG"])
    assert METRICS["entity_f1"].of(rows) == pytest.approx(100 * 2 * 2 / (3 + 4))
    assert METRICS["entity_f1"].of(tagged(["O O"], ["O O"])) == 0


def test_entity_f1_equals_seqevals_with_malformed_tags() -> None:
    seqeval = pytest.importorskip("seqeval.metrics")
    names = np.array(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"])
    tags = [names[RNG.integers(0, 5, length)].tolist() for length in RNG.integers(1, 9, 200)]
    predicted = [[tag if RNG.random() < 0.8 else str(RNG.choice(names)) for tag in one] for one in tags]
    rows = pd.DataFrame({"tags": tags, "predicted_tags": predicted})
    assert METRICS["entity_f1"].of(rows) == pytest.approx(100 * seqeval.f1_score(tags, predicted))


def test_other_tags_than_bio_are_refused() -> None:
    with pytest.raises(UserError, match="entity tag 'E-PER'; BIO tags are O, B-TYPE and I-TYPE"):
        METRICS["entity_f1"].of(tagged(["B-PER E-PER"], ["O O"]))
    with pytest.raises(ValueError, match="a sentence of 2 tags has 1 predicted"):
        METRICS["entity_f1"].of(tagged(["O O"], ["O"]))


def test_answers_are_compared_without_case_punctuation_and_articles() -> None:
    assert answer_words(" The Cat's  'hat', a theory; an ant ") == ["cats", "hat", "theory", "ant"]
    assert answer_words("well-known U.S.") == ["wellknown", "us"]


@pytest.mark.parametrize(
    ("prediction", "references", "exact", "f1"),
    [
        ("the Eiffel Tower!", ["Eiffel Tower"], 100, 100),
        ("Eiffel Tower in Paris", ["Paris", "the Eiffel Tower"], 0, 200 / 3),
        ("to to be", ["to be to to"], 0, 600 / 7),
        ("London", ["Paris"], 0, 0),
        ("", [], 100, 100),
        ("the", [], 100, 100),
        ("Paris", [], 0, 0),
        ("", ["Paris"], 0, 0),
        ("Paris", ["", "Paris"], 100, 100),
        ("", ["", "Paris"], 0, 0),  # an empty reference beside another one is no reference
    ],
)
def test_answers_are_scored_by_squads_rules(
    prediction: str, references: list[str], exact: float, f1: float
) -> None:
    rows = answered(prediction, *references)
    assert METRICS["exact_match"].of(rows) == exact
    assert METRICS["token_f1"].of(rows) == pytest.approx(f1)


def test_answers_are_scored_as_torchmetrics_scores_squad() -> None:
    from torchmetrics.functional.text import squad

    rows = pd.DataFrame(
        {
            "prediction": ["The 1990s", "in Paris, France", "a  dog", "x", "forty-two"],
            "references": [["1990s", "nineties"], ["Paris"], ["the dog!", "cat"], ["y z"], ["forty two"]],
        }
    )
    predictions = [{"prediction_text": text, "id": str(i)} for i, text in enumerate(rows["prediction"])]
    targets = [
        {"answers": {"answer_start": [0] * len(allowed), "text": allowed}, "id": str(i)}
        for i, allowed in enumerate(rows["references"])
    ]
    scores = squad(predictions, targets)
    assert METRICS["exact_match"].of(rows) == pytest.approx(float(scores["exact_match"]))
    assert METRICS["token_f1"].of(rows) == pytest.approx(float(scores["f1"]), abs=1e-4)


def test_bleu_and_chrf_equal_sacrebleus_with_references_of_varying_number() -> None:
    streams = [[one[place] if place < len(one) else None for one in ALLOWED] for place in range(3)]
    bleu = sacrebleu.corpus_bleu(TEXTS, streams).score  # type: ignore[arg-type]
    chrf = sacrebleu.corpus_chrf(TEXTS, streams).score  # type: ignore[arg-type]
    assert 10 < bleu < 90
    assert METRICS["bleu"].of(generated()) == pytest.approx(bleu)
    assert METRICS["chrf"].of(generated()) == pytest.approx(chrf)


def test_bleu_without_any_four_words_in_common_is_smoothed_as_sacrebleu_smooths() -> None:
    rows = pd.DataFrame({"prediction": ["a b c x e f g"], "references": [["a b c d e f g"]]})
    expected = sacrebleu.corpus_bleu(["a b c x e f g"], [["a b c d e f g"]]).score
    assert METRICS["bleu"].of(rows) == pytest.approx(expected)
    assert expected > 10


@pytest.mark.parametrize("name", ["bleu", "chrf"])
def test_no_word_in_common_and_no_word_at_all_give_zero(name: str) -> None:
    rows = pd.DataFrame({"prediction": ["xyz", ""], "references": [["a b c d"], ["e f"]]})
    assert METRICS[name].of(rows) == 0


def test_rouge_is_the_best_of_the_references_without_stemming() -> None:
    rows = pd.DataFrame(
        {"prediction": ["the cats sat", "b a"], "references": [["nothing", "the cat sat"], ["a b"]]}
    )
    assert METRICS["rouge1"].of(rows) == pytest.approx(100 * (2 / 3 + 1) / 2)
    assert METRICS["rouge2"].of(rows) == 0
    assert METRICS["rougeL"].of(rows) == pytest.approx(100 * (2 / 3 + 1 / 2) / 2)


def test_rouge_of_a_script_that_it_cannot_read_is_refused() -> None:
    rows = pd.DataFrame({"prediction": ["猫"], "references": [["猫"]]})
    with pytest.raises(UserError, match="'rougeL' reads only letters a to z and digits"):
        METRICS["rougeL"].of(rows)


def test_exact_text_forgives_white_space_at_the_ends_alone() -> None:
    rows = pd.DataFrame(
        {"prediction": [" a b\n", "a b.", "A b"], "references": [["x", "a b"], ["a b"], ["a b"]]}
    )
    assert METRICS["exact_text"].of(rows) == pytest.approx(100 / 3)


def test_a_text_without_reference_is_refused() -> None:
    with pytest.raises(UserError, match="give each item at least one"):
        METRICS["bleu"].of(answered("a"))


def test_likelihoods_are_summed_before_they_are_divided() -> None:
    rows = pd.DataFrame({"nats": [1.0, 8.0], "bytes": [1, 2], "correct": [1.0, 0.5]})
    assert METRICS["nats_per_byte"].of(rows) == 3
    assert METRICS["bits_per_byte"].of(rows) == pytest.approx(3 / math.log(2))
    assert METRICS["cloze_accuracy"].of(rows) == 75


def test_a_metric_of_another_kind_of_task_says_which_columns_it_reads() -> None:
    with pytest.raises(
        UserError, match=r"'matthews' reads the columns label, predicted, .* have no label, predicted"
    ):
        METRICS["matthews"].of(generated())
    with pytest.raises(UserError, match="of no rows"):
        METRICS["accuracy"].of(classified([], []))


def test_lists_read_back_from_parquet_give_the_same_numbers(tmp_path: Path) -> None:
    tags = tagged(["B-PER I-PER O"], ["B-PER O O"])
    for name, rows in (("bleu", generated()), ("token_f1", generated()), ("entity_f1", tags)):
        rows.to_parquet(tmp_path / "rows.parquet")
        assert METRICS[name].of(pd.read_parquet(tmp_path / "rows.parquet")) == METRICS[name].of(rows)
    with pytest.raises(TypeError, match="a list of strings is needed, not the string 'a b'"):
        METRICS["chrf"].of(pd.DataFrame({"prediction": ["a"], "references": ["a b"]}))
