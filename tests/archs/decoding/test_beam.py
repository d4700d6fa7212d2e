"""Beam search finds what Hugging Face's does, and with enough beams the best text of all."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers import GPT2Config, GPT2LMHeadModel, T5Config, T5ForConditionalGeneration
from writing import WRITERS, fills, lively, uncached

from archs import Family
from archs.batch import Batch
from archs.decoding.beam import beam_search, compared
from archs.decoding.decoding import LONGEST, STEEPEST, Decoding
from archs.decoding.generate import ended, prompts, write

Make = Callable[..., Family]
LENGTH = 9
PENALTIES = [0.0, 0.6, 1.0, 2.0, -0.5]
TOKENS = 12


class Uncached:
    """Steps over any model that gives logits (R,V) for prompts (R), by number, and what they wrote (R,t)."""

    room = None

    def __init__(self, read: Callable[[Tensor, Tensor], Tensor], rows: int) -> None:
        self.read, self.prompts, self.written = read, torch.arange(rows), torch.zeros(rows, 0).long()

    def first(self) -> Tensor:
        return self.read(self.prompts, self.written)

    def next(self, tokens: Tensor) -> Tensor:
        self.written = torch.cat((self.written, tokens[:, None]), dim=1)
        return self.first()

    def widen(self, times: int) -> None:
        self.prompts, self.written = (
            each.repeat_interleave(times, dim=0) for each in (self.prompts, self.written)
        )

    def keep(self, rows: Tensor) -> None:
        self.written = self.written[rows]


def varied(model: Any) -> Any:
    """The model with weights so large that its texts differ."""
    for weight in model.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=1.0)
    return model.eval()


def gpt2(seed: int) -> tuple[Any, dict[str, Tensor], Callable[[Tensor, Tensor], Tensor]]:
    """A model, what its `generate` is given (three prompts, left padded), and the same for `Uncached`."""
    torch.manual_seed(seed)
    shape = {"n_positions": 32, "n_embd": 16, "n_layer": 2, "n_head": 2}
    model = varied(
        GPT2LMHeadModel(GPT2Config(vocab_size=TOKENS, bos_token_id=None, eos_token_id=None, **shape))
    )
    tokens = torch.randint(TOKENS, (3, 4))
    there = torch.tensor([[1, 1, 1, 1], [0, 0, 1, 1], [0, 1, 1, 1]])

    def read(rows: Tensor, written: Tensor) -> Tensor:
        seen = torch.cat((there[rows], torch.ones_like(written)), dim=1)
        positions = (seen.cumsum(1) - 1).clamp(min=0)
        text = torch.cat((tokens[rows], written), dim=1)
        return model(text, attention_mask=seen, position_ids=positions).logits[:, -1]

    return model, {"input_ids": tokens, "attention_mask": there}, read


def t5(seed: int) -> tuple[Any, dict[str, Tensor], Callable[[Tensor, Tensor], Tensor]]:
    torch.manual_seed(seed)
    shape = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    untied = {**shape, "tie_word_embeddings": False}  # tied, it would mostly repeat itself
    config = T5Config(vocab_size=TOKENS, decoder_start_token_id=0, eos_token_id=None, **untied)
    model = varied(T5ForConditionalGeneration(config))
    source = torch.randint(TOKENS, (3, 5))
    there = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 0, 0, 0]])

    def read(rows: Tensor, written: Tensor) -> Tensor:
        text = functional.pad(written, (1, 0), value=0)
        return model(source[rows], attention_mask=there[rows], decoder_input_ids=text).logits[:, -1]

    return model, {"input_ids": source, "attention_mask": there}, read


@torch.no_grad()
def both(make: Callable, seed: int, how: Decoding) -> tuple[Tensor, Tensor]:
    """What we write and what Hugging Face's `generate` does: (3,LENGTH) each, -1 after a stop token."""
    model, given, read = make(seed)
    barred = None if how.forbid is None else how.forbid.nonzero().flatten().tolist()
    theirs = model.generate(
        **given,
        max_new_tokens=LENGTH,
        num_beams=how.beams,
        length_penalty=how.length_penalty,
        early_stopping=False,
        do_sample=False,
        eos_token_id=list(how.stop) or None,
        pad_token_id=0,
        suppress_tokens=barred,
    )
    theirs = theirs[:, 1:] if model.config.is_encoder_decoder else theirs[:, given["input_ids"].shape[1] :]
    theirs = functional.pad(ended(theirs, how.stop), (0, LENGTH - theirs.shape[1]), value=-1)
    return write(Uncached(read, 3), LENGTH, how), theirs


