"""Generation by likelihood: the nats of the removed middle of a sentence, given both its sides.

Every family has the same question, loss and head. Each single stack is finetuned on [source; target] under
the prefix mask, so that an encoder-AE has a true NLL too; an encoder-decoder is finetuned as it is.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import torch

from archs.errors import UserError
from archs.families.family import Family
from archs.families.permuted_lm import PermutedLM
from archs.families.prefix_lm import PrefixLM
from archs.families.single_stack import SingleStack
from experiments.evaluation.builtin.fill import ROWS_AT_ONCE, finetuned, pairs, with_gap
from experiments.runs.run import Run
from experiments.tasks.builtin.infill import Infill
from objectives.conditional import Conditional


def target(run: Run, train: Infill, test: Infill) -> pd.DataFrame:
    """One row for each gap: item, document, nats, the number of tokens and their UTF-8 bytes.

    Teacher-forced, after finetuning on `train`. Only the gap's tokens are scored, without an end token, so
    that no family is scored on a length. Raises UserError for a family without a true likelihood.
    """
    vocabulary = run.corpus.vocabulary
    run = replace(run, family=writer(run.family))
    asks = Conditional(vocabulary, run.family.layout)
    family = finetuned(run, asks, train)
    source, nats = with_gap(test, vocabulary), []
    with torch.no_grad():
        for rows in torch.arange(len(source)).split(ROWS_AT_ONCE):
            batch = pairs(asks, source[rows], test.gap[rows], test.real[rows], torch.Generator())
            nats += (-family.score(batch.to(run.device)).nats.sum(dim=1)).tolist()
    lengths = run.corpus.byte_lengths("test")[test.gap.numpy()] * test.real.numpy()
    return pd.DataFrame(
        {
            "item": range(len(nats)),
            "document": test.documents,
            "nats": nats,
            "tokens": test.lengths.numpy(),
            "bytes": lengths.sum(axis=1),
        }
    )


def writer(family: Family) -> Family:
    """The family to finetune: a single stack's modules under the prefix mask, or another family itself.

    Raises UserError for a user's family that has neither a single stack nor a true likelihood.
    """
    if isinstance(family, SingleStack | PermutedLM):
        return PrefixLM.of(family)
    if family.unit != "nll":
        raise UserError(
            f"the target task needs a true likelihood, and family '{family.kind}' has the unit "
            f"'{family.unit}'; derive it from SingleStack, or set evaluation.target=false"
        )
    return family
