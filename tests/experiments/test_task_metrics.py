"""Metrics of tasks against the field's libraries, and on literal rows."""

from __future__ import annotations

import math
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sacrebleu
from scipy import stats
from sklearn import metrics as sklearn_metrics

from archs.errors import UserError
from experiments.tasks.metrics import METRICS, measured, measured_within_groups
from experiments.tasks.metrics.answers import answer_words
from experiments.tasks.metrics.entities import entities

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


def paradigms() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "paradigm": ["agreement"] * 4 + ["binding"] * 2 + ["islands"] * 4,
            "correct": [1, 1, 1, 0.0, 0.5, 0.5, 1, 1, 0, 1],
        }
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
        assert METRICS[name].of(rows) == pytest.approx(
            100 * np.asarray(theirs(label, predicted))[0], abs=1e-8
        )


@pytest.mark.parametrize("name", ["pearson", "spearman"])
def test_correlations_with_a_constant_are_zero_and_with_a_missing_number_missing(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        constant = pd.DataFrame({"label": [0.0, 1.0, 2.0], "predicted": [0.1] * 3})
        assert METRICS[name].of(constant) == 0
        assert measured(METRICS[name], constant).high == 0
        assert math.isnan(METRICS[name].of(constant.assign(predicted=[0.1, np.nan, 0.3])))


@pytest.mark.parametrize("name", ["accuracy", "macro_f1", "matthews", "pearson", "spearman"])
def test_a_sample_of_items_is_measured_as_the_table_of_its_rows(name: str) -> None:
    rows = pd.DataFrame({"label": RNG.integers(0, 4, 60), "predicted": RNG.integers(0, 4, 60)})
    weights = RNG.multinomial(60, [1 / 60] * 60, size=20)
    samples = [METRICS[name].of(rows.loc[np.repeat(np.arange(60), drawn)]) for drawn in weights]
    assert METRICS[name].prepare(rows)(weights.astype(float)) == pytest.approx(samples, abs=1e-8)


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


def test_minimal_pairs_count_every_paradigm_alike_with_students_t_over_paradigms() -> None:
    found = measured(METRICS["pair_accuracy"], paradigms())
    half = stats.t.ppf(0.975, 2) * np.std([75, 50, 75], ddof=1) / math.sqrt(3)
    assert (found.value, found.items, found.how) == (pytest.approx(200 / 3), 10, "Student's t over paradigms")
    assert (found.low, found.high) == pytest.approx((200 / 3 - half, 200 / 3 + half))


def test_a_subset_of_pairs_has_the_interval_of_items_within_paradigms() -> None:
    rows = pd.concat([paradigms()] * 50)
    found = measured_within_groups(METRICS["pair_accuracy"], rows)
    errors = [np.var(part["correct"]) / len(part) for _, part in rows.groupby("paradigm")]
    spread = math.sqrt(sum(errors)) / len(errors)
    assert found.how == "bootstrap over items within paradigms"
    assert found.value == pytest.approx(200 / 3)
    assert found.high - found.low == pytest.approx(100 * 2 * 1.96 * spread, rel=0.1)


def test_pairs_of_one_paradigm_or_of_none_have_the_interval_over_items() -> None:
    rows = paradigms().query("paradigm == 'agreement'")
    for table in (rows, rows[["correct"]]):
        found = measured(METRICS["pair_accuracy"], pd.DataFrame(table))
        assert (found.value, found.items, found.how) == (75, 4, "bootstrap over items")


@pytest.mark.parametrize(("name", "rows"), [("accuracy", 2000), ("pearson", 2000), ("nats_per_byte", 2000)])
def test_the_bootstrap_agrees_with_the_normal_interval_where_there_is_one(name: str, rows: int) -> None:
    generator = np.random.default_rng(3)
    label = generator.normal(size=rows)
    table = {
        "accuracy": {"label": [1] * rows, "predicted": generator.integers(0, 2, rows)},
        "pearson": {"label": label, "predicted": label + generator.normal(size=rows)},
        "nats_per_byte": {"nats": generator.exponential(size=rows), "bytes": [1.0] * rows},
    }
    wide = {"accuracy": 50.0, "pearson": 50.0, "nats_per_byte": 1.0}[
        name
    ]  # 100 (1 - r²) is 50 where r² is 0.5
    found = measured(METRICS[name], pd.DataFrame(table[name]))
    assert found.low < found.value < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * wide / math.sqrt(rows), rel=0.1)


def test_the_same_seed_gives_the_same_interval_and_another_another() -> None:
    rows = pd.DataFrame({"label": RNG.integers(0, 2, 100), "predicted": RNG.integers(0, 2, 100)})
    first, again, other = (measured(METRICS["f1"], rows, seed) for seed in (0, 0, 1))
    assert first == again
    assert first.value == other.value
    assert (first.low, first.high) != (other.low, other.high)


def test_several_finetuning_seeds_are_a_mean_over_items_drawn_for_all_of_them() -> None:
    one = pd.DataFrame({"item": range(100), "label": [1, 0] * 50, "predicted": RNG.integers(0, 2, 100)})
    other = one.assign(predicted=1 - one["predicted"])
    seeds = pd.concat([one.assign(finetuning_seed=0), other.assign(finetuning_seed=1).iloc[::-1]])
    found = measured(METRICS["accuracy"], seeds)
    # where one is right the other errs
    assert (found.value, found.low, found.high, found.items) == (50, 50, 50, 100)
    same = pd.concat([one.assign(finetuning_seed=seed) for seed in range(3)])
    for name in ("accuracy", "matthews"):
        assert measured(METRICS[name], same).value == pytest.approx(METRICS[name].of(one))
        assert measured(METRICS[name], same).low == pytest.approx(measured(METRICS[name], one).low)


def test_finetuning_seeds_of_different_items_are_an_error() -> None:
    rows = pd.DataFrame(
        {"item": [0, 1, 0, 2], "finetuning_seed": [0, 0, 1, 1], "label": [1] * 4, "predicted": [1] * 4}
    )
    with pytest.raises(ValueError, match="not asked the same items"):
        METRICS["accuracy"].of(rows)
    with pytest.raises(ValueError, match="need the column item"):
        METRICS["accuracy"].of(rows.drop(columns="item"))


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


def test_a_thousand_samples_of_ten_thousand_items_take_seconds_at_most() -> None:
    rows = pd.DataFrame({"label": RNG.normal(size=10_000), "predicted": RNG.normal(size=10_000)})
    before = time.process_time()
    measured(METRICS["spearman"], rows)  # the slowest
    assert time.process_time() - before < 10
