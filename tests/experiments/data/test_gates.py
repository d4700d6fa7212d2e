from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from experiments.data.gates import gates, unigram_kl
from experiments.data.store import Corpus
from experiments.data.trigram import Trigram
from experiments.data.windows import held_out

LN2 = math.log(2)


def test_kl_of_a_text_to_itself_is_nothing() -> None:
    tokens = np.random.default_rng(0).zipf(1.3, 200_000) % 500
    assert abs(unigram_kl(tokens, tokens, 500)) < 1e-4


def test_kl_of_two_coins_is_the_textbook_s() -> None:
    train = np.array([0] * 500_000 + [1] * 500_000)
    validation = np.array([0] * 3 + [1])
    assert unigram_kl(train, validation, 2) == pytest.approx(
        0.75 * math.log(1.5) + 0.25 * math.log(0.5), abs=1e-5
    )


def test_kl_is_finite_for_a_token_that_train_lacks() -> None:
    assert unigram_kl(np.zeros(99, int), np.array([1]), 2) == pytest.approx(math.log(100 / 0.5))


def test_a_sample_of_the_same_source_shows_no_more_than_the_stated_noise() -> None:
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.full(300, 0.5))
    train, validation = rng.choice(300, 400_000, p=shares), rng.choice(300, 3_000, p=shares)
    assert unigram_kl(train, validation, 300) < 2 * 299 / (2 * 3_000)


@pytest.mark.parametrize("text", [[0, 1, 2, 0, 1, 3, 0, 1, 2, 4, 4], [0, 1] * 5, list(range(6)) * 7 + [2, 1]])
def test_the_trigram_s_probabilities_sum_to_one_in_every_context(text: list[int]) -> None:
    size = 7  # piece 6 never occurs
    trigram = Trigram.fit(np.array(text), size)
    every = np.arange(size)[:, None]
    contexts = [[], *([a] for a in range(size)), *([a, b] for a in range(size) for b in range(size))]
    for context in contexts:
        rows = np.tile(np.array(context, dtype=np.int64), (size, 1))
        probabilities = np.exp(-trigram.nats(rows, every))
        assert probabilities.sum() == pytest.approx(1)
        assert probabilities.min() > 0


def test_the_trigram_agrees_with_the_formula_written_as_loops() -> None:
    rng = np.random.default_rng(1)
    text = rng.choice(6, 400, p=[0.4, 0.3, 0.15, 0.1, 0.04, 0.01])
    trigram = Trigram.fit(text, 6)
    triples: dict[tuple[int, ...], int] = {}
    for start in range(len(text) - 2):
        gram = tuple(int(token) for token in text[start : start + 3])
        triples[gram] = triples.get(gram, 0) + 1
    pairs = {pair: sum(gram[1:] == pair for gram in triples) for pair in {gram[1:] for gram in triples}}
    singles = {one: sum(pair[1:] == one for pair in pairs) for one in {pair[1:] for pair in pairs}}

    def discount(counts: dict, count: int) -> float:
        n = {value: max(sum(found == value for found in counts.values()), 1) for value in (1, 2, 3, 4)}
        ratio, order = n[1] / (n[1] + 2 * n[2]), min(count, 3)
        return min(max(order - (order + 1) * ratio * n[order + 1] / n[order], 0.1), order)

    def probability(gram: tuple[int, ...]) -> float:
        counts = {3: triples, 2: pairs, 1: singles}.get(len(gram))
        if counts is None:
            return 1 / 6
        same = {found: count for found, count in counts.items() if found[:-1] == gram[:-1]}
        shorter = probability(gram[1:])
        if not same:
            return shorter
        total, freed = sum(same.values()), sum(discount(counts, count) for count in same.values())
        direct = counts[gram] - discount(counts, counts[gram]) if gram in counts else 0.0
        return direct / total + freed / total * shorter

    for gram in np.ndindex(6, 6, 6):
        found = trigram.nats(np.array([gram[:2]]), np.array([gram[2:]]))
        assert math.exp(-found[0, 0]) == pytest.approx(probability(gram))


def test_the_trigram_reads_no_more_than_two_tokens_back_and_none_ahead() -> None:
    rng = np.random.default_rng(0)
    trigram = Trigram.fit(rng.integers(0, 9, 3000), 9)
    rows = rng.integers(0, 9, (5, 12))
    whole = trigram.nats(rows[:, :0], rows)
    assert np.array_equal(trigram.nats(rows[:, :7], rows[:, 7:]), whole[:, 7:])
    changed = rows.copy()
    changed[:, 8] = (changed[:, 8] + 1) % 9
    differs = (trigram.nats(changed[:, :0], changed) != whole).any(axis=0)
    assert np.flatnonzero(differs).tolist() == [8, 9, 10]


def test_the_trigram_beats_the_unigram_on_the_addresses(address_corpus: Corpus) -> None:
    size, train = address_corpus.vocabulary.size, address_corpus.train.tokens
    rows = held_out(address_corpus.validation, 256, 128).tokens.numpy()
    trigram = Trigram.fit(train, size)
    nats = trigram.nats(rows[:, :0], rows)
    shares = (np.bincount(train, minlength=size) + 0.5) / (len(train) + size / 2)
    unigram = -np.log(shares[rows])
    assert nats.mean() < 0.75 * unigram.mean()
    assert unigram.mean() < math.log(size)


def test_the_gates_of_the_addresses_are_in_bits_of_their_own_bytes(address_corpus: Corpus) -> None:
    windows = held_out(address_corpus.validation, 64, 128).tokens
    found = gates(address_corpus, windows, context=28)
    asked = windows[:, 28:]
    text_bytes = sum(len(address_corpus.tokenizer.backend.decode(row)) for row in asked.tolist())
    assert found.tokens == 64 * 100
    assert found.bytes == pytest.approx(text_bytes, rel=0.01)  # characters; a few are two bytes
    assert found.uniform_bits_per_byte == pytest.approx(math.log2(4096) * found.tokens / found.bytes)
    assert found.trigram_bits_per_byte == pytest.approx(found.trigram / LN2 * found.tokens / found.bytes)
    assert 1.0 < found.trigram_bits_per_byte < 1.6 < found.uniform_bits_per_byte
    assert not any("WARNING" in verdict for verdict in found.verdicts)
    assert len(found.verdicts) == 3


def test_a_validation_text_of_another_domain_is_told(address_corpus: Corpus) -> None:
    from dataclasses import replace

    part = address_corpus.validation
    backwards = (part.tokens.astype(np.int64) * 7 + 3) % 4096  # other pieces of the same vocabulary
    other = replace(address_corpus, validation=replace(part, tokens=backwards))
    found = gates(other, torch.from_numpy(backwards[: 20 * 64].reshape(20, 64)))
    assert "WARNING: another domain" in found.verdicts[0]
    assert "WARNING: no better than guessing" in found.verdicts[1]
