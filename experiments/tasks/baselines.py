"""How far one gets on a task without a network, in the rows that a model's predictions have.

Each function takes the training examples that the models get, and the test examples, as dictionaries by role,
and gives one table a baseline: one row a test example, in their order, with the columns that metrics read.
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
    """Examples of `text`, `label` (an integer) and, where the task is of pairs, `text_pair`.

    majority        train's most frequent label; of equally frequent ones the smallest
    tfidf_logistic  `_features`, logistic regression at scikit-learn's defaults
    """
    from sklearn.linear_model import LogisticRegression

    labels, truth = (np.array([one["label"] for one in examples], dtype=int) for examples in (train, test))
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        raise UserError(f"all {len(labels)} training examples have label {classes.tolist()}; give two")
    seen, asked = _features(train, test)
    model = LogisticRegression(max_iter=1000).fit(seen, labels)
    return {
        "majority": _judged(truth, np.full(len(truth), classes[counts.argmax()])),
        "tfidf_logistic": _judged(truth, model.predict(asked)),
    }


def baselines_for_regression(train: Examples, test: Examples) -> dict[str, pd.DataFrame]:
    """Examples as of classification, `label` a number.

    mean          of train's labels
    tfidf_ridge   `_features`, ridge regression at scikit-learn's defaults
    tfidf_cosine  of pairs alone: the cosine of both texts' TF-IDF, 0 to 1, whatever the scale of the labels,
                  which correlations do not see; train gives it the frequencies of words
    """
    from sklearn.linear_model import Ridge

    labels, truth = (np.array([one["label"] for one in examples], dtype=float) for examples in (train, test))
    seen, asked = _features(train, test)
    found = {
        "mean": _judged(truth, np.full(len(truth), labels.mean())),
        "tfidf_ridge": _judged(truth, Ridge().fit(seen, labels).predict(asked)),
    }
    if _pairs(train, test):
        _, (first, second) = _tfidf(train, test)
        found["tfidf_cosine"] = _judged(truth, np.asarray(first.multiply(second).sum(axis=1)).ravel())
    return found


def baselines_for_tagging(train: Examples, test: Examples) -> dict[str, pd.DataFrame]:
    """Examples of `tokens` and `tags`, lists of strings of one length.

    all_outside        O everywhere
    most_frequent_tag  each token's most frequent tag in train, the one met first where several are; O for
                       a token that train lacks. Its I- may follow no B-: entity F1 reads them leniently
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for one in train:
        for token, tag in zip(one["tokens"], one["tags"], strict=True):
            counts[token][tag] += 1
    known = {token: tags.most_common(1)[0][0] for token, tags in counts.items()}
    guesses = {
        "all_outside": [["O"] * len(one["tokens"]) for one in test],
        "most_frequent_tag": [[known.get(token, "O") for token in one["tokens"]] for one in test],
    }
    tags = [list(one["tags"]) for one in test]
    return {name: _table(tags=tags, predicted_tags=guess) for name, guess in guesses.items()}


def baselines_for_question_answering(train: Examples, test: Examples) -> dict[str, pd.DataFrame]:
    """Examples of `context`, `question` and `answers`, a list of strings, empty where there is no answer.

    whole_context  the context is the answer
    no_answer      the empty answer, right where there is none
    """
    references = [list(one["answers"]) for one in test]
    guesses = {"whole_context": [one["context"] for one in test], "no_answer": [""] * len(test)}
    return {name: _table(prediction=guess, references=references) for name, guess in guesses.items()}


def baselines_for_generation(train: Examples, test: Examples) -> dict[str, pd.DataFrame]:
    """Examples of `source` and `references`, a list of strings: copy, the source as it is."""
    references = [list(one["references"]) for one in test]
    return {"copy": _table(prediction=[one["source"] for one in test], references=references)}


def _features(train: Examples, test: Examples) -> tuple[csr_matrix, csr_matrix]:
    """What a linear model sees of train's and of test's examples: TF-IDF of the text, of pairs `_joined`."""
    seen, asked = _tfidf(train, test)
    return _joined(seen), _joined(asked)


def _joined(texts: list[csr_matrix]) -> csr_matrix:
    """Of pairs the first, the second, their |difference| and their product, side by side.

    A linear model of both texts apart adds what each says alone: it cannot see that they have a word in
    common or that one lacks it. The product and the difference say so, word by word.
    """
    from scipy.sparse import csr_matrix, hstack

    if len(texts) == 1:
        return texts[0]
    first, second = texts
    return csr_matrix(hstack([first, second, abs(first - second), first.multiply(second)]))


def _tfidf(train: Examples, test: Examples) -> tuple[list[csr_matrix], list[csr_matrix]]:
    """TF-IDF of train's and of test's texts: each one matrix, or two where examples are pairs.

    Words and word pairs, counts as 1 + log, rows of length 1. Every word of train is a feature (min_df 1):
    what is seen once is seen by the models too, and a task of few examples is measured as one of many. A
    word is a run of letters and digits, of one letter too: "I" and "a" are of use where grammar is asked.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    roles = ("text", "text_pair") if _pairs(train, test) else ("text",)
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=1, sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    words.fit([one[role] for role in roles for one in train])
    seen, asked = (
        [words.transform([one[role] for one in examples]) for role in roles] for examples in (train, test)
    )
    return seen, asked


def _pairs(train: Examples, test: Examples) -> bool:
    """Whether the task is of pairs: all examples have a second text, or none has."""
    found = {one.get("text_pair") is not None for one in (*train, *test)}
    if len(found) > 1:
        raise UserError("some examples have a text_pair and others have none; give all of them one, or none")
    return found == {True}


def _judged(label: np.ndarray, predicted: np.ndarray) -> pd.DataFrame:
    return _table(label=label, predicted=predicted)


def _table(**columns: Iterable[Any]) -> pd.DataFrame:
    import pandas as pd

    table = pd.DataFrame(columns)
    table.insert(0, "item", range(len(table)))
    return table
