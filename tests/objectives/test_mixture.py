"""Several objectives for one model: shares, schedules, modes, whose mask, whose loss."""

import pytest
import torch
from hypothesis import given, settings
from toy_text import (
    BOS,
    MASK,
    PAD,
    SENTINELS,
    VOCABULARY,
    equal,
    random_windows,
    seeded,
    seeds,
    tiny,
    windows,
)

from archs.errors import UserError
from archs.families.decoder_ar import DecoderAR
from archs.families.encoder_ae import EncoderAE
from archs.families.encoder_ae import mask as both_ways
from archs.families.encoder_decoder import EncoderDecoder
from archs.families.permuted_lm import PermutedLM
from archs.families.prefix_lm import PrefixLM
from archs.flow.whole_pass import check_flow
from objectives.base import Windows
from objectives.causal import Causal
from objectives.denoising import Denoising
from objectives.deshuffling import Deshuffling
from objectives.masked_next import MaskedNext
from objectives.mixture import Mixture, Part, layout_and_mask
from objectives.mlm import MLM
from objectives.modes import marked, mode_token
from objectives.permutation import Permutation
from objectives.prefix import Prefix
from objectives.pseudo_masked import PseudoMasked
from objectives.pseudo_masked import mask as blockwise
from objectives.replace import mask_only
from objectives.replaced_tokens import ReplacedTokens
from objectives.sop import SOP
from objectives.span import Span

TEXT = Windows(torch.tensor([[40, 41, 42, 43], [50, 51, 52, 53]]))


def part(kind, family, **options):
    layout, mask = layout_and_mask(kind, family)
    return Part(kind(VOCABULARY, layout, **options), mask)


def unilm(**given):
    parts = {
        "prefix": part(Prefix, PrefixLM),
        "causal": part(Causal, PrefixLM),
        "masked": part(MLM, PrefixLM, replace=mask_only),
    }
    given = given or {"weights": {"prefix": 1, "causal": 1, "masked": 1}}
    return Mixture(VOCABULARY, "concatenated", parts, **given)


def taken(mixture, steps):
    return [mixture.part_at(step, (step + 0.5) / steps) for step in range(steps)]


def test_two_to_one_is_the_order_in_the_docstring():
    mixture = unilm(weights={"prefix": 2, "causal": 1})
    assert ["ab"[number] for number in taken(mixture, 7)] == list("aaabaab")


@pytest.mark.parametrize("weights", [(1, 1, 1), (15, 1, 0), (2, 1, 1), (0.2, 0.3, 0.5)])
def test_after_any_number_of_steps_the_shares_are_kept_to_a_few(weights):
    mixture = unilm(weights=dict(zip(("prefix", "causal", "masked"), weights, strict=True)))
    order = torch.tensor([mixture.part_at(step, 0.0) for step in range(3000)])
    steps = torch.arange(1, 3001)
    for number, weight in enumerate(weights):
        off = (order == number).cumsum(0) - steps * weight / sum(weights)
        assert off.abs().max() < 3.5


def test_a_schedule_changes_parts_where_it_says():
    stages = [{"until": 0.25, "weights": {"causal": 1}}, {"until": 1, "weights": {"masked": 1}}]
    assert taken(unilm(schedule=stages), 8) == [1, 1, 2, 2, 2, 2, 2, 2]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "either weights or a schedule"),
        ({"weights": {"mlm": 1}}, "unknown part in the weights of objective 'mixture': 'mlm'"),
        ({"weights": {"causal": -1}}, "weight of 'causal' is -1"),
        ({"weights": {"causal": 0}}, "sum to 0"),
        ({"weights": [1, 2]}, "came as"),
        ({"schedule": [{"until": 0.8, "weights": {"causal": 1}}]}, "ends at 0.8 of the budget"),
        ({"schedule": []}, "ends at 0 of the budget"),
        ({"schedule": [{"until": 2, "weights": {"causal": 1}}]}, "until=2; give a share"),
        ({"schedule": [{"weights": {"causal": 1}}]}, "stage 1 of the schedule has the keys weights"),
        (
            {
                "schedule": [
                    {"until": 0.5, "weights": {"causal": 1}},
                    {"until": 0.5, "weights": {"causal": 1}},
                ]
            },
            "above 0.5",
        ),
    ],
)
def test_weights_and_schedules_that_mean_nothing_are_one_line(given, said):
    parts = {"causal": part(Causal, PrefixLM)}
    with pytest.raises(UserError) as error:
        Mixture(VOCABULARY, "concatenated", parts, **given)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_schedule_without_a_known_fraction_is_refused_and_weights_are_not():
    stages = [{"until": 0.5, "weights": {"causal": 1}}, {"until": 1, "weights": {"masked": 1}}]
    with pytest.raises(UserError, match="budget in seconds"):
        unilm(schedule=stages).build(Windows(TEXT.tokens, fraction=None), seeded())
    assert unilm().build(Windows(TEXT.tokens, fraction=None), seeded()).part == 0


