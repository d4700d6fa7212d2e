import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_text import (
    BOS,
    EOS,
    MASK,
    PAD,
    VOCABULARY,
    WORDS,
    documents,
    random_windows,
    rates,
    seeded,
    seeds,
    tiny,
    windows,
)

from archs.errors import UserError
from archs.flow.whole_pass import check_flow
from archs.hf import from_hf
from archs.hf.cases import BART, TOKENS, build
from objectives import noise
from objectives.base import Vocabulary, Windows
from objectives.denoising import NOISES, Denoising
from objectives.documents import reordered

STOP = 99  # ends a sentence
BARE = Vocabulary(100, torch.ones(100).bool(), torch.arange(100) < WORDS, pad=PAD, bos=BOS, eos=EOS)


def objective(*noises, **options):
    return Denoising(VOCABULARY, "source_target", **({"noises": list(noises)} if noises else {}), **options)


def row(*tokens):
    return Windows(torch.tensor([tokens]), torch.zeros(1, len(tokens), dtype=torch.long))


def with_segments(text):
    return Windows(text.tokens, torch.zeros_like(text.tokens) if text.segments is None else text.segments)


def outcomes(of, text, share, seeds=200):
    """What one row becomes, without padding, over many seeds."""
    made = [of(text, share, VOCABULARY, seeded(seed)) for seed in range(seeds)]
    return {tuple(m.tokens[0][m.segments[0] >= 0].tolist()) for m in made}


def test_the_target_is_the_text_and_the_source_is_what_is_left_of_it():
    batch = objective({"deletion": 1.0}).build(Windows(torch.tensor([[40, 41, EOS]])), seeded())
    assert batch.source.tolist() == [[EOS, PAD, PAD]]
    assert batch.source_segments.tolist() == [[0, -1, -1]]
    assert batch.tokens.tolist() == [[BOS, 40, 41]]
    assert batch.targets.tolist() == [[40, 41, EOS]]
    assert batch.weights.tolist() == [[1, 1, 1]]


def test_masking_replaces_and_deletion_removes_single_tokens():
    text = row(40, 41, 42, 43, EOS)
    each = [(*(MASK if i == hidden else 40 + i for i in range(4)), EOS) for hidden in range(4)]
    assert outcomes(noise.masking, text, 0.25) == set(each)
    assert outcomes(noise.deletion, text, 0.25) == {tuple(t for t in one if t != MASK) for one in each}


def test_infilling_puts_one_mask_for_a_span():
    text = row(40, 41, 42, 43, EOS)
    wholes = {(40, 41, 42, 43), (MASK, 42, 43), (40, MASK, 43), (40, 41, MASK)}
    inserted = {o for o in outcomes(noise.infilling, text, 0.5, 2000) if o.count(MASK) == 1}
    assert inserted == {(*w, EOS) for w in wholes} - {(40, 41, 42, 43, EOS)}
    for made in outcomes(noise.infilling, text, 0.5, 2000):
        assert made.count(MASK) in (1, 2)
        assert [t for t in made if t in (40, 41, 42, 43)] == sorted(set(made) - {MASK, EOS})
        assert made[-1] == EOS


def test_spans_are_poisson_and_zero_lengths_are_inserted():
    text = with_segments(random_windows(200, 400, "full", 0))
    hide, begins = noise.spans(text, 0.3, VOCABULARY, seeded(), 3.0)
    assert (hide.sum(1) == 120).all()
    assert not (begins & ~hide).any()
    above_zero = 3.0 / (1 - math.exp(-3.0))
    assert 24000 / int(begins.sum()) == pytest.approx(above_zero, rel=0.02)  # the last one of a row is cut
    masks = int((noise.infilling(text, 0.3, VOCABULARY, seeded()).tokens == MASK).sum())
    zero = math.exp(-3.0)
    assert (masks - int(begins.sum())) / masks == pytest.approx(zero, abs=0.01)


def test_sentences_change_places_and_the_document_s_end_stays():
    text = row(40, STOP, 50, 51, STOP, STOP, 60, EOS)
    parts = [(40, STOP), (50, 51, STOP, STOP), (60,)]
    orders = [(a, b, c) for a in range(3) for b in range(3) for c in range(3) if len({a, b, c}) == 3]
    expected = {(*parts[a], *parts[b], *parts[c], EOS) for a, b, c in orders}
    assert outcomes(noise.sentence_permutation, text, 1.0) == expected


def test_a_rotated_document_begins_anywhere_and_keeps_its_end():
    text = row(40, 41, 42, EOS)
    expected = {(40, 41, 42, EOS), (41, 42, 40, EOS), (42, 40, 41, EOS)}
    assert outcomes(noise.rotation, text, 1.0) == expected


@pytest.mark.parametrize("of", [noise.sentence_permutation, noise.rotation])
def test_the_share_is_that_of_the_documents(of):
    tokens = torch.arange(40, 80).repeat(3000, 1)
    tokens[:, ::2] = STOP
    text = Windows(tokens, torch.zeros_like(tokens))
    changed = (of(text, 0.3, VOCABULARY, seeded()).tokens != tokens).any(1).float().mean()
    assert changed == pytest.approx(0.3, abs=0.04)


def test_documents_are_put_in_order_by_key_and_end_as_they_ended():
    text = Windows(torch.tensor([[40, 41, 42, EOS, 50, 51, PAD]]), torch.tensor([[0, 0, 0, 0, 1, 1, -1]]))
    keys = torch.tensor([[0.7, 0.2, 0.5, 0.1, 0.9, 0.3, 0.0]])
    assert reordered(text, keys, VOCABULARY).tokens.tolist() == [[41, 42, 40, EOS, 51, 50, PAD]]


