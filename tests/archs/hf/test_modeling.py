"""What our own class for transformers answers is what the family answers, padded on either side."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers import GenerationConfig
from writing import lively

from archs import CoreConfig
from archs.batch import Batch
from archs.decoding.decoding import Decoding
from archs.decoding.generate import prompts
from archs.hf.modeling_pentarch import CLASSES, PentarchConfig, PentarchModel

TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
RNG = torch.Generator().manual_seed(0)
TEXT = torch.randint(3, 50, (3, 7), generator=RNG)
SOURCE = torch.randint(3, 50, (3, 5), generator=RNG)
LEFT = (torch.arange(7) >= torch.tensor([[0], [2], [5]])).long()
RIGHT = LEFT.flip(1)
ROWS = [row[mask].tolist() for row, mask in zip(TEXT, LEFT > 0, strict=True)]


def model(kind: str) -> Any:
    torch.manual_seed(0)
    depth = 2 if kind == "encoder_decoder" else None
    core = CoreConfig(50, layers=2, width=16, heads=2, ffn=32, max_length=64, decoder_layers=depth)
    made: PentarchModel = CLASSES[kind](PentarchConfig(kind, core.__dict__, **TOKENS)).eval()
    lively(made.family)
    return made


@torch.no_grad()
def one_row(kind: str, row: list[int], source: list[int] | None = None, prefix: int = 0) -> Tensor:
    """The family's own logits (T,V) of one text without any padding."""
    family, tokens = model(kind).family, torch.tensor([row])
    if kind == "permuted_lm":
        return torch.stack([asked_after(family, row[:number]) for number in range(1, len(row) + 1)])
    batch = Batch.of(
        tokens,
        source=None if source is None else torch.tensor([source]),
        is_prefix=torch.arange(len(row))[None] < prefix,
    )
    return family.logits(family.hidden(batch).rows[0])


def asked_after(family: Any, row: list[int]) -> Tensor:
    """What a permuted LM's query row says after a text that was read from left to right."""
    length = len(row)
    weights = (torch.arange(length + 1) == length)[None].float()
    rank, queries = torch.arange(length + 1)[None] + 1, torch.tensor([[length]])
    batch = Batch.of(torch.tensor([[*row, 0]]), None, weights, rank=rank, queries=queries)
    return family.logits(family.hidden(batch).targets)[0]


@pytest.mark.parametrize("mask", [LEFT, RIGHT], ids=["left", "right"])
@pytest.mark.parametrize("kind", [kind for kind in CLASSES if kind != "encoder_decoder"])
def test_padding_on_either_side_changes_no_logit(kind: str, mask: Tensor) -> None:
    with torch.no_grad():
        logits = model(kind)(TEXT, attention_mask=mask).logits
    for number, seen in enumerate(mask > 0):
        expected = one_row(kind, TEXT[number][seen].tolist())
        assert torch.allclose(logits[number][seen], expected, atol=1e-5)


def test_padding_of_source_and_target_changes_no_logit_of_an_encoder_decoder() -> None:
    kind, mask = "encoder_decoder", (torch.arange(5) >= torch.tensor([[0], [3], [1]])).long()
    with torch.no_grad():
        given = {"attention_mask": mask, "decoder_input_ids": TEXT, "decoder_attention_mask": RIGHT}
        logits = model(kind)(SOURCE, **given).logits
    for number, seen in enumerate(RIGHT > 0):
        source = SOURCE[number][mask[number] > 0].tolist()
        expected = one_row(kind, TEXT[number][seen].tolist(), source)
        assert torch.allclose(logits[number][seen], expected, atol=1e-5)


def test_a_prefix_lm_reads_its_prefix_in_both_directions_and_nothing_without_one() -> None:
    prefix = (torch.arange(7) < 4).expand(3, -1)
    with torch.no_grad():
        told, untold = model("prefix_lm")(TEXT, prefix_mask=prefix).logits, model("prefix_lm")(TEXT).logits
    row = TEXT[0].tolist()
    assert torch.allclose(told[0], one_row("prefix_lm", row, prefix=4), atol=1e-5)
    assert torch.allclose(untold[0], one_row("prefix_lm", row), atol=1e-5)
    assert (told - untold)[:, 0].abs().max() > 0.1


