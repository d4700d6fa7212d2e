"""Shipped selections and replacements go by name in a recipe, with their options."""

import pytest
import torch

from archs.errors import UserError
from experiments.recipe.build import build
from experiments.recipe.compose import compose_recipe
from objectives.base import Vocabulary, Windows


def vocabulary() -> Vocabulary:
    special = torch.arange(64) < 8
    return Vocabulary(64, ~special, special, 0, 1, 2, mask=3, cls=4, sep=5, sentinels=(6, 7))


@pytest.mark.slow
@pytest.mark.parametrize(
    "chosen",
    [
        "select=ngrams",
        "select={name: ngrams, shares: [0.5, 0.5]}",
        "select={name: ngrams, shares: [1, 0]}",
        "select={name: whole_word_spans, p: 0.3, longest: 5}",
        "select={name: poisson_spans, mean: 3.5}",
        "select=static",
        "select={name: static, of: whole_word, copies: 10}",
        "select={name: static, of: ngrams, shares: [0.5, 0.5]}",
        "replace=keep",
        "replace={name: bert, masked: 1.0, random: 0.0}",
        "replace={name: static, of: bert, masked: 0.5}",
    ],
)
def test_a_shipped_part_is_built_by_name_and_hides_some_tokens(chosen: str):
    recipe = compose_recipe(["family=encoder_ae", "objective=mlm", f"objective.options.{chosen}"])
    rng = torch.Generator().manual_seed(0)
    text = Windows(torch.randint(8, 64, (3, 20), generator=rng))
    batch = build(recipe).objective(vocabulary(), "in_place").build(text, rng)
    assert 0 < batch.supervised < 60


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ("select=ngram", ["choose one of: ngrams"]),
        ("select={name: ngrams, shares: 0.5}", ["option 'shares' of select 'ngrams'", "0.5"]),
        ("select={name: static, of: 3}", ["option 'of' of select 'static'", "3"]),
        ("select={name: static, rate: 0.3}", ["objective.options.rate"]),
        ("replace={name: bert, mask: 0.3}", ["unknown option of replace 'bert' 'mask'", "masked"]),
        ("replace={name: bert, masked: most}", ["option 'masked' of replace 'bert'", "'most'"]),
        ("replace=none", ["unknown objective.options.replace 'none'", "keep"]),
    ],
)
def test_a_part_or_option_that_is_not_there_is_one_line(chosen: str, words: list[str]):
    recipe = compose_recipe(["family=encoder_ae", f"objective.options.{chosen}"])
    with pytest.raises(UserError) as caught:
        build(recipe)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_similar_tokens_of_one_s_own_table_go_by_import_path(tmp_path, monkeypatch):
    (tmp_path / "macbert_table.py").write_text(
        "from functools import partial\n"
        "import torch\n"
        "from objectives.replace_similar import nearest, similar\n\n"
        "near = partial(similar, neighbours=nearest(torch.eye(64, 8), count=2))\n"
    )
    monkeypatch.chdir(tmp_path)
    chosen = "objective.options.replace=macbert_table.near"
    recipe = compose_recipe(["family=encoder_ae", "objective=mlm", chosen, "objective.options.rate=1.0"])
    text = Windows(torch.full((2, 500), 20))
    batch = build(recipe).objective(vocabulary(), "in_place").build(text, torch.Generator().manual_seed(0))
    assert batch.supervised == 1000
    assert 0.05 < (batch.tokens == 20).float().mean() < 0.2
