import copy
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from torch import nn
from toy_text import EOS, MASK, PAD, VOCABULARY, WORDS, random_windows, real, seeded, seeds, tiny, windows

from archs import CoreConfig
from archs.errors import UserError
from archs.families.encoder_ae import EncoderAE
from archs.masks import CAUSAL
from experiments.training.learner import Learner
from objectives.base import Windows
from objectives.mlm import MLM
from objectives.replace import mask_only
from objectives.replaced_tokens import VARIANTS, ReplacedTokens, generator_config, put_in, sampled

TEXT = Windows(
    torch.tensor([[40, 41, 42, 43, EOS, PAD], [50, 51, 52, 53, 54, EOS]]),
    torch.tensor([[0, 0, 0, 0, 0, -1], [0, 0, 0, 0, 0, 0]]),
)


def second_and_fourth(tokens, word_starts, special, rng):
    return torch.isin(torch.arange(tokens.shape[1]), torch.tensor([1, 3])).expand(tokens.shape) & ~special


def objective(**options):
    return ReplacedTokens(VOCABULARY, "in_place", **options)


def learner_of(variant="electra", **changes):
    """A family with every kind of embedding, and what the objective trains with it."""
    torch.manual_seed(0)
    options = {"positions": "learned", "token_types": 2, "embedding_norm": True, "head_bias": True}
    config = CoreConfig(100, 2, 32, 4, 64, 64, **{**options, **changes})
    return Learner(EncoderAE(config), objective(variant=variant, select=second_and_fourth)).eval()


def replaced_batch(asks, *tokens):
    """TEXT with these tokens at the hidden cells, in their order."""
    batch = asks.build(TEXT, seeded())
    given = torch.zeros(len(batch.target_index), dtype=torch.long)
    given[: len(tokens)] = torch.tensor(tokens)
    return put_in(batch, given)


def test_the_generator_reads_masks_and_the_family_its_samples():
    asks = objective(select=second_and_fourth)
    batch = asks.build(TEXT, seeded())
    assert batch.tokens.tolist() == [[40, MASK, 42, MASK, EOS, PAD], [50, MASK, 52, MASK, 54, EOS]]
    assert batch.weights.tolist() == [[0, 1, 0, 1, 0, 0], [0, 1, 0, 1, 0, 0]]
    assert batch.totals == {"tokens": 4.0, "replaced": 11.0}
    read = replaced_batch(asks, 41, 77, 78, 53)
    assert read.tokens.tolist() == [[40, 41, 42, 77, EOS, PAD], [50, 78, 52, 53, 54, EOS]]
    assert (read.tokens != read.targets).int().tolist() == [[0, 0, 0, 1, 0, 0], [0, 1, 0, 0, 0, 0]]


@given(text=windows, seed=seeds)
@settings(max_examples=50, deadline=None)
def test_the_batch_is_masked_language_modelling_s_with_masks_alone(text, seed):
    batch = objective().build(text, seeded(seed))
    plain = MLM(VOCABULARY, "in_place", replace=mask_only).build(text, seeded(seed))
    assert torch.equal(batch.tokens, plain.tokens)
    assert torch.equal(batch.weights, plain.weights)
    assert (batch.tokens[batch.weights > 0] == MASK).all()
    assert batch.totals == {**plain.totals, "replaced": float(real(text).sum())}
    drawn = torch.randint(100, (len(batch.target_index),), generator=seeded(seed))
    read = put_in(batch, drawn)
    hidden = batch.weights > 0
    assert torch.equal(read.tokens[~hidden], text.tokens[~hidden])
    assert read.tokens[hidden].tolist() == drawn[: int(hidden.sum())].tolist()


@pytest.mark.parametrize(
    ("variant", "cells", "term"),
    [
        ("electra", 11, "replaced"),
        ("electra_15", 4, "replaced"),
        ("replace_mlm", 4, "originals"),
        ("all_tokens_mlm", 11, "originals"),
    ],
)
def test_what_is_supervised_is_every_cell_but_padding_or_what_was_hidden(variant, cells, term):
    asks = objective(variant=variant, select=second_and_fourth)
    batch = asks.build(TEXT, seeded())
    assert asks.supervised(batch) == cells
    assert batch.totals[term] == cells
    learner = learner_of(variant)
    assert set(learner(batch).terms) == {"tokens", term}


