"""Nats of a removed middle: the chain rule's, of the same tokens, for every family."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from archs import FAMILIES, CoreConfig, Family
from archs import build as build_family
from archs.batch import Batch
from archs.errors import UserError
from archs.families.encoder_decoder import EncoderDecoder
from archs.families.permuted_lm import PermutedLM
from archs.families.prefix_lm import PrefixLM
from archs.families.single_stack import SingleStack
from experiments.data.store import Corpus
from experiments.evaluation.builtin.fill import finetuned, pairs, with_gap
from experiments.evaluation.builtin.target import target, writer
from experiments.recipe.recipe import Recipe
from experiments.runs.folder import RunFolder
from experiments.runs.run import Run
from experiments.tasks.builtin import infill
from objectives.conditional import Conditional
from objectives.examples import VOCABULARY

Compose = Callable[..., Recipe]
SINGLE = [name for name in FAMILIES if name != "encoder_decoder"]


def tiny(name: str, vocabulary: int = 100) -> Family:
    torch.manual_seed(0)
    layers = 1 if name == "encoder_decoder" else None
    return build_family(name, CoreConfig(vocabulary, 2, 32, 2, 64, 200, decoder_layers=layers)).eval()


def gaps(corpus: Corpus, n: int) -> tuple[infill.Infill, infill.Infill]:
    reads = corpus.vocabulary, corpus.tokenizer
    return infill.examples(corpus.train, *reads, n, 0), infill.examples(corpus.test, *reads, n, 0)


def run_of(recipe: Recipe, corpus: Corpus, family: Family, tmp_path: Path) -> Run:
    asks = Conditional(corpus.vocabulary, family.layout)
    return Run(RunFolder(tmp_path), recipe, family, asks, corpus)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_nats_are_the_sum_of_teacher_forced_steps(
    name: str, compose: Compose, address_corpus: Corpus, tmp_path: Path
) -> None:
    """Each gap alone, without padding, one token after the other."""
    family, vocabulary = tiny(name, address_corpus.vocabulary.size), address_corpus.vocabulary
    before = {key: value.clone() for key, value in family.state_dict().items()}
    run = run_of(compose(f"family={name}"), address_corpus, family, tmp_path)
    train, test = gaps(address_corpus, 6)
    table = target(run, train, test)
    assert all(torch.equal(value, before[key]) for key, value in family.state_dict().items())

    other = writer(family)
    taught = finetuned(replace(run, family=other), Conditional(vocabulary, other.layout), train)
    source = with_gap(test, vocabulary)
    for item, gap in enumerate(test.gaps()):
        nats = 0.0
        for place, token in enumerate(gap):
            written = torch.tensor([[vocabulary.bos, *gap[:place]]])
            whole = torch.cat((source[item : item + 1], written), dim=1)
            sees = torch.arange(whole.shape[1])[None] < source.shape[1]
            batch = Batch.of(whole, is_prefix=sees)
            if name == "encoder_decoder":
                batch = Batch.of(written, source=source[item : item + 1])
            with torch.no_grad():
                logp = taught.logits(taught.hidden(batch).rows[:, -1]).log_softmax(-1)
            nats -= float(logp[0, token])
        row = table.iloc[item]
        assert row["nats"] == pytest.approx(nats, rel=1e-4)
        assert row["tokens"] == len(gap)
        assert row["bytes"] == len(address_corpus.tokenizer.decode(gap).encode())


@pytest.mark.parametrize("name", FAMILIES)
def test_no_token_of_the_target_sees_itself_or_a_later_one(name: str) -> None:
    family = writer(tiny(name))
    asks = Conditional(VOCABULARY, family.layout)
    source, gap, real = torch.tensor([[50, 51, 6, 52]]), torch.tensor([[40, 41, 42, 43]]), torch.ones(1, 4)

    def nats(gap: torch.Tensor) -> torch.Tensor:
        batch = pairs(asks, source, gap, real.bool(), torch.Generator())
        with torch.no_grad():
            logp = family.logits(family.hidden(batch).targets[: gap.shape[1]]).log_softmax(-1)
        return logp[:, 60]  # of one and the same token at every place of the target

    first = nats(gap)
    for place in range(4):
        changed = gap.clone()
        changed[0, place] = 77
        same = torch.isclose(nats(changed), first, atol=1e-6)
        assert same.tolist() == [asked <= place for asked in range(4)]


@pytest.mark.parametrize("name", SINGLE)
def test_a_single_stack_is_the_prefix_lm_of_its_own_weights(name: str) -> None:
    family = tiny(name)
    assert isinstance(family, SingleStack | PermutedLM)
    other = writer(family)
    assert isinstance(other, PrefixLM)
    plain = PrefixLM(family.config)
    weights = {key: value for key, value in family.state_dict().items() if key != "query"}
    plain.load_state_dict(weights)
    tokens = torch.tensor([[50, 51, 1, 40, 41]])
    batch = Batch.of(tokens, is_prefix=torch.tensor([[True, True, False, False, False]]))
    with torch.no_grad():
        assert torch.equal(other.hidden(batch).rows, plain.hidden(batch).rows)
    assert set(other.state_dict()) == set(weights)
    assert other.head.weight is other.embedding.weight
    assert not other.training


def test_an_encoder_decoder_is_asked_as_it_is() -> None:
    family = tiny("encoder_decoder")
    assert writer(family) is family


class Guessing(EncoderDecoder):
    unit = "pll"


def test_a_family_without_true_likelihood_is_told_in_one_line() -> None:
    family = Guessing(tiny("encoder_decoder").config)
    with pytest.raises(UserError, match=r"needs a true likelihood.*set evaluation\.target=false$"):
        writer(family)


def test_documents_are_those_the_gaps_stand_in(address_corpus: Corpus) -> None:
    part, test = address_corpus.test, gaps(address_corpus, 50)[1]
    for left, gap, document in zip(test.left.tolist(), test.gaps(), test.documents, strict=True):
        text = part.tokens[part.offsets[document] : part.offsets[document + 1]]
        wanted = torch.tensor([*left, *gap]).numpy().astype(text.dtype)
        assert wanted.tobytes() in text.tobytes()
