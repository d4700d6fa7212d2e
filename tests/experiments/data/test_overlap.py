"""How much of the tasks the training text holds: counted by hand on small texts, and on the real one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments.data import overlap
from experiments.data.overlap import Overlap, count, overlaps
from experiments.data.store import Corpus, Tokens
from experiments.data.windows import held_out

TRAIN = "One two three four five six seven eight nine ten eleven twelve thirteen, fourteen."
SAME = "TWO three four five six - seven eight nine ten (eleven) twelve thirteen fourteen!"


def test_overlap_of_literal_texts() -> None:
    """The second item has three grams of which one is in the text, the third one that is not."""
    items = [SAME, f"{SAME} and more", "zero " * 13, "one two"]
    assert count([TRAIN], {"task": items}) == {"task": Overlap(2 / 3, 2 / 5, measured=3, short=1)}


def test_a_gram_does_not_cross_from_one_document_into_the_next() -> None:
    words = TRAIN.split()
    halves = [" ".join(words[:7]), " ".join(words[7:])]
    assert count(halves, {"task": [TRAIN]})["task"] == Overlap(0.0, 0.0, measured=1, short=0)
    assert count([" ".join(halves)], {"task": [TRAIN]})["task"].grams == 1


def test_the_order_of_words_matters() -> None:
    backwards = " ".join(reversed(SAME.split()))
    assert count([TRAIN], {"task": [backwards]})["task"].items == 0


def test_items_that_are_all_too_short_have_no_shares() -> None:
    found = count([TRAIN], {"task": ["one two", ""]})["task"]
    assert found == Overlap(None, None, measured=0, short=2)
    assert str(found) == "none of 2 items is long enough"


def test_a_text_overlaps_itself_wholly_and_a_text_of_other_words_not_at_all() -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(f"{letter}{number}" for number in rng.integers(0, 50, 400)) for letter in "ab"]
    found = count([texts[0]], {"itself": [texts[0]], "other": [texts[1]]})
    assert found["itself"] == Overlap(1.0, 1.0, measured=1, short=0)
    assert found["other"] == Overlap(0.0, 0.0, measured=1, short=0)


def test_hashes_find_what_sets_of_words_find() -> None:
    """Few different words, so that many grams differ in one of them or in their order alone."""
    rng = np.random.default_rng(1)

    def text(words: int) -> str:
        return " ".join(rng.choice(["a", "b"], words))

    def grams(text: str) -> list[tuple[str, ...]]:
        words = text.split()
        return [tuple(words[start : start + 13]) for start in range(len(words) - 12)]

    train, items = [text(900) for _ in range(5)], [text(40) for _ in range(30)]
    known = {gram for document in train for gram in grams(document)}
    seen = [[gram in known for gram in grams(item)] for item in items]
    found = count(train, {"task": items})["task"]
    assert found.items == np.mean([any(row) for row in seen])
    assert found.grams == np.mean([each for row in seen for each in row])
    assert 0.2 < found.grams < 0.8


@pytest.fixture
def few(address_corpus: Corpus) -> Corpus:
    """The first three training addresses."""
    part = address_corpus.train
    kept = Tokens(part.tokens[: part.offsets[3]], part.offsets[:4], 0)
    return replace(address_corpus, train=kept, digest="few")


def test_the_training_text_is_counted_as_the_tokenizer_gives_it_back(few: Corpus, tmp_path: Path) -> None:
    documents = list(overlap._documents(few))
    windows = [few.tokenizer.decode(row) for row in held_out(few.test, 20, 64).tokens.tolist()]
    found = overlaps(few, {"train": documents, "test": windows}, tmp_path)
    assert found["train"] == Overlap(1.0, 1.0, measured=3, short=0)
    assert found["test"].grams is not None
    assert found["test"].grams < 0.05


def test_what_was_counted_is_kept_by_corpus_and_items(
    few: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = overlaps(few, {"one": [SAME], "two": [TRAIN]}, tmp_path)
    assert len(list((tmp_path / "overlap").iterdir())) == 2
    counted = []

    def counting(documents: object, tasks: dict[str, list[str]]) -> dict[str, Overlap]:
        counted.append(sorted(tasks))
        return dict.fromkeys(tasks, Overlap(None, None, 0, 0))

    monkeypatch.setattr(overlap, "count", counting)
    assert overlaps(few, {"two": [TRAIN], "one": [SAME]}, tmp_path) == {
        "two": first["two"],
        "one": first["one"],
    }
    assert counted == []
    overlaps(few, {"one": [SAME], "two": [SAME, TRAIN]}, tmp_path)
    overlaps(replace(few, digest="other"), {"one": [SAME]}, tmp_path)
    assert counted == [["two"], ["one"]]
