"""The probe of sentence order: the same items for all, states as they are, and no help from anywhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from archs import FAMILIES, CoreConfig, Family
from archs import build as build_family
from archs.batch import Batch
from archs.errors import UserError
from archs.families.encoder_ae import EncoderAE
from archs.families.family import Hidden
from experiments.data.store import Corpus
from experiments.data.windows import held_out
from experiments.evaluation.builtin import order
from experiments.evaluation.builtin.probe import embedded, fit, pooled
from experiments.recipe.recipe import Recipe
from experiments.runs.folder import RunFolder
from experiments.runs.run import Run
from objectives.examples import VOCABULARY, windows
from objectives.layouts import read

Compose = Callable[..., Recipe]
WIDTH = 64
CLS, SEP = 4, 5


def tiny(name: str, vocabulary: int = 100, **options: float) -> Family:
    torch.manual_seed(0)
    layers = 1 if name == "encoder_decoder" else None
    shape = CoreConfig(vocabulary, 2, 32, 2, 64, 200, decoder_layers=layers, **options)  # type: ignore[arg-type]
    return build_family(name, shape)


def run_of(recipe: Recipe, corpus: Corpus, family: Family, tmp_path: Path) -> Run:
    return Run(RunFolder(tmp_path), recipe, family, order.objective(corpus.vocabulary), corpus)


def test_a_swapped_pair_is_the_window_with_its_second_part_first(address_corpus: Corpus) -> None:
    vocabulary = address_corpus.vocabulary
    raw = held_out(address_corpus.test, 200, WIDTH).tokens
    pairs = order.pairs(address_corpus, "test", 200, WIDTH)
    assert pairs.tokens.shape == (len(raw), WIDTH + 3)
    assert set(pairs.labels.tolist()) == {0, 1}
    for row, label, window in zip(pairs.tokens.tolist(), pairs.labels, raw.tolist(), strict=True):
        between = row.index(vocabulary.sep)
        first, second = row[1:between], row[between + 1 : -1]
        assert (row[0], row[-1]) == (vocabulary.cls, vocabulary.sep)
        assert (second + first if label else first + second) == window
        assert WIDTH // 4 <= len(first) <= WIDTH - WIDTH // 4


def test_pairs_of_literal_rows_are_those_of_the_objective() -> None:
    asks = order.objective(VOCABULARY)
    found = [asks.pairs(windows([[40, 41]]), torch.Generator().manual_seed(seed)) for seed in range(8)]
    rows = {int(labels): (each.tokens.tolist(), types.tolist()) for each, types, labels in found}
    assert rows == {
        0: ([[CLS, 40, SEP, 41, SEP]], [[0, 0, 0, 1, 1]]),
        1: ([[CLS, 41, SEP, 40, SEP]], [[0, 0, 0, 1, 1]]),
    }


@pytest.mark.slow
def test_every_arm_and_seed_is_asked_the_same_pairs(
    compose: Compose, address_corpus: Corpus, tmp_path: Path
) -> None:
    few = ["evaluation.finetune.examples=40", "size.length=16"]
    tables = []
    for seed, name in enumerate(FAMILIES):
        family = tiny(name, address_corpus.vocabulary.size)
        recipe = compose(f"family={name}", f"seed={seed}", *few)
        torch.manual_seed(seed)
        tables.append(order.probe(run_of(recipe, address_corpus, family, tmp_path))[0])
    for table in tables:
        assert table[["item", "document", "label"]].equals(tables[0][["item", "document", "label"]])
        for pooling in ("mean", "first"):
            right = table.label == table[f"predicted_{pooling}"]
            assert (table[f"correct_{pooling}"] == right.astype(int)).all()


def test_the_splits_are_cut_and_swapped_by_unrelated_luck(address_corpus: Corpus) -> None:
    labels = [
        order.pairs(address_corpus, name, 300, WIDTH).labels for name in ("train", "validation", "test")
    ]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert 0.35 < (labels[one] == labels[other]).mean() < 0.65


class Planted(EncoderAE):
    """Its states say of a row whether the token behind [cls] has a larger id than the last before [sep]."""

    def hidden(self, batch: Batch) -> Hidden:
        found = super().hidden(batch)
        rows = torch.zeros_like(found.rows)
        rows[:, :, 0] = torch.where(batch.tokens[:, 1] > batch.tokens[:, -2], 1.0, -1.0)[:, None]
        return replace(found, rows=rows)


def test_a_probe_finds_an_order_that_the_states_hold_and_none_in_the_embeddings() -> None:
    asks = order.objective(VOCABULARY)
    rows = torch.arange(40, 56).repeat(600, 1) + torch.arange(600)[:, None] % 40  # each window counts upwards
    found, types, labels = asks.pairs(windows(rows.tolist()), torch.Generator().manual_seed(0))
    family, truth = Planted(tiny("encoder_ae").config), labels.numpy()

    def right(states: np.ndarray) -> float:
        learned, chosen, asked = states[:300], states[300:400], states[400:]
        return float(
            (fit(learned, chosen, asked, truth[:300], truth[300:400]).predicted == truth[400:]).mean()
        )

    for states in pooled(family, VOCABULARY, found.tokens, types).values():
        assert right(states) == 1
    assert 0.35 < right(embedded(family, VOCABULARY, found.tokens)) < 0.65


@pytest.mark.parametrize("name", FAMILIES)
def test_states_are_those_of_eval_mode_and_the_weights_stay(name: str) -> None:
    family = tiny(name, dropout=0.5).train()
    before = {key: value.clone() for key, value in family.state_dict().items()}
    tokens = torch.randint(36, 100, (5, 9), generator=torch.Generator().manual_seed(1))
    types = torch.zeros_like(tokens)
    twice = [pooled(family, VOCABULARY, tokens, types) for _ in range(2)]
    still = pooled(family.eval(), VOCABULARY, tokens, types)
    for pooling, states in still.items():
        assert np.array_equal(twice[0][pooling], twice[1][pooling])
        assert np.array_equal(twice[0][pooling], states)
    assert all(torch.equal(value, before[key]) for key, value in family.state_dict().items())


def test_asking_in_training_mode_leaves_training_mode_on() -> None:
    family = tiny("encoder_ae").train()
    pooled(family, VOCABULARY, torch.full((1, 3), 40), torch.zeros(1, 3).long())
    assert family.training


OWN = {"encoder_ae": 0, "prefix_lm": 0, "permuted_lm": 0, "decoder_ar": -1, "encoder_decoder": -1}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_own_token_has_read_the_whole_pair(name: str) -> None:
    """[cls] of families whose rows see later ones, the last row of others; the mean leaves specials out."""
    family = tiny(name)
    tokens = torch.tensor([[CLS, 40, 41, SEP, 42, 43, SEP]])
    types = torch.tensor([[0, 0, 0, 0, 1, 1, 1]])
    whole = pooled(family, VOCABULARY, tokens, types)
    with torch.no_grad():
        rows = family.hidden(read(family.layout, tokens, None, VOCABULARY)).rows
    assert np.array_equal(whole["first"], rows[:, OWN[name]].numpy())
    text = [2, 3, 5, 6] if name == "encoder_decoder" else [1, 2, 4, 5]  # a decoder reads one token later
    assert whole["mean"] == pytest.approx(rows[:, text].mean(1).numpy(), abs=1e-6)
    for column in (1, 4):
        changed = tokens.clone()
        changed[0, column] = 60
        assert not np.allclose(pooled(family, VOCABULARY, changed, types)["first"], whole["first"])


def test_token_types_reach_a_family_that_has_them() -> None:
    family = tiny("encoder_ae", token_types=2)
    tokens = torch.tensor([[CLS, 40, SEP, 41, SEP]])
    one, two = (
        pooled(family, VOCABULARY, tokens, torch.tensor([types])) for types in ([0] * 5, [0, 0, 0, 1, 1])
    )
    assert not np.allclose(one["first"], two["first"])


def test_a_tokenizer_without_cls_and_sep_is_told_in_one_line() -> None:
    with pytest.raises(UserError, match=r"lacks; add them, or set evaluation\.order=false") as told:
        order.objective(replace(VOCABULARY, cls=None, sep=None))
    assert "needs the special tokens cls, sep," in str(told.value)
    assert "\n" not in str(told.value)


def test_a_text_that_gives_pairs_of_one_label_is_told_in_one_line(
    compose: Compose, address_corpus: Corpus, tmp_path: Path
) -> None:
    recipe = compose("family=encoder_ae", "evaluation.finetune.examples=1", "size.length=16")
    family = tiny("encoder_ae", address_corpus.vocabulary.size)
    with pytest.raises(UserError, match="1 training pairs, all of one label"):
        order.probe(run_of(recipe, address_corpus, family, tmp_path))