def by_hand(learner, batch):
    """The family's term, cell by cell in plain Python."""
    asks, family, head = learner.objective, learner.family, learner.extra["discriminator"]
    rows, total, count = family.hidden(batch).rows, 0.0, 0
    for row, column in (batch.segments >= 0).nonzero().tolist():
        if not asks.everywhere and batch.weights[row, column] == 0:
            continue
        there = rows[row, column]
        read, original = int(batch.tokens[row, column]), int(batch.targets[row, column])
        if asks.variant in ("electra", "electra_15"):
            logit = head.logit(nn.functional.gelu(head.dense(there)))
            p = torch.sigmoid(logit if read != original else -logit).item()
        else:
            p = family.logits(there).softmax(-1)[original].item()
            if asks.variant == "all_tokens_mlm":
                copied = torch.sigmoid(head.copy(there)).item()
                p = copied * (read == original) + (1 - copied) * p
        total, count = total - math.log(p), count + 1
    return total / count


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_family_s_term_is_the_paper_s(variant):
    learner = learner_of(variant)
    with torch.no_grad():
        for weight in learner.parameters():
            weight.add_(torch.randn(weight.shape, generator=seeded()) * 0.2)
    batch = replaced_batch(learner.objective, 41, 77, 78, 53)
    found = learner.objective.of_replaced(learner.family, learner.extra, batch)
    assert found.item() == pytest.approx(by_hand(learner, batch), rel=1e-4)


def test_padding_is_not_asked():
    learner = learner_of()
    batch = replaced_batch(learner.objective, 41, 77, 78, 53)
    other = replace(batch, tokens=batch.tokens.masked_fill(batch.segments < 0, 60))
    assert not torch.equal(batch.tokens, other.tokens)
    losses = [learner.objective.of_replaced(learner.family, learner.extra, each) for each in (batch, other)]
    torch.testing.assert_close(*losses)


