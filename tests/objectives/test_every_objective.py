"""What holds for every objective in every layout it trains."""

import pytest
import torch
from hypothesis import given, settings
from toy_text import BOS, EOS, MASK, VOCABULARY, equal, random_windows, reached, seeded, seeds, windows

from archs import FAMILIES
from archs.errors import UserError
from archs.families.decoder_ar import mask as decoder_mask
from archs.families.prefix_lm import mask as prefix_mask
from objectives import OBJECTIVES
from objectives.base import Vocabulary
from objectives.conditional import Conditional

PAIRS = [(name, family) for name, kind in OBJECTIVES.items() for family in kind.families]
WRITERS = [pair for pair in PAIRS if OBJECTIVES[pair[0]].language_model]
CONCATENATED = [(name, family) for name, family in PAIRS if FAMILIES[family].layout == "concatenated"]
LAYOUTS = sorted({(name, FAMILIES[f].layout) for name, kind in OBJECTIVES.items() for f in kind.families})


def test_each_objective_is_listed_under_its_own_name_and_trains_known_families():
    for name, kind in OBJECTIVES.items():
        assert kind.name == name
        assert set(kind.families) <= set(FAMILIES)
    assert set(Conditional.families) == set(FAMILIES)


@pytest.mark.parametrize(("name", "layout"), LAYOUTS)
@pytest.mark.parametrize("kind", ["full", "packed", "padded"])
def test_same_seed_same_batch_and_different_seed_different(name, layout, kind):
    objective = OBJECTIVES[name](VOCABULARY, layout)
    text = random_windows(6, 41, kind, 5)
    before = text.tokens.clone()
    one, again, other = (objective.build(text, seeded(seed)) for seed in (1, 1, 2))
    assert equal(one, again)
    assert torch.equal(text.tokens, before)
    assert equal(one, other) == (name == "causal")


@pytest.mark.parametrize(("name", "layout"), LAYOUTS)
@given(text=windows, seed=seeds)
@settings(max_examples=25, deadline=None)
def test_a_batch_is_consistent_and_asks_for_text_only(name, layout, text, seed):
    batch = OBJECTIVES[name](VOCABULARY, layout).build(text, seeded(seed))
    asked = batch.weights > 0
    assert batch.totals["tokens"] == float(batch.weights.sum())
    assert batch.target_index[batch.target_index >= 0].tolist() == asked.flatten().nonzero()[:, 0].tolist()
    if batch.segments is not None:
        assert (batch.segments[asked] >= 0).all()
    else:
        assert text.segments is None
    assert not torch.isin(batch.targets[asked], torch.tensor([BOS, MASK])).any()
    for tokens, segments in ((batch.tokens, batch.segments), (batch.source, batch.source_segments)):
        if tokens is not None and segments is not None:
            assert (tokens[segments < 0] == VOCABULARY.pad).all()


@pytest.mark.parametrize(("name", "layout"), LAYOUTS)
def test_full_rows_make_one_width_whatever_the_seed(name, layout):
    objective = OBJECTIVES[name](VOCABULARY, layout)
    for width in (1, 2, 7, 40):
        texts = [random_windows(3, width, "full", seed) for seed in range(8)]
        batches = [objective.build(text, seeded(seed)) for seed, text in enumerate(texts)]
        shapes = {
            tuple((field, t.shape) for field, t in b.tensors() if field != "target_index") for b in batches
        }
        assert len(shapes) == 1


@pytest.mark.parametrize(("name", "family"), CONCATENATED)
@given(text=windows, seed=seeds)
@settings(max_examples=25, deadline=None)
def test_no_single_stack_decoder_reaches_a_token_it_is_asked_for_or_another_document(
    name, family, text, seed
):
    batch = OBJECTIVES[name](VOCABULARY, FAMILIES[family].layout).build(text, seeded(seed))
    columns = torch.arange(batch.tokens.shape[1])
    mask = {"prefix_lm": prefix_mask, "decoder_ar": decoder_mask}[family](batch)
    known = reached(mask.dense(len(batch.tokens), columns, columns))
    segments = torch.zeros_like(batch.tokens) if batch.segments is None else batch.segments
    for row, column in (batch.weights > 0).nonzero().tolist():
        for cell in known[row, column].nonzero()[:, 0].tolist():
            # A cell of the shifted text holds the token before it, so up to `column` all is given.
            assert cell <= column
            assert segments[row, cell] == segments[row, column]


