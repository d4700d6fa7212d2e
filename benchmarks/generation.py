"""Speed of generation against Hugging Face's `generate`, with the same imported weights.

    python -m benchmarks.generation [REPEATS]

GPT-2, T5 and BART with random weights in three sizes; greedy; prompts of 16 tokens and 64 new ones; one and
sixteen prompts; on the CPU, and on a GPU if there is one. Both write in one process, in turns. A row has the
median of the ratios of neighbours and their middle half (the spread). Goal: 2 on a CPU with one prompt.
Different tokens are an error.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
import transformers
from rich.console import Console
from rich.table import Table
from torch import Tensor
from transformers import PreTrainedModel

from archs.core.single_row import lay_out_for_rows
from archs.decoding.generate import prompts
from archs.families.family import Family
from archs.hf import from_hf
from archs.hf.cases import build
from benchmarks.measuring import Spread, in_turns, machine, ratio

PROMPT, NEW, GOAL = 16, 64, 2.0
# name: layers, width, heads, vocabulary
SIZES = {"mini": (4, 128, 4, 4096), "small": (4, 256, 4, 8192), "base": (12, 768, 12, 32_000)}
BATCHES = (1, 16)
START = {"t5": 0, "bart": 2}


def arguments(model_type: str, size: str) -> dict[str, Any]:
    """The configuration of this architecture and size; no token ends a text."""
    layers, width, heads, vocabulary = SIZES[size]
    if model_type == "gpt2":
        shape: dict[str, Any] = {"n_embd": width, "n_layer": layers, "n_head": heads, "n_positions": 256}
        return shape | {
            "vocab_size": vocabulary,
            "pad_token_id": 0,
            "bos_token_id": None,
            "eos_token_id": None,
        }
    if model_type == "t5":
        shape = {"d_model": width, "num_layers": layers, "num_heads": heads, "d_kv": width // heads}
        return shape | {"d_ff": 4 * width, "vocab_size": vocabulary, "eos_token_id": None}
    shape = {"d_model": width, "vocab_size": vocabulary, "max_position_embeddings": 256}
    for side in ("encoder", "decoder"):
        shape |= {f"{side}_layers": layers, f"{side}_attention_heads": heads, f"{side}_ffn_dim": 4 * width}
    return shape | {"eos_token_id": None, "forced_eos_token_id": None, "bos_token_id": None}


def theirs(model: PreTrainedModel, tokens: Tensor) -> Tensor:
    options: dict[str, Any] = {"max_new_tokens": NEW, "do_sample": False, "pad_token_id": 0}
    if model.config.is_encoder_decoder:
        options["decoder_start_token_id"] = START[model.config.model_type]
    written = model.generate(tokens, attention_mask=torch.ones_like(tokens), **options)  # type: ignore[operator]
    return written[:, -NEW:]


def ours(family: Family, tokens: Tensor, model_type: str) -> Tensor:
    rows = tokens.tolist()
    batch = prompts([[START[model_type]]] * len(rows), rows) if model_type in START else prompts(rows)
    return family.generate(batch.to(tokens.device), NEW)


def interleaved(
    one: Callable[[], Tensor], two: Callable[[], Tensor], repeats: int
) -> tuple[list[float], list[float]]:
    """Seconds of both in each repeat. A first call of each warms up and must give the same tokens."""
    if not torch.equal(one(), two()):
        raise AssertionError("the two did not write the same tokens")
    first, second = in_turns([one, two], repeats, warm_up=0)
    return first, second


def rows(device: str, repeats: int) -> Iterator[tuple[str, ...]]:
    for model_type in ("gpt2", "t5", "bart"):
        for size in SIZES:
            model: Any = build(model_type, arguments(model_type, size))
            model.to(device)
            family = from_hf(model).to(device)
            lay_out_for_rows(family)  # as `pentarch generate` does
            for batch in BATCHES:
                rng = torch.Generator().manual_seed(0)
                tokens = torch.randint(3, SIZES[size][3], (batch, PROMPT), generator=rng).to(device)
                of_theirs, of_ours = interleaved(
                    lambda: theirs(model, tokens),  # noqa: B023 - called at once
                    lambda: ours(family, tokens, model_type),  # noqa: B023
                    repeats,
                )
                times = ratio(of_ours, of_theirs)
                speeds = [batch * NEW / Spread.of(seconds).median for seconds in (of_theirs, of_ours)]
                yield (
                    *(device, model_type, size, str(batch)),
                    *(f"{speed:,.0f}" for speed in speeds),
                    f"{times.median:.2f} [{times.low:.2f}, {times.high:.2f}]",
                )


def main() -> None:
    logging.disable(logging.WARNING)
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    table = Table(title=f"generated tokens a second, {NEW} after {PROMPT}, greedy, float32")
    for name in ("device", "model", "size", "prompts", "transformers", "pentarch", "ratio [middle half]"):
        table.add_column(name, justify="right")
    for device in devices:
        for row in rows(device, repeats):
            table.add_row(*row)
            print(*row, file=sys.stderr)
    console = Console(width=110)
    console.print(table)
    console.print(
        f"{machine()}, transformers {transformers.__version__}, {repeats} repeats. Goal: {GOAL} on a "
        "CPU with one prompt."
    )


if __name__ == "__main__":
    main()