@pytest.mark.slow
@pytest.mark.parametrize("beams", [1, 2, 4])
@pytest.mark.parametrize("model", [gpt2, t5], ids=["GPT-2", "T5"])
def test_beams_write_what_hugging_face_writes(model: Callable, beams: int) -> None:
    lengths = set()
    for seed in range(4):
        for penalty in PENALTIES if beams > 1 else [1.0]:
            for stop in ((0, 1, 2, 3, 4, 6, 7, 9), (3, 7), (5,), ()):  # of twelve tokens
                how = Decoding(beams=beams, length_penalty=penalty, stop=stop)
                ours, theirs = both(model, seed, how)
                assert ours.tolist() == theirs.tolist(), (seed, penalty, stop)
                lengths |= set((ours >= 0).sum(1).tolist())
    assert len(lengths) > 3, "texts of many lengths were compared"


def test_forbidden_tokens_are_left_out_of_beams_as_hugging_face_does() -> None:
    forbid = torch.zeros(TOKENS, dtype=torch.bool)
    forbid[[0, 2, 4, 6]] = True
    for seed in range(4):
        ours, theirs = both(gpt2, seed, Decoding(beams=3, stop=(3,), forbid=forbid))
        assert ours.tolist() == theirs.tolist()


SMALL = 4  # tokens of the vocabulary, of which the last ends a text
STEPS = 3


def three_more(kind: str) -> tuple[Batch, list[int]]:
    """Two prompts and how many tokens each can take: a row of blanks has fewer."""
    if not fills(kind):
        return prompts([[0, 1, 2], [2]], [[1, 1, 0], [2, 0]]), [STEPS, STEPS]
    blank = torch.tensor([[0, 0, 1, 1, 1], [1, 0, 1, 0, 0]]).float()
    return Batch.of(torch.tensor([[0, 1, 0, 0, 0], [0, 2, 0, 1, 0]]), weights=blank), [STEPS, 2]


def texts_that_end(room: int) -> list[tuple[int, ...]]:
    """All texts of `room` tokens, and the shorter ones that end in the stop token."""
    end, others = SMALL - 1, range(SMALL - 1)
    early = [(*text, end) for t in range(room) for text in product(others, repeat=t)]
    return early + list(product(others, repeat=room))


def nats(family: Family, batch: Batch, row: int, text: tuple[int, ...]) -> float:
    """Log-probability of one row's text, by uncached passes."""
    batch, written = batch.rows(torch.tensor([row])), torch.tensor([text])
    return sum(
        float(uncached(family, batch, written[:, :t]).log_softmax(-1)[0, token])
        for t, token in enumerate(text)
    )


@pytest.mark.parametrize("kind", WRITERS)
def test_with_beams_for_all_texts_the_best_of_all_is_found(kind: str, make_family: Make) -> None:
    family, (batch, rooms) = lively(make_family(kind, vocabulary=SMALL)), three_more(kind)
    texts = [
        {text: nats(family, batch, row, text) for text in texts_that_end(rooms[row])} for row in range(2)
    ]
    found = set()
    for penalty in PENALTIES:
        how = Decoding(beams=SMALL**STEPS, length_penalty=penalty, stop=(SMALL - 1,))
        for row, tokens in enumerate(family.generate(batch, STEPS, how).tolist()):
            scores = {text: total / len(text) ** penalty for text, total in texts[row].items()}
            text = tuple(token for token in tokens if token >= 0)
            assert scores[text] == pytest.approx(max(scores.values()), abs=1e-5)
            found.add(text)
    assert len(found) > 1, "penalties matter here"


@pytest.mark.parametrize("penalty", [-STEEPEST, STEEPEST])
def test_the_steepest_penalties_leave_long_texts_apart(penalty: float) -> None:
    for t in (1, LONGEST):
        worse, better = compared(torch.tensor([-20.0 * t, -10.0 * t]), t, penalty)
        assert -torch.inf < worse < better < 0


@pytest.mark.parametrize("kind", WRITERS)
def test_a_beam_of_width_one_is_greedy(kind: str, make_family: Make) -> None:
    batch, _ = three_more(kind)
    for seed in range(4):
        family = lively(make_family(kind, seed=seed, vocabulary=SMALL))
        for stop in ((3,), (1, 2), ()):
            greedy = family.generate(batch, STEPS, Decoding(stop=stop))
            with torch.no_grad():
                narrow = beam_search(family.steps(batch, STEPS), STEPS, Decoding(stop=stop))
            assert narrow.tolist() == greedy.tolist()


def test_the_prompt_is_read_once_whatever_the_beams(make_family: Make) -> None:
    family, read = make_family("encoder_decoder"), []
    family.encoder.register_forward_pre_hook(lambda _, given: read.append(("encoder", *given[0].shape[:2])))
    family.decoder.register_forward_pre_hook(lambda _, given: read.append(("decoder", *given[0].shape[:2])))
    family.generate(prompts([[0, 1], [2, 3]], [[4], [5]]), 3, Decoding(beams=4))
    assert read == [("encoder", 2, 1), ("decoder", 2, 2), ("decoder", 8, 1), ("decoder", 8, 1)]