@pytest.mark.parametrize("kind", CLASSES)
def test_the_loss_is_the_mean_over_labels_that_are_asked(kind: str) -> None:
    labels = TEXT.masked_fill(TEXT % 3 == 0, -100)
    with torch.no_grad():
        if kind == "encoder_decoder":  # the labels come one token later
            out = model(kind)(SOURCE, labels=labels)
            started = torch.cat((torch.ones(3, 1).long(), labels[:, :-1].clamp(min=0)), dim=1)
            logits, answers = model(kind)(SOURCE, decoder_input_ids=started).logits, labels
            assert torch.equal(out.logits, logits)
        else:
            out = model(kind)(TEXT, labels=labels)
            logits, answers = out.logits, labels
            if kind != "encoder_ae":  # logits at t are of the token after it
                logits, answers = logits[:, :-1], labels[:, 1:]
    each = functional.cross_entropy(logits.flatten(0, 1), answers.flatten().clamp(min=0), reduction="none")
    asked = answers.flatten() >= 0
    assert torch.allclose(out.loss, each[asked].mean())


@pytest.mark.parametrize("kind", CLASSES)
def test_it_can_be_trained_by_its_loss(kind: str) -> None:
    asked, given = model(kind).train(), {"input_ids": TEXT, "attention_mask": RIGHT}
    given["labels"] = TEXT.masked_fill(RIGHT == 0, -100)
    optimiser, losses = torch.optim.AdamW(asked.parameters(), lr=1e-2), []
    for _ in range(10):
        losses.append(asked(**given).loss)
        optimiser.zero_grad()
        losses[-1].backward()
        optimiser.step()
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("kind", ["decoder_ar", "prefix_lm"])
@pytest.mark.parametrize(
    ("options", "how"),
    [
        ({}, Decoding()),
        ({"num_beams": 3, "length_penalty": 0.5}, Decoding(beams=3, length_penalty=0.5)),
        ({"eos_token_id": [5, 6, 7, 8, 9]}, Decoding(stop=(5, 6, 7, 8, 9))),
    ],
)
def test_generate_writes_what_the_family_writes(kind: str, options: dict[str, Any], how: Decoding) -> None:
    options = {"eos_token_id": None, **options}
    written = model(kind).generate(TEXT, attention_mask=LEFT, max_new_tokens=6, **options)
    expected = model(kind).family.generate(prompts(ROWS), 6, how)
    assert written[:, :7].tolist() == TEXT.tolist()
    expected = expected[:, : written.shape[1] - 7].masked_fill(expected[:, : written.shape[1] - 7] < 0, 0)
    assert torch.equal(written[:, 7:], expected)


def test_the_config_says_which_is_an_encoder_decoder() -> None:
    assert [kind for kind in CLASSES if model(kind).config.is_encoder_decoder] == ["encoder_decoder"]


def test_an_encoder_decoder_starts_with_bos_or_the_start_token() -> None:
    for given, start in (({}, 1), ({"decoder_start_token_id": 9}, 9)):
        asked = model("encoder_decoder")
        for name, value in given.items():
            setattr(asked.config, name, value)
        written = asked.generate(SOURCE, max_new_tokens=6, eos_token_id=None)
        batch = prompts([[start]] * 3, SOURCE.tolist())
        assert written.tolist() == [[start, *row] for row in asked.family.generate(batch, 6).tolist()]


def test_a_permuted_lm_reads_its_prompt_in_both_directions_and_fills_in_what_follows() -> None:
    asked, cells = model("permuted_lm"), torch.arange(13)
    written = asked.generate(TEXT, attention_mask=LEFT, max_new_tokens=6, eos_token_id=None)
    batch = Batch.of(
        functional.pad(TEXT, (0, 6)),
        weights=(cells >= 7).expand(3, -1).float(),
        segments=functional.pad(LEFT - 1, (0, 6)),
    )
    assert torch.equal(written[:, 7:], asked.family.generate(batch, 6))


def test_sampling_is_seeded_as_everything_in_torch() -> None:
    for kind in ("decoder_ar", "prefix_lm", "permuted_lm"):
        found = []
        for seed in (0, 0, 1):
            torch.manual_seed(seed)
            asked = model(kind)
            torch.manual_seed(seed)
            found.append(asked.generate(TEXT, do_sample=True, temperature=3.0, max_new_tokens=8).tolist())
        assert found[0] == found[1] != found[2]