@pytest.mark.parametrize("kind", ["full", "packed", "padded"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_losses_of_parts_of_a_batch_add_up_to_the_whole(variant, kind):
    asks, family = objective(variant=variant), tiny("encoder_ae")
    torch.manual_seed(0)
    modules = asks.modules(family)
    batch = asks.build(random_windows(6, 20, kind, 0), seeded())
    whole = asks.loss(family, modules, batch)
    parts = [batch.rows(slice(i, i + 2)) for i in (0, 2, 4)]
    torch.testing.assert_close(
        sum(asks.loss(family, modules, part).terms["tokens"] for part in parts), whole.terms["tokens"]
    )
    read = put_in(batch, torch.randint(100, (len(batch.target_index),), generator=seeded()))
    torch.testing.assert_close(
        sum(asks.of_replaced(family, modules, read.rows(slice(i, i + 2))) for i in (0, 2, 4)),
        asks.of_replaced(family, modules, read),
    )
    own = whole.terms[asks.head.term]
    torch.testing.assert_close(whole.value.detach(), whole.terms["tokens"] + asks.weight * own)


def test_the_weight_is_the_paper_s_50_or_1_where_tokens_are_predicted_unless_given():
    assert [objective(variant=variant).weight for variant in VARIANTS] == [50, 50, 1, 1]
    assert objective(weight=7.0).weight == 7


def test_a_generator_that_restores_the_text_leaves_nothing_replaced():
    learner = learner_of()
    batch = learner.objective.build(TEXT, seeded())
    read = put_in(batch, batch.asked()[1])
    assert torch.equal(read.tokens, TEXT.tokens)
    with torch.no_grad():
        learner.extra["discriminator"].logit.bias.fill_(-20)  # sure that nothing is
    assert learner.objective.of_replaced(learner.family, learner.extra, read) < 1e-6
    spoiled = replaced_batch(learner.objective, 41, 77, 52, 53)
    assert learner.objective.of_replaced(learner.family, learner.extra, spoiled) > 1


def test_samples_have_the_softmax_s_frequencies_special_tokens_among_them():
    torch.manual_seed(0)
    logits = torch.tensor([2.0, 0.0, -1.0, 1.0])
    found = sampled(logits.expand(20_000, -1)).bincount(minlength=4) / 20_000
    assert (found - logits.softmax(0)).abs().max() < 0.015  # 4.2 standard errors
    learner = learner_of()
    batch = learner.objective.build(random_windows(64, 60, "full", 0), seeded())
    drawn = sampled(learner.extra["generator"].logits(learner.extra["generator"].hidden(batch).targets))
    assert 0 <= int(drawn.min()) < WORDS < int(drawn.max()) < 100


def test_the_step_s_seed_decides_the_samples():
    learner = learner_of()
    batch = learner.objective.build(TEXT, seeded())
    values = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        values.append(learner(batch).terms["replaced"].item())
    assert values[0] == values[1] != values[2]


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_family_s_term_reaches_the_generator_through_shared_embeddings_alone(variant):
    learner = learner_of(variant)
    family, generator = learner.family, learner.extra["generator"]
    asks, batch = learner.objective, learner.objective.build(TEXT, seeded())
    logits = generator.logits(generator.hidden(batch).targets)
    asks.of_replaced(family, learner.extra, put_in(batch, sampled(logits))).backward()
    shared = {id(parameter) for parameter in family.parameters()}
    for name, parameter in generator.named_parameters():
        assert (parameter.grad is not None) == (id(parameter) in shared and "head.bias" not in name), name
    assert family.stack.blocks[0].ffn.up.weight.grad.abs().max() > 0


def test_without_a_language_model_the_family_s_own_head_has_no_gradient():
    for variant in VARIANTS:
        learner = learner_of(variant)
        learner(learner.objective.build(TEXT, seeded())).value.backward()
        trained = learner.family.head.bias.grad is not None
        assert trained == learner.objective.language_model == (variant in ("replace_mlm", "all_tokens_mlm"))


def shared_with(learner):
    family, generator = learner.family, learner.extra["generator"]
    ours, theirs = generator.placement, family.placement
    return [
        generator.embedding.weight is family.embedding.weight,
        generator.head.weight is family.embedding.weight,
        ours.positions.weight is theirs.positions.weight,
        ours.types.weight is theirs.types.weight,
        ours.norm.weight is theirs.norm.weight,
        generator.head.bias is not family.head.bias,
    ]


@pytest.mark.parametrize("changes", [{}, {"tied": False}, {"embedding_width": 12}, {"embedding_width": 8}])
def test_embeddings_stay_one_after_a_copy_and_after_saving_and_loading(changes, tmp_path):
    learner = learner_of(**changes)
    assert all(shared_with(learner))
    assert all(shared_with(copy.deepcopy(learner)))
    batch = learner.objective.build(TEXT, seeded())
    torch.optim.SGD(learner.parameters(), lr=0.1).step()
    torch.save(learner.state_dict(), tmp_path / "weights")
    again = learner_of(**changes)
    with torch.no_grad():
        for parameter in again.parameters():
            parameter.zero_()
    again.load_state_dict(torch.load(tmp_path / "weights"))
    assert all(shared_with(again))
    for name, value in learner.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    losses = []
    for each in (learner, again):
        torch.manual_seed(3)
        losses.append(each(batch).value)
    assert torch.equal(*losses)


def test_shared_embeddings_are_counted_once_also_without_memory():
    def extra(learner):
        own = {id(parameter) for parameter in learner.family.parameters()}
        return sum(each.numel() for each in learner.extra.parameters() if id(each) not in own)

    with torch.device("meta"):
        family = EncoderAE(learner_of().family.config)
        modules = objective().modules(family)
    own = {id(parameter) for parameter in family.parameters()}
    found = sum(each.numel() for each in modules.parameters() if id(each) not in own)
    assert found == extra(learner_of())
    # Two layers 8 wide with ffn 16, four norms, the way from and to 32, the head's bias; the discriminator.
    generator = 2 * (4 * 8 * 8 + 2 * 8 * 16) + 4 * 8 + 2 * 8 * 32 + 100
    assert found == generator + (32 * 32 + 32) + (32 + 1)


@pytest.mark.parametrize(
    ("share", "heads", "width", "ffn"),
    [(0.25, 1, 8, 16), (0.5, 2, 16, 32), (1.0, 4, 32, 64), (0.01, 1, 2, 1), (0.7, 3, 24, 45)],
)
def test_the_generator_is_a_share_of_the_family_as_deep_and_valid(share, heads, width, ffn):
    config = generator_config(CoreConfig(100, 2, 32, 4, 64, 64, kv_heads=2), share)
    assert (config.heads, config.width, config.ffn, config.layers) == (heads, width, ffn, 2)
    assert config.head_width % 2 == 0
    assert config.token_width == 32
    assert (config.embedding_width is None) == (width == 32)


@pytest.mark.parametrize(
    "changes",
    [
        {"positions": "rope", "shared_layers": True},
        {"positions": "relative"},
        {"positions": "transformer_xl"},
        {"positions": "rope", "window": 4, "global_every": 2},
        {"norm_order": "post", "norm": "layer", "ffn_bias": True, "head_transform": True},
        {"positions": "rope", "attention_width": 48, "kv_heads": 1, "activation": "swiglu"},
    ],
)
def test_a_generator_can_be_made_for_any_core(changes):
    learner = learner_of(**changes)
    loss = learner(learner.objective.build(TEXT, seeded()))
    loss.value.backward()
    assert all(math.isfinite(term) for term in loss.terms.values())


def test_a_mask_of_the_user_s_own_is_the_generator_s_too():
    family = EncoderAE(tiny("encoder_ae").config, mask=lambda batch: CAUSAL)
    generator = objective().modules(family)["generator"]
    assert generator.build_mask is family.build_mask


def test_a_row_without_anything_to_hide_has_a_loss():
    nothing = Windows(torch.full((2, 3), PAD), torch.full((2, 3), -1))
    for variant in VARIANTS:
        learner = learner_of(variant)
        assert learner(learner.objective.build(nothing, seeded())).value.item() == 0


@pytest.mark.parametrize("variant", ["replace_mlm", "all_tokens_mlm"])
def test_variants_with_a_language_model_are_asked_as_masked_language_modelling_is(variant):
    context, continuation = torch.tensor([[50]]), torch.tensor([[60, 61]])
    batch = objective(variant=variant).ask(context, continuation)
    assert batch.tokens.tolist() == [[50, 60, 61]]
    assert batch.extras["mask"].tolist() == [MASK]
    assert objective(variant=variant).prompt(context, 2).tokens.tolist() == [[50, MASK, MASK]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"generator": 0.0}, "generator=0.0 is not above 0 and at most 1"),
        ({"generator": 1.5}, "generator=1.5 is not above 0 and at most 1"),
        ({"rate": 0.0}, "objective 'replaced_tokens': rate=0.0 is not above 0"),
        ({"variant": "electra_51"}, "unknown variant of objective 'replaced_tokens' 'electra_51'"),
    ],
)
def test_an_impossible_option_is_refused(options, message):
    with pytest.raises(UserError, match=message) as error:
        objective(**options)
    assert "\n" not in str(error.value)


def test_a_family_learns_to_tell_which_tokens_are_not_the_text_s():
    """Rows that count upwards, with random tokens at the hidden cells of rows it never saw."""
    asks, family = objective(), tiny("encoder_ae")
    torch.manual_seed(0)
    modules = asks.modules(family)
    parameters = [*family.parameters(), *modules["discriminator"].parameters()]
    optimiser = torch.optim.Adam(parameters, lr=1e-2)
    rng = seeded()

    def given():
        starts = torch.randint(64, (64, 1), generator=rng)
        batch = asks.build(Windows((starts + torch.arange(12)) % 64 + WORDS), rng)
        return put_in(batch, torch.randint(WORDS, 100, (len(batch.target_index),), generator=rng))

    for _ in range(300):
        optimiser.zero_grad()
        asks.of_replaced(family, modules, given()).backward()
        optimiser.step()
    by_chance = -(1 / 6 * math.log(1 / 6) + 5 / 6 * math.log(5 / 6))  # 2 of 12 cells are hidden
    assert asks.of_replaced(family, modules, given()).item() < by_chance / 2
