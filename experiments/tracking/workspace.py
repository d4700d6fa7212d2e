"""Defines a W&B workspace for a sweep: its panels, their metrics and their x-axes.

Panels name metrics that runs log (`tests/experiments/tracking/test_tracking_workspace.py` compares them).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from archs.errors import UserError
from experiments.storage.json_files import write_json

if TYPE_CHECKING:
    from wandb_workspaces.reports.v2 import BarPlot, LinePlot
    from wandb_workspaces.workspaces import Workspace

ARM, FAMILY = "JobType", "family.name"
BUDGETS = {"tokens": "raw tokens", "flops": "training FLOPs", "targets": "supervised targets"}
AUDIT = {
    "audit/plan/deviation": "Distance of the matched quantity from the reference",
    "audit/spent/flops": "Training FLOPs spent",
    "audit/spent/tokens": "Raw tokens read",
    "audit/spent/targets": "Supervised targets",
    "audit/parameters": "Parameters",
}


def workspace(entity: str, project: str, sweep: str | None) -> Workspace:
    """Returns the workspace of one sweep's runs, or of all, grouped by arm.

    Raises UserError if the package wandb-workspaces is missing.
    """
    try:
        import wandb_workspaces.reports.v2 as panels
        import wandb_workspaces.workspaces as ws
        from wandb_workspaces.expr import And
    except ImportError as error:
        raise UserError(
            'a workspace needs a package that is missing: pip install "pentarch[workspaces]"'
        ) from error
    from experiments.evidence.results import METRICS

    def section(name: str, *shown: Any) -> ws.Section:
        return ws.Section(name=name, panels=list(shown), is_open=True)

    audit = [_bars(name, title, by=ARM) for name, title in AUDIT.items()]
    scores = [_bars(f"score/{metric.name}", f"{metric.title}, {metric.unit}", FAMILY) for metric in METRICS]
    # A job type is an arm; its seeds are drawn as their mean and range.
    return ws.Workspace(
        entity=entity,
        project=project,
        name=f"pentarch: {sweep or 'all sweeps'}",
        sections=[
            section("Training loss", *(_curve("loss", axis) for axis in BUDGETS)),
            section("Validation loss", *(_curve("validation_loss", axis) for axis in BUDGETS)),
            section("Task scores by family", *scores),
            section("Budget audit", *audit, panels.WeavePanelSummaryTable(table_name="audit_table")),
            section(
                "Samples, and who sees whom",
                panels.WeavePanelSummaryTable(table_name="samples"),
                panels.MediaBrowser(media_keys=["who_sees_whom"]),
            ),
        ],
        runset_settings=ws.RunsetSettings(
            filters="" if sweep is None else And(ws.Metric("Group") == sweep),
            groupby=[ws.Metric(ARM)],
            pinned_columns=[f"summary:score/{metric.name}" for metric in METRICS],
        ),
    )


def _curve(metric: str, axis: str) -> LinePlot:
    """Returns a plot of a metric over what was spent, with both axes logarithmic, as for scaling laws."""
    import wandb_workspaces.reports.v2 as panels

    title = f"{metric.replace('_', ' ').capitalize()} against {BUDGETS[axis]}"
    return panels.LinePlot(
        title=title,
        x=axis,
        y=[metric],
        title_x=BUDGETS[axis],
        title_y="nats",
        log_x=True,
        log_y=True,
        groupby=ARM,
        groupby_aggfunc="mean",
        groupby_rangefunc="minmax",
    )


def _bars(metric: str, title: str, by: str) -> BarPlot:
    import wandb_workspaces.reports.v2 as panels

    return panels.BarPlot(
        title=title,
        metrics=[metric],
        groupby=panels.Config(by) if by == FAMILY else by,
        groupby_aggfunc="mean",
        groupby_rangefunc="minmax",
    )


def write(page: Workspace, file: Path) -> None:
    """Writes the workspace's definition, without network. Raises UserError if it cannot be written."""
    try:
        write_json(file, page._spec)
    except OSError as error:
        raise UserError(f"'{file}' cannot be written ({error.strerror}); give another FILE") from error


def save(page: Workspace) -> str:
    """Saves the workspace to W&B. Returns its address. Raises UserError if W&B refuses or is not reached."""
    import requests
    from wandb.errors import Error

    try:
        return page.save().url
    except (Error, requests.RequestException, ValueError) as error:
        raise UserError(
            f"the workspace was not saved to {page.entity}/{page.project}: {error}; log in with `wandb "
            "login`, or write its definition with --json FILE"
        ) from error
