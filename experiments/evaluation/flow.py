"""The check of information flow on a trained run, on batches of its own objective."""

from __future__ import annotations

import torch

from archs.flow.whole_pass import FlowReport, check_flow
from experiments.data.windows import held_out
from experiments.recipe.build import mask_of
from experiments.runs.run import Run
from objectives.base import Windows

FLOW_ROWS, FLOW_WIDTH = 2, 16


def measured_flow(run: Run) -> tuple[FlowReport, str]:
    """Checks a short batch of the run's objective for leaks, against the mask that the recipe names.

    A mixture is checked on a batch of each part. Returns the report of the first part that leaks, or of the
    first part if none does; and one line of text on all of them.
    """
    held = held_out(run.corpus.test, FLOW_ROWS, run.recipe.size.length)
    marks = None if held.marks is None else held.marks[:, :FLOW_WIDTH]
    windows = Windows(held.tokens[:, :FLOW_WIDTH], marks=marks)
    batches = run.objective.validation(windows, torch.Generator().manual_seed(0))
    reports = [check_flow(run.family, batch, mask_of(run.recipe)) for batch in batches]
    failed = [number for number, report in enumerate(reports) if not report.ok]
    if len(reports) == 1 or not failed:
        several = f", in all {len(reports)} parts" if len(reports) > 1 else ""
        return reports[0], f"{reports[0]}{several}"
    return reports[failed[0]], f"part {failed[0] + 1} of {len(reports)}: {reports[failed[0]]}"