@pytest.mark.parametrize(("name", "family"), WRITERS)
def test_ask_asks_for_the_continuation_once_and_in_order(name, family):
    objective = OBJECTIVES[name](VOCABULARY, FAMILIES[family].layout)
    context, continuation = torch.tensor([[50, 51], [52, 53]]), torch.tensor([[60, 61, 62], [63, 64, EOS]])
    batch = objective.ask(context, continuation)
    assert batch.targets[batch.weights > 0].view(2, 3).tolist() == continuation.tolist()
    assert batch.segments is None


@pytest.mark.parametrize(("name", "family"), sorted(set(PAIRS) - set(WRITERS)))
def test_an_objective_without_a_language_model_neither_asks_nor_prompts(name, family):
    objective = OBJECTIVES[name](VOCABULARY, FAMILIES[family].layout)
    text = torch.tensor([[50, 51]])
    for refused in (lambda: objective.ask(text, text), lambda: objective.prompt(text, 3)):
        with pytest.raises(UserError, match=f"objective '{name}'.* no head that predicts tokens") as error:
            refused()
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "family"), WRITERS)
def test_a_prompt_does_not_hold_what_is_to_be_written(name, family):
    layout = FAMILIES[family].layout
    objective = OBJECTIVES[name](VOCABULARY, layout)
    context = torch.tensor([[50, 51], [52, 53]])
    batch = objective.prompt(context, 3)
    if layout in ("in_place", "permuted"):
        assert batch.weights.tolist() == [[0, 0, 1, 1, 1]] * 2
        assert batch.tokens[:, :2].tolist() == context.tolist()
        assert (batch.tokens[:, 2:] == MASK).all()
    else:
        # Teacher forcing has read exactly the prompt where it is asked for the first new token.
        forced = objective.ask(context, torch.tensor([[60, 61, 62], [63, 64, 65]]))
        first = int(forced.weights[0].nonzero()[0, 0])
        assert torch.equal(batch.tokens, forced.tokens[:, : first + 1])
        assert batch.supervised == 0
        if batch.is_prefix is not None and forced.is_prefix is not None:
            assert torch.equal(batch.is_prefix, forced.is_prefix[:, : first + 1])
        if layout == "source_target":
            assert torch.equal(batch.source, forced.source)


@pytest.mark.parametrize(
    ("name", "layout", "missing"),
    [
        ("mlm", "in_place", "mask"),
        ("sop", "in_place", "mask, cls, sep"),
        ("span", "in_place", "mask"),
        ("span", "concatenated", "sentinels"),
    ],
)
def test_a_tokenizer_without_the_special_tokens_is_refused(name, layout, missing):
    bare = Vocabulary(10, torch.ones(10).bool(), torch.zeros(10).bool(), pad=0, bos=1, eos=2)
    with pytest.raises(UserError, match=f"objective '{name}' needs the special tokens {missing}, which"):
        OBJECTIVES[name](bare, layout)


@pytest.mark.parametrize(
    ("name", "layout", "options", "message"),
    [
        ("mlm", "in_place", {"rate": 0.0}, "rate=0.0 is not above 0"),
        ("span", "source_target", {"rate": 1.5}, "rate=1.5 is not above 0"),
        ("span", "source_target", {"mean": 0.5}, "mean=0.5 is below 1"),
        ("span", "in_place", {"mean": 5.0}, "leave mean at 3.0"),
        ("prefix", "concatenated", {"low": 0.7, "high": 0.2}, "low=0.7, high=0.2"),
        ("permutation", "permuted", {"k": 0}, "k=0 is below 1"),
    ],
)
def test_an_impossible_option_is_refused_in_one_line(name, layout, options, message):
    with pytest.raises(UserError, match=message) as error:
        OBJECTIVES[name](VOCABULARY, layout, **options)
    assert "\n" not in str(error.value)
