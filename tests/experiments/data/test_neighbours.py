"""Similar tokens from the text itself: those that keep the same company."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from text_sources import source
from torch import Tensor

from experiments.data.neighbours import COUNT, neighbours
from experiments.data.store import Corpus, load_corpus

ANIMALS, METALS = ("cat", "dog", "fox", "hen"), ("iron", "gold", "zinc", "lead")


def sentence(chance: random.Random) -> str:
    if chance.random() < 0.5:
        return f"the {chance.choice(ANIMALS)} {chance.choice(('ran', 'sat', 'ate'))} near home"
    return f"some {chance.choice(METALS)} {chance.choice(('melts', 'bends', 'rusts'))} when heated"


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Corpus]:
    place, chance = tmp_path_factory.mktemp("company"), random.Random(0)
    paragraphs = ["\n".join(sentence(chance) for _ in range(30)) for _ in range(60)]
    (place / "text.txt").write_text("\n\n".join(paragraphs))
    corpus = load_corpus(source("text", str(place / "text.txt")), vocabulary_size=400, cache=place)
    return place, corpus


@pytest.fixture(scope="module")
def table(text: tuple[Path, Corpus]) -> Tensor:
    return neighbours(text[1], text[0])


def piece(corpus: Corpus, word: str) -> int:
    (token,) = corpus.tokenizer.encode(f" {word}")
    return token


def test_words_of_one_kind_are_the_nearest_of_each_other(text: tuple[Path, Corpus], table: Tensor) -> None:
    for kind in (ANIMALS, METALS):
        ids = {piece(text[1], word) for word in kind}
        for token in ids:
            assert set(table[token, :3].tolist()) == ids - {token}


def test_special_and_rare_tokens_have_none_and_are_none(text: tuple[Path, Corpus], table: Tensor) -> None:
    vocabulary = text[1].vocabulary
    assert table.shape == (vocabulary.size, COUNT)
    assert (table[vocabulary.special] == -1).all()
    counts = torch.bincount(torch.from_numpy(text[1].train.tokens.astype("int64")), minlength=vocabulary.size)
    assert (table[counts < 5] == -1).all()
    found = table[table >= 0]
    assert not vocabulary.special[found].any()
    assert (counts[found] >= 5).all()


def test_a_piece_that_begins_a_word_has_neighbours_that_do(text: tuple[Path, Corpus], table: Tensor) -> None:
    starts = text[1].vocabulary.word_starts
    for token, row in enumerate(table):
        assert (starts[row[row >= 0]] == starts[token]).all()


def test_the_same_text_gives_the_same_table_and_the_second_time_it_is_read(
    text: tuple[Path, Corpus], table: Tensor, tmp_path: Path
) -> None:
    assert torch.equal(neighbours(text[1], tmp_path), table)
    (file,) = (tmp_path / "neighbours").glob("*/neighbours.npy")
    written = file.stat().st_mtime_ns
    assert torch.equal(neighbours(text[1], tmp_path), table)
    assert file.stat().st_mtime_ns == written
