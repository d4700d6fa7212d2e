"""Text written by a trained run: samples for the report, and `pentarch generate`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from archs.core.single_row import lay_out_for_rows
from archs.decoding.decoding import Decoding, check_length
from experiments.data.windows import held_out
from experiments.evaluation.scoring.checks import require_language_model
from experiments.runs.run import Run, restore

PROMPT, CONTINUATION = 32, 32  # tokens of a sample
TEMPERATURE = 0.8


def samples(run: Run) -> list[dict[str, str]]:
    """Continuations of held-out text by the pretrained family, prompted as its objective prompts it.

    [] if the objective did not train a head that predicts tokens.
    """
    wanted = run.recipe.evaluation.samples
    if not wanted or not run.objective.language_model:
        return []
    prompts = held_out(run.corpus.test, wanted, PROMPT, seed=1).tokens
    written = continue_text(run, prompts, CONTINUATION, Decoding(temperature=TEMPERATURE))
    decode = run.corpus.tokenizer.decode
    return [
        {"prompt": decode(prompt), "continuation": decode(tokens), "decoding": run.family.decoding}
        for prompt, tokens in zip(prompts.tolist(), written.tolist(), strict=True)
    ]


def continue_text(run: Run, prompts: torch.Tensor, length: int, how: Decoding) -> torch.Tensor:
    """prompts (B,L) -> new tokens (B,length), never special ones."""
    batch = run.objective.prompt(prompts, length).to(run.device)
    rng = torch.Generator(run.device).manual_seed(run.recipe.seed)
    how = replace(how, forbid=run.corpus.vocabulary.special)
    return run.family.generate(batch, length, how, rng)


def generate_text(folder: Path, prompt: str, length: int, how: Decoding) -> str:
    """The prompt and `length` more tokens, by the run's own decoder."""
    check_length(length)  # before the objective builds a prompt of this length
    run = restore(folder)
    require_language_model(run.objective)
    lay_out_for_rows(run.family)
    tokens = torch.tensor([run.corpus.tokenizer.encode(prompt)], dtype=torch.long)
    return prompt + run.corpus.tokenizer.decode(continue_text(run, tokens, length, how)[0].tolist())
