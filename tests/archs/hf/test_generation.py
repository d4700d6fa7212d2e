"""What imported families write is what Hugging Face's `generate` writes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from references import NAMES, made
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from archs import Family
from archs.batch import PADDING, Batch
from archs.decoding.decoding import GREEDY, Decoding
from archs.decoding.generate import prompts
from archs.hf import from_hf
from archs.hf.cases import build
from archs.hf.samples import hidden_by, mapping

LENGTHS, NEW = (5, 1, 8, 3), 12
START, PAD = 3, 0
WRITERS = [name for name, (kind, _) in NAMES.items() if kind in ("gpt2", "llama", "t5", "bart")]
SEARCHES = [
    GREEDY,
    *(Decoding(beams=n, length_penalty=p) for n, p in ((2, 0.5), (2, 1.0), (2, 2.0))),
    *(Decoding(beams=n, length_penalty=p) for n, p in ((4, 0.0), (4, 0.5), (4, 1.0), (4, 2.0), (3, -1.0))),
]


def texts(seed: int) -> list[list[int]]:
    rng = torch.Generator().manual_seed(seed)
    return [torch.randint(4, 61, (length,), generator=rng).tolist() for length in LENGTHS]


def ours(family: Family, rows: list[list[int]], how: Decoding) -> Tensor:
    pairs = family.layout == "source_target"
    batch = prompts([[START]] * len(rows), rows) if pairs else prompts(rows)
    return family.generate(batch, NEW, how)


def theirs(model: PreTrainedModel, rows: list[list[int]], how: Decoding) -> Tensor:
    """What Hugging Face writes (B,NEW), PADDING after a stop token.

    Sources are padded on the right, since BART counts positions from the slot; prompts on the left.
    """
    pairs, longest = model.config.is_encoder_decoder, max(LENGTHS)
    fill = [[PAD] * (longest - len(row)) for row in rows]
    ids = torch.tensor([row + pad if pairs else pad + row for row, pad in zip(rows, fill, strict=True)])
    lengths, cells = torch.tensor(LENGTHS)[:, None], torch.arange(longest)
    options: dict[str, Any] = {"decoder_start_token_id": START} if pairs else {}
    if how.beams > 1:
        options |= {"num_beams": how.beams, "length_penalty": how.length_penalty, "early_stopping": False}
    out: Any = model.generate(  # pyright: ignore[reportCallIssue]
        input_ids=ids,
        attention_mask=(cells < lengths if pairs else cells >= longest - lengths).long(),
        max_new_tokens=NEW,
        do_sample=False,
        eos_token_id=list(how.stop) or None,
        pad_token_id=PAD,
        forced_eos_token_id=None,
        use_cache=model.config.model_type != "t5",  # its cache has as many layers as the encoder
        **options,
    )
    new = out[:, 1 if pairs else longest :]
    stops = torch.isin(new, torch.tensor(how.stop, dtype=torch.long))
    written = new.masked_fill(stops.cumsum(1) - stops.long() > 0, PADDING)
    return functional.pad(written, (0, NEW - written.shape[1]), value=PADDING)


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
def test_greedy_and_beam_search_write_what_hugging_face_s_generate_writes(name: str) -> None:
    ended = full = 0
    for seed in range(2):
        model, rows = build(*NAMES[name], seed=seed), texts(seed)
        family = from_hf(model)
        often = [token for token, _ in Counter(ours(family, rows, GREEDY).flatten().tolist()).most_common(2)]
        for stop in (often[:1], often, []):
            for search in SEARCHES:
                how = Decoding(beams=search.beams, length_penalty=search.length_penalty, stop=tuple(stop))
                written = ours(family, rows, how)
                assert written.tolist() == theirs(model, rows, how).tolist(), (seed, how)
                ended += int((written == PADDING).any(1).sum())
                full += int((written != PADDING).all(1).sum())
    assert min(ended, full) > 20  # texts that end early, and such that do not


@torch.no_grad()
def xlnet_loop(model: PreTrainedModel, row: list[int], length: int) -> list[int]:
    """Greedy, one target at the end at a time: the prompt sees itself, what is written what is before it."""
    written: list[int] = []
    for number in range(length):
        tokens = torch.tensor([[*row, *written, PAD]])
        rank = torch.tensor([[0] * len(row) + list(range(1, number + 2))])
        last = torch.tensor([[tokens.shape[1] - 1]])
        out = model(tokens, perm_mask=hidden_by(rank), target_mapping=mapping(last, tokens.shape[1]))
        written.append(int(out.logits[0, 0].argmax()))
    return written


@pytest.mark.parametrize("seed", range(3))
def test_greedy_of_a_permuted_lm_writes_what_xlnet_answers_one_target_at_a_time(seed: int) -> None:
    model, rows = made("xlnet", seed), texts(seed)
    family, longest = from_hf(model), max(LENGTHS)
    tokens = torch.tensor([[PAD] * (longest - len(row)) + row + [PAD] * NEW for row in rows])
    cells = torch.arange(longest + NEW)
    batch = Batch.of(
        tokens,
        weights=(cells >= longest).expand(len(rows), -1).float(),
        segments=(cells >= longest - torch.tensor(LENGTHS)[:, None]).long() - 1,
    )
    written = family.generate(batch, NEW).tolist()
    assert written == [xlnet_loop(model, row, NEW) for row in rows]
    assert len({tuple(row) for row in written}) == len(rows)
