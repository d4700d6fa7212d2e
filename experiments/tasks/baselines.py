"""Baselines: how well a task can be done without a neural network.

Each function takes the training examples that the models get, and the test examples, as {role: value}. It
returns {baseline: table}. A table has one row a test example, in order, and the columns that metrics read, so
baselines are judged as models are.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from archs.errors import UserError

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_matrix

Examples = Sequence[Mapping[str, Any]]


def baselines_for_classification(train: Examples, test: Examples) -> dict[str, pd.DataFrame]:
    """Baselines for examples of `text`, `label` (an integer) and, for pairs, `text_pair`.

    majority        train's most frequent label; of equally frequent ones the smallest
    tfidf_logistic  logistic regression on `_features`, at scikit-learn's defaults
    """
    from sklearn.linear_model import LogisticRegression

    labels, truth = (np.array([row["label"] for row in rows], dtype=int) for rows in (train, test))
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        raise UserError(f"all {len(labels)} training examples have label {classes.tolist()}; give two")
    of_train, of_test = _features(train, test)
    model = LogisticRegression(max_iter=1000).fit(of_train, labels)
    return {
        "majority": _judged(truth, np.full(len(truth), classes[counts.argmax()])),
        "tfidf_logistic": _judged(truth, model.predict(of_test)),
    }


def baselines_for_regression(train: Examples, test: Examples) -> dict[str, pd.DataFrame]:
    """Baselines for examples as of classification, with a number as `label`.

    mean          the mean of train's labels
    tfidf_ridge   ridge regression on `_features`, at scikit-learn's defaults
    tfidf_cosine  for pairs: the cosine of both texts' TF-IDF, 0 to 1. It is not on the scale of the labels,
                  which does not matter to correlations. Only the document frequencies come from train
    """
    from sklearn.linear_model import Ridge

    labels, truth = (np.array([row["label"] for row in rows], dtype=float) for rows in (train, test))
    of_train, of_test = _features(train, test)
    tables = {
        "mean": _judged(truth, np.full(len(truth), labels.mean())),
        "tfidf_ridge": _judged(truth, Ridge().fit(of_train, labels).predict(of_test)),
    }
    if _pairs(train, test):
        _, (first, second) = _tfidf(train, test)
        tables["tfidf_cosine"] = _judged(truth, np.asarray(first.multiply(second).sum(axis=1)).ravel())
    return tables


def baselines_for_tagging(train: Examples, test: Examples) -> dict[str, pd.DataFrame]:
    """Baselines for examples of `tokens` and `tags`, lists of strings of one length.

    all_outside        O everywhere
    most_frequent_tag  each token's most frequent tag in train, the first of equals; O for a token that train
                       lacks. An I- may then follow no B-, which entity F1 allows
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in train:
        for token, tag in zip(row["tokens"], row["tags"], strict=True):
            counts[token][tag] += 1
    known = {token: tags.most_common(1)[0][0] for token, tags in counts.items()}
    guesses = {
        "all_outside": [["O"] * len(row["tokens"]) for row in test],
        "most_frequent_tag": [[known.get(token, "O") for token in row["tokens"]] for row in test],
    }
    tags = [list(row["tags"]) for row in test]
    return {name: _table(tags=tags, predicted_tags=guess) for name, guess in guesses.items()}


def baselines_for_question_answering(train: Examples, test: Examples) -> dict[str, pd.DataFrame]:
    """Baselines for examples of `context`, `question` and `answers`, a list that is empty if there is none.

    whole_context  the whole context as the answer
    no_answer      the empty answer, which is right if there is none
    """
    references = [list(row["answers"]) for row in test]
    guesses = {"whole_context": [row["context"] for row in test], "no_answer": [""] * len(test)}
    return {name: _table(prediction=guess, references=references) for name, guess in guesses.items()}


def baselines_for_generation(train: Examples, test: Examples) -> dict[str, pd.DataFrame]:
    """Baselines for examples of `source` and `references`, a list of strings.

    copy  the source as it is
    """
    references = [list(row["references"]) for row in test]
    return {"copy": _table(prediction=[row["source"] for row in test], references=references)}


def _features(train: Examples, test: Examples) -> tuple[csr_matrix, csr_matrix]:
    """Returns the inputs of the linear models for train and for test: TF-IDF of the text, or of a pair."""
    of_train, of_test = _tfidf(train, test)
    return _joined(of_train), _joined(of_test)


def _joined(texts: list[csr_matrix]) -> csr_matrix:
    """Returns one text's features, or for a pair both texts', their |difference| and their product.

    A linear model of the two texts alone cannot see that both have a word, or that one lacks it. The product
    and the difference show this for each word.
    """
    from scipy.sparse import csr_matrix, hstack

    if len(texts) == 1:
        return texts[0]
    first, second = texts
    return csr_matrix(hstack([first, second, abs(first - second), first.multiply(second)]))


def _tfidf(train: Examples, test: Examples) -> tuple[list[csr_matrix], list[csr_matrix]]:
    """Returns the TF-IDF of train's and of test's texts: one matrix each, or two for pairs.

    Features are words and word pairs, counts are 1 + log, rows have length 1. Every word of train is a
    feature (min_df 1): the models see words that occur once too, and small tasks need them. A word is a run
    of letters and digits, even of one letter: "I" and "a" matter in tasks of grammar.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    roles = ("text", "text_pair") if _pairs(train, test) else ("text",)
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=1, sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    words.fit([row[role] for role in roles for row in train])
    of_train, of_test = (
        [words.transform([row[role] for row in rows]) for role in roles] for rows in (train, test)
    )
    return of_train, of_test


def _pairs(train: Examples, test: Examples) -> bool:
    """Whether the examples are pairs of texts. Raises UserError if only some of them are."""
    has_pair = {row.get("text_pair") is not None for row in (*train, *test)}
    if len(has_pair) > 1:
        raise UserError("some examples have a text_pair and others have none; give all of them one, or none")
    return has_pair == {True}


def _judged(label: np.ndarray, predicted: np.ndarray) -> pd.DataFrame:
    return _table(label=label, predicted=predicted)


def _table(**columns: Iterable[Any]) -> pd.DataFrame:
    import pandas as pd

    table = pd.DataFrame(columns)
    table.insert(0, "item", range(len(table)))
    return table
