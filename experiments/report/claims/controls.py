"""Tables of what verdicts rest on: controls, assays, what was registered, and what changed since."""

from __future__ import annotations

from experiments.evidence.claims.endpoint import Endpoint
from experiments.evidence.claims.endpoints import endpoint_of
from experiments.evidence.claims.verdicts import FALSE_VERDICTS, Assay
from experiments.report.claimed import Claimed, date
from experiments.report.claims import words
from experiments.report.claims.tables import within
from experiments.report.grid import Cell, Grid


def controls(claimed: Claimed) -> Grid:
    rows = []
    for outcome in claimed.decision.controls:
        held = outcome.held
        effect, p = Cell(""), Cell("")
        for reading in outcome.readings[:1]:
            for finding in reading.findings[:1]:
                endpoint, test = finding.endpoint, finding.test
                small = f"{within(outcome.claim, finding)}; {finding.part.text}"
                effect = Cell(f"{words.signed(endpoint, test.mean)} {endpoint.unit}", small)
                p = Cell(words.p_text(reading.p))
        if outcome.relabelling is not None:
            effect = Cell(
                f"{outcome.relabelling:.1%}", f"of relabellings gave a verdict; allowed {FALSE_VERDICTS:.0%}"
            )
        why = outcome.why + (f"; excused: {outcome.excused}" if outcome.excused else "")
        verdict = Cell("held" if held else "did not hold", why, f"verdict {'good' if held else 'bad'}")
        rows.append([Cell(outcome.name, outcome.claim.statement), verdict, effect, p])
    return Grid.of(
        "Controls", ["control", "outcome", Cell("effect", "with 95% interval"), Cell("p", "raw")], rows
    )


def assays(claimed: Claimed) -> Grid:
    rows = [[_task(each), *_assay(endpoint_of(each.endpoint), each)] for each in claimed.decision.assays]
    heads = ["task", Cell("gain over the same models from scratch", "with 95% interval"), "seeds", "assay"]
    return Grid.of("Assay of every task", heads, rows)


def _task(each: Assay) -> Cell:
    return Cell(endpoint_of(each.endpoint).title, f"by {words.place(each.cell)}")


def _assay(endpoint: Endpoint, each: Assay) -> list[Cell]:
    if each.gain is None:
        return [Cell("not measured", kind="none"), Cell(""), Cell("not passed", kind="bad")]
    passed = Cell("passed", kind="good") if each.passed else Cell("failed", kind="bad")
    return [Cell(words.gain(endpoint, each.gain), endpoint.unit), Cell(str(each.gain.seeds)), passed]


def registry(claimed: Claimed) -> Grid:
    """The registered claims, each with its hash, contrasts and endpoints."""
    rows = [
        [
            Cell(name, claim.statement),
            Cell(claimed.registered.digests[name], kind="code"),
            Cell(claim.role),
            Cell(
                "; ".join(dict.fromkeys(part.text for part in claim.parts)) or claim.arm or "", kind="prose"
            ),
            Cell(", ".join(endpoint_of(point).title for point in claim.asked), kind="prose"),
            Cell(claim.expect, kind="prose"),
        ]
        for name, claim in claimed.registered.claims.items()
    ]
    return Grid.of(
        "What was registered", ["claim", "hash", "role", "contrasts", "endpoints", "expected"], rows
    )


def deviations(claimed: Claimed) -> list[str]:
    """Every change after training began, with its time; [] if there was none."""
    return [f"{date(each['time'])}: {each['what']}" for each in claimed.registered.deviations]