@pytest.mark.parametrize("name", NOISES)
@given(text=windows, seed=seeds, share=rates)
@settings(max_examples=60, deadline=None)
def test_a_noise_stays_within_documents_and_touches_no_special_token(name, text, seed, share):
    given_ = with_segments(text)
    before = given_.tokens.clone()
    made = NOISES[name](given_, share, VOCABULARY, seeded(seed))
    assert torch.equal(given_.tokens, before)
    assert made.tokens.shape == text.tokens.shape
    assert (made.tokens[made.segments < 0] == PAD).all()
    for noised, raw in zip(
        documents(made.tokens, made.segments), documents(given_.tokens, given_.segments), strict=True
    ):
        assert list(noised) == [number for number in raw if number in noised]
        for number, tokens in raw.items():
            left = noised.get(number, [])
            assert left.count(EOS) == tokens.count(EOS)
            if EOS in tokens:
                assert left[-1] == EOS
            kept = [token for token in left if token != MASK]
            if name in ("sentence_permutation", "rotation"):
                assert sorted(left) == sorted(tokens)
            else:
                assert is_subsequence(kept, tokens)
            if name == "infilling":
                ordinary = sum(token >= WORDS for token in tokens)
                assert len(tokens) - len(kept) == round(share * ordinary)
            if name == "masking":
                assert len(left) == len(tokens)


def is_subsequence(part, whole):
    rest = iter(whole)
    return all(token in rest for token in part)


@given(text=windows, seed=seeds, order=st.permutations(list(NOISES)), share=rates)
@settings(max_examples=60, deadline=None)
def test_noises_compose_and_the_whole_text_is_asked(text, seed, order, share):
    batch = objective(*({name: share} for name in order)).build(text, seeded(seed))
    assert batch.source.shape == batch.tokens.shape == text.tokens.shape
    assert documents(batch.targets, batch.segments) == documents(text.tokens, text.segments)
    assert batch.supervised == sum(len(t) for r in documents(text.tokens, text.segments) for t in r.values())


@pytest.mark.parametrize(
    ("noises", "source"),
    [
        ([{"sentence_permutation": 1.0}, {"infilling": 0.3}], [50, 51, MASK]),
        ([{"masking": 0.3}], [50, 51, MASK, MASK]),
        ([{"deletion": 0.3}, {"rotation": 1.0}], [50, 51]),
    ],
)
def test_a_continuation_is_asked_behind_the_context_that_the_decoder_is_given(noises, source):
    context = torch.tensor([[50, 51]])
    batch = objective(*noises).ask(context, torch.tensor([[60, 61]]))
    assert batch.source.tolist() == [source]
    assert batch.tokens.tolist() == [[BOS, 50, 51, 60]]
    assert batch.targets.tolist() == [[50, 51, 60, 61]]
    assert batch.weights.tolist() == [[0, 0, 1, 1]]
    prompt = objective(*noises).prompt(context, 2)
    assert prompt.source.tolist() == [source]
    assert prompt.tokens.tolist() == [[BOS, 50, 51]]


@pytest.mark.parametrize("kind", ["full", "packed", "padded"])
def test_information_flows_as_declared(kind):
    batch = objective().build(random_windows(2, 13, kind, 3), seeded())
    assert check_flow(tiny("encoder_decoder"), batch).ok


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noises": []}, "noises is empty"),
        (
            {"noises": [{"infiling": 0.3}]},
            "unknown noise of objective 'denoising' 'infiling'; choose one of: inf",
        ),
        ({"noises": [{"infilling": 0.3, "masking": 0.1}]}, "write one noise an entry"),
        ({"noises": [{"deletion": 0.0}]}, "deletion: 0.0 is not a share above 0 and at most 1"),
        ({"noises": [{"rotation": 1.1}]}, "rotation: 1.1 is not a share"),
        ({"mean": 0.5}, "mean=0.5 is not from 1 to 100"),
    ],
)
def test_impossible_noises_are_refused_in_one_line(options, message):
    with pytest.raises(UserError, match=message) as error:
        objective(**options)
    assert "\n" not in str(error.value)


def test_a_noise_that_the_vocabulary_does_not_allow_is_refused():
    with pytest.raises(UserError, match="special tokens mask, which this tokenizer"):
        Denoising(BARE, "source_target", noises=[{"infilling": 0.3}])
    with pytest.raises(UserError, match="'sentence_permutation' needs to know which pieces end a sentence"):
        Denoising(BARE, "source_target", noises=[{"sentence_permutation": 1.0}])
    Denoising(BARE, "source_target", noises=[{"deletion": 0.3}, {"rotation": 1.0}])


def test_the_loss_is_that_of_hugging_face_s_bart():
    size = BART["vocab_size"]
    vocabulary = Vocabulary(
        size,
        word_starts=torch.ones(size).bool(),
        special=torch.arange(size) < 4,
        pad=0,
        bos=1,
        eos=2,
        mask=3,
        sentence_ends=torch.arange(size) % 10 == 0,
    )
    text = Windows(torch.randint(4, size, (3, 20), generator=seeded()))
    model = build("bart", BART | TOKENS)
    family, asks = from_hf(model), Denoising(vocabulary, "source_target")
    batch = asks.build(text, seeded())
    assert (batch.source_segments < 0).any()
    with torch.no_grad():
        ours = asks.loss(family.eval(), torch.nn.ModuleDict(), batch).value
        theirs = model(
            input_ids=batch.source,
            attention_mask=batch.source_segments >= 0,
            decoder_input_ids=batch.tokens,
            labels=batch.targets,
        ).loss
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