def test_a_batch_is_the_parts_own_under_the_mask_it_needs():
    mixture = unilm()
    by_part = {mixture.part_at(step, 0.0): step for step in range(6)}
    alone = [
        Prefix(VOCABULARY, "concatenated"),
        Causal(VOCABULARY, "concatenated"),
        MLM(VOCABULARY, "in_place", replace=mask_only),
    ]
    for number, objective in enumerate(alone):
        made = mixture.build(Windows(TEXT.tokens, step=by_part[number]), seeded(3))
        assert equal(made, objective.build(TEXT, seeded(3)))
        assert made.part == number
        assert (made.mask is both_ways) == (number == 2)


def test_rows_of_a_batch_keep_its_part_and_mask():
    batch = unilm(weights={"masked": 1}).build(TEXT, seeded())
    cut = batch.rows(slice(0, 1)).to("cpu")
    assert (cut.part, cut.mask) == (2, both_ways)


def test_the_masked_third_sees_both_ways_and_the_others_do_not():
    family, mixture = tiny("prefix_lm"), unilm()
    for step in range(6):
        batch = mixture.build(Windows(random_windows(2, 7, "packed", step).tokens, step=step), seeded(step))
        report = check_flow(family, batch)
        assert report.ok, str(report)
        later = report.measured["tokens"]["tokens"][0].triu(1).any()
        assert later == (batch.part == 2) or batch.part == 0


def test_losses_of_parts_of_a_batch_add_up_and_terms_are_named_by_part():
    family, mixture = tiny("prefix_lm"), unilm()
    modules = mixture.modules(family)
    for step in range(3):
        batch = mixture.build(Windows(random_windows(4, 9, "full", 0).tokens, step=step), seeded())
        whole = mixture.loss(family, modules, batch)
        halves = [mixture.loss(family, modules, batch.rows(rows)).value for rows in (slice(2), slice(2, 4))]
        torch.testing.assert_close(sum(halves), whole.value)
        assert list(whole.terms) == [f"{mixture.names[batch.part]}_tokens"]


def test_a_part_trains_its_own_module_and_no_other():
    parts = {"plain": part(MLM, EncoderAE), "pair": part(SOP, EncoderAE)}
    mixture = Mixture(VOCABULARY, "in_place", parts, {"plain": 1, "pair": 1})
    family = tiny("encoder_ae")
    modules = mixture.modules(family)
    assert {name.split(".")[0] for name, _ in modules.named_parameters()} == {"of_pair"}
    for batch in mixture.validation(random_windows(4, 12, "full", 0), seeded()):
        family.zero_grad()
        modules.zero_grad()
        mixture.loss(family, modules, batch).value.backward()
        assert (next(modules.parameters()).grad is not None) == (batch.part == 1)


def test_counts_are_those_of_the_part():
    family, mixture = tiny("prefix_lm"), unilm()
    for batch in mixture.validation(TEXT, seeded()):
        alone = mixture.parts[batch.part].objective
        assert mixture.flops(family, batch) == alone.flops(family, batch)
        assert mixture.supervised(batch) == alone.supervised(batch) == batch.supervised
    assert {mixture.supervised(batch) for batch in mixture.validation(TEXT, seeded())} >= {8, 2}


def test_the_first_part_is_asked_in_evaluation():
    context, continuation = torch.tensor([[50, 51]]), torch.tensor([[60, 61]])
    assert equal(
        unilm().ask(context, continuation), Prefix(VOCABULARY, "concatenated").ask(context, continuation)
    )
    assert equal(unilm().prompt(context, 2), Prefix(VOCABULARY, "concatenated").prompt(context, 2))


def test_a_part_s_own_mask_is_not_replaced_by_that_of_the_family_it_is_for():
    """Pseudo-masked batches hold the answers behind the text: encoder-AE's mask would show them."""
    parts = {"prefix": part(Prefix, PrefixLM), "pseudo": part(PseudoMasked, PrefixLM)}
    mixture = Mixture(VOCABULARY, "concatenated", parts, {"prefix": 1, "pseudo": 1})
    _, batch = mixture.validation(random_windows(3, 20, "packed", 0), seeded())
    assert batch.mask is blockwise
    parts = {"mlm": part(MLM, EncoderAE), "next": part(MaskedNext, EncoderAE)}
    _, batch = Mixture(VOCABULARY, "in_place", parts, {"mlm": 1}).validation(TEXT, seeded())
    assert batch.mask is both_ways


@pytest.mark.parametrize("name", ["type", "keys", "half", "train"])
def test_a_part_may_have_the_name_of_a_module_s_attribute(name):
    mixture = Mixture(VOCABULARY, "concatenated", {name: part(Causal, PrefixLM)}, {name: 1})
    family = tiny("prefix_lm")
    assert list(mixture.loss(family, mixture.modules(family), mixture.build(TEXT, seeded())).terms) == [
        f"{name}_tokens"
    ]


@pytest.mark.parametrize("kind", [SOP, Denoising, Deshuffling])
def test_a_mode_before_a_text_that_is_moved_about_is_refused(kind):
    """It would move too, and tell where: a swapped pair would have it in its second half."""
    layout = "in_place" if kind is SOP else "source_target"
    with pytest.raises(UserError, match="moves the text about"):
        Mixture(VOCABULARY, layout, {"x": Part(kind(VOCABULARY, layout), mode=1)}, {"x": 1})


