"""The check of information flow on a trained run, with its own objective's batches."""

from __future__ import annotations

import torch

from archs.flow.whole_pass import FlowReport, check_flow
from experiments.data.windows import held_out
from experiments.recipe.build import mask_of
from experiments.runs.run import Run
from objectives.base import Windows

FLOW_ROWS, FLOW_WIDTH = 2, 16


def measured_flow(run: Run) -> tuple[FlowReport, str]:
    """The leak check on a short batch of the run's own objective, against the mask that the recipe names.

    Of a mixture on a batch of each part: the first that leaks, else the first; and what to say of them.
    """
    held = held_out(run.corpus.test, FLOW_ROWS, run.recipe.size.length)
    marks = None if held.marks is None else held.marks[:, :FLOW_WIDTH]
    windows = Windows(held.tokens[:, :FLOW_WIDTH], marks=marks)
    batches = run.objective.validation(windows, torch.Generator().manual_seed(0))
    reports = [check_flow(run.family, batch, mask_of(run.recipe)) for batch in batches]
    amiss = [number for number, report in enumerate(reports) if not report.ok]
    if len(reports) == 1 or not amiss:
        several = f", in all {len(reports)} parts" if len(reports) > 1 else ""
        return reports[0], f"{reports[0]}{several}"
    return reports[amiss[0]], f"part {amiss[0] + 1} of {len(reports)}: {reports[amiss[0]]}"
