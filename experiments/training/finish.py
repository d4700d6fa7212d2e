"""The end of training: writes weights, tokenizer and audit, and only then marks the run as trained."""

from __future__ import annotations

from dataclasses import asdict

import safetensors.torch

from archs.families.family import Family
from experiments.budget.spent import audit, tell_if_off
from experiments.runs.chain import Chain, stage_of
from experiments.runs.folder import RunFolder
from experiments.storage.json_files import write_json
from experiments.storage.whole import whole
from experiments.training.devices import full_state
from experiments.training.module import Pretraining
from experiments.training.prepared import Prepared


def trained_family(module: Pretraining, prepared: Prepared) -> Family:
    """Returns the family with its full weights. All processes must call it.

    If the learner is sharded, only the first process gets the trained weights.
    """
    if module.device_mesh is None:
        return module.learner.family
    family, prefix = prepared.built.family(prepared.plan.config), "family."
    if state := full_state(module.learner):
        named = {name.removeprefix(prefix): state[name] for name in state if name.startswith(prefix)}
        family.load_state_dict(named)
    return family


def finish(run: RunFolder, module: Pretraining, family: Family, prepared: Prepared) -> None:
    """Writes weights, tokenizer and audit, then sets the run's state to "trained"."""
    recipe, parent, corpus = prepared.recipe, prepared.parent, prepared.corpus
    with whole(run.weights) as partial:
        safetensors.torch.save_model(family, str(partial))
    corpus.tokenizer.save(run.tokenizer)
    chain = Chain() if parent is None else parent.chain
    chain = chain.and_then(stage_of(run, recipe, asdict(module.spent)))
    audited = audit(prepared.plan, module.spent, family, corpus, prepared.windows)
    origin = {"chain": chain.as_json(), "init_from": None if parent is None else parent.record()}
    write_json(run.audit, audited | origin | prepared.left_out)
    tell_if_off(module.spent, recipe.budget)
    run.set_status("trained")