def test_replaced_tokens_train_an_encoder_ae_alone():
    parts = {"prefix": part(Prefix, PrefixLM), "replaced": part(ReplacedTokens, PrefixLM)}
    mixture = Mixture(VOCABULARY, "concatenated", parts, {"prefix": 1, "replaced": 1})
    with pytest.raises(UserError, match="family prefix_lm cannot be trained by it"):
        mixture.modules(tiny("prefix_lm"))


def test_who_takes_whose_objective():
    assert layout_and_mask(MLM, EncoderAE) == ("in_place", None)
    assert layout_and_mask(MLM, DecoderAR) == ("in_place", both_ways)
    assert layout_and_mask(Causal, EncoderAE) == ("concatenated", DecoderAR.default_mask)
    assert layout_and_mask(Permutation, PrefixLM) is None
    assert layout_and_mask(MLM, EncoderDecoder) is None
    assert layout_and_mask(Span, PermutedLM) is None


# Modes


def test_a_mode_stands_before_each_document():
    packed = Windows(torch.tensor([[40, 41, 42, PAD]]), torch.tensor([[0, 0, 1, -1]]))
    M = SENTINELS[-2]
    assert mode_token(VOCABULARY, 2) == M
    out = marked(packed, M, VOCABULARY)
    assert out.tokens.tolist() == [[M, 40, 41, M, 42, PAD, PAD, PAD]]
    assert out.segments.tolist() == [[0, 0, 0, 1, 1, -1, -1, -1]]
    full = marked(TEXT, M, VOCABULARY)
    assert full.tokens.tolist() == [[M, 40, 41, 42, 43], [M, 50, 51, 52, 53]]
    assert full.segments is None


def test_what_a_segmenter_said_of_the_words_moves_with_them():
    marks = torch.tensor([[1, 0, 1, 1]], dtype=torch.uint8)
    packed = Windows(torch.tensor([[40, 41, 42, PAD]]), torch.tensor([[0, 0, 1, -1]]), marks=marks)
    assert marked(packed, SENTINELS[-1], VOCABULARY).marks.tolist() == [[0, 1, 0, 0, 1, 1, 0, 0]]


@given(text=windows, seed=seeds)
@settings(max_examples=60, deadline=None)
def test_without_its_modes_a_marked_text_is_the_text(text, seed):
    M = SENTINELS[-1]
    out = marked(text, M, VOCABULARY)
    for row in range(len(text.tokens)):
        real = slice(None) if text.segments is None else text.segments[row] >= 0
        kept = out.tokens[row] != M
        if out.segments is not None:
            kept &= out.segments[row] >= 0
            assert out.segments[row][kept].tolist() == text.segments[row][real].tolist()
        assert out.tokens[row][kept].tolist() == text.tokens[row][real].tolist()
    documents = 1 if text.segments is None else None
    if documents:
        assert (out.tokens == M).sum() == len(text.tokens)


def ul2():
    parts = {
        "s": Part(Prefix(VOCABULARY, "source_target", low=0.5, high=0.5), mode=1),
        "r": Part(Span(VOCABULARY, "source_target", rate=0.5, mean=2.0), mode=2),
    }
    return Mixture(VOCABULARY, "source_target", parts, {"s": 1, "r": 1})


@given(text=windows, seed=seeds)
@settings(max_examples=40, deadline=None)
def test_a_mode_is_read_and_never_asked(text, seed):
    for batch in ul2().validation(text, seeded(seed)):
        M = SENTINELS[-1 - batch.part]
        asked = batch.weights > 0
        assert not (batch.targets[asked] == M).any()
        assert batch.totals["tokens"] == float(asked.sum())
        assert (batch.source == M).any(1).all() or text.segments is not None or text.tokens.shape[1] < 2


def test_evaluation_is_asked_in_the_first_parts_mode():
    context, continuation = torch.tensor([[50, 51]]), torch.tensor([[60, 61]])
    assert ul2().ask(context, continuation).source.tolist() == [[SENTINELS[-1], 50, 51]]
    assert ul2().prompt(context, 2).source.tolist() == [[SENTINELS[-1], 50, 51]]


@pytest.mark.parametrize("mode", [0, 16, -1])
def test_modes_leave_sentinels_for_spans(mode):
    with pytest.raises(UserError, match="give 1 to 15"):
        mode_token(VOCABULARY, mode)


# Masked next-token prediction


def test_hidden_tokens_are_asked_of_the_row_before_them():
    objective = MaskedNext(
        VOCABULARY, "concatenated", select=lambda t, w, s, rng: t % 2 == 1, replace=mask_only
    )
    batch = objective.build(TEXT, seeded())
    assert batch.tokens.tolist() == [[BOS, 40, MASK, 42], [BOS, 50, MASK, 52]]
    assert batch.targets.tolist() == TEXT.tokens.tolist()
    assert batch.weights.tolist() == [[0, 1, 0, 1], [0, 1, 0, 1]]
    assert batch.mask is both_ways