def test_without_a_length_twenty_tokens_are_the_most() -> None:
    assert model("decoder_ar").generate(TEXT, eos_token_id=None).shape == (3, 20)
    assert model("decoder_ar").generate(TEXT, max_length=9, eos_token_id=None).shape == (3, 9)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"repetition_penalty": 1.2}, "repetition_penalty"),
        ({"early_stopping": True}, "early_stopping"),
        ({"generation_config": GenerationConfig(no_repeat_ngram_size=2)}, "no_repeat_ngram_size"),
        ({"position_ids": LEFT}, "position_ids"),
        ({"attention_mask": RIGHT}, "pad on the left"),
        ({"num_beams": 2, "do_sample": True}, "beam search does not sample"),
    ],
)
def test_generate_refuses_what_it_does_not_have(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        model("decoder_ar").generate(TEXT, **options)


def test_what_is_not_asked_for_is_not_refused() -> None:
    plain = model("decoder_ar").generate(TEXT)
    options = {"early_stopping": False, "use_cache": True, "repetition_penalty": None}
    assert torch.equal(model("decoder_ar").generate(TEXT, **options), plain)


def typed(kind: str) -> Any:
    """Two types of token, as BERT's segments."""
    torch.manual_seed(0)
    core = CoreConfig(50, layers=2, width=16, heads=2, ffn=32, max_length=64, token_types=2)
    made: PentarchModel = CLASSES[kind](PentarchConfig(kind, core.__dict__, **TOKENS)).eval()
    lively(made.family)
    return made


@pytest.mark.parametrize("kind", ["encoder_ae", "decoder_ar", "prefix_lm", "permuted_lm"])
def test_types_of_tokens_are_read_as_the_family_reads_them(kind: str) -> None:
    asked, types = typed(kind), (torch.arange(7) > 3).long().expand(3, -1)
    with torch.no_grad():
        logits, plain = asked(TEXT, token_type_ids=types).logits, asked(TEXT).logits
        if kind == "permuted_lm":
            columns = torch.arange(5, 6).expand(3, -1)  # the query of column 5 sees those before it
            order = {"rank": torch.arange(7).expand(3, -1) + 1, "queries": columns}
            weights = (torch.arange(7) == 5).float().expand(3, -1)
            batch = Batch.of(TEXT, None, weights, token_types=types, **order)
            expected = asked.family.logits(asked.family.hidden(batch).targets)[:3]
            assert torch.allclose(logits[:, 4], expected, atol=1e-5)
        else:
            expected = asked.family.logits(asked.family.hidden(Batch.of(TEXT, token_types=types)).rows)
            assert torch.allclose(logits, expected, atol=1e-5)
    assert (logits - plain).abs().max() > 0.01
    assert torch.equal(asked(TEXT, token_type_ids=torch.zeros_like(TEXT)).logits, plain)


@pytest.mark.parametrize("kind", ["decoder_ar", "prefix_lm"])
def test_what_is_written_has_the_type_of_the_last_token(kind: str) -> None:
    asked, types = typed(kind), (torch.arange(7) > 3).long().expand(3, -1)
    written = asked.generate(TEXT, token_type_ids=types, max_new_tokens=6, eos_token_id=None)
    prompt = Batch.of(TEXT, token_types=types, is_prefix=torch.ones_like(TEXT).bool())
    assert torch.equal(written[:, 7:], asked.family.generate(prompt, 6))


SILENT: list[tuple[dict[str, Any], str]] = [
    ({"position_ids": TEXT}, "position_ids"),
    ({"inputs_embeds": TEXT.float()}, "inputs_embeds"),
    ({"past_key_values": ((TEXT,),)}, "past_key_values"),
    ({"output_hidden_states": True}, "output_hidden_states"),
    ({"output_attentions": True}, "output_attentions"),
    ({"return_dict": False}, "return_dict"),
    ({"token_type_ids": torch.ones_like(TEXT)}, "token_type_ids"),
]


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize(("given", "named"), SILENT)
def test_an_input_that_would_be_dropped_is_refused_in_one_line(
    kind: str, given: dict[str, Any], named: str
) -> None:
    texts = {"decoder_input_ids": TEXT} if kind == "encoder_decoder" else {}
    with pytest.raises(ValueError, match=named) as raised:
        model(kind)(TEXT, **texts, **given)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", ["decoder_ar", "permuted_lm"])
def test_a_prefix_is_refused_by_what_reads_none(kind: str) -> None:
    for ask in (model(kind), model(kind).generate):
        with pytest.raises(ValueError, match="prefix_mask is for a prefix_lm"):
            ask(TEXT, prefix_mask=LEFT)


@pytest.mark.parametrize("kind", CLASSES)
def test_what_pipelines_and_trainers_pass_is_taken(kind: str) -> None:
    texts = {"decoder_input_ids": TEXT} if kind == "encoder_decoder" else {}
    given = {"use_cache": True, "cache_position": torch.arange(7), "past_key_values": None}
    given |= {"return_dict": True, "output_hidden_states": False, "output_attentions": None}
    with torch.no_grad():
        plain = model(kind)(TEXT, **texts, labels=TEXT)
        out = model(kind)(TEXT, **texts, **given, labels=TEXT, num_items_in_batch=100)
    assert torch.equal(out.logits, plain.logits)
    asked = 18 if CLASSES[kind] is CLASSES["decoder_ar"] else 21
    assert torch.allclose(out.loss, plain.loss * asked / 100)
