"""One run on several devices of one machine: what is copied, what is divided, Lightning's loop over it."""

from __future__ import annotations

import signal
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Any

import lightning
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.strategies import ModelParallelStrategy, Strategy
from torch import Tensor, nn

from archs.core.matrix_products import by_onednn
from archs.errors import UserError
from experiments.recipe.groups.training import TrainingConfig
from experiments.training.learner import Learner
from experiments.training.memory import keep_freed_memory
from experiments.training.process import is_first_process
from objectives.base import Loss

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


def make_trainer(
    settings: TrainingConfig,
    steps: int,
    accelerator: str,
    devices: int = 1,
    accumulate: int = 1,
    unused: bool = False,
) -> lightning.Trainer:
    """Lightning's loop and nothing around it. unused: some step may leave parameters without a gradient.

    Raises UserError if this machine has no such accelerator.
    """
    try:
        return lightning.Trainer(
            accelerator=accelerator,
            devices=devices,
            strategy="auto" if devices == 1 else strategy(settings, devices, unused),
            # Not what Lightning detects: in a Slurm job it would want a task of the job for each process,
            # and requeue the job by itself.
            plugins=[LightningEnvironment()],
            callbacks=[] if devices == 1 else [EndedBySignals()],
            precision=settings.precision,
            accumulate_grad_batches=accumulate,
            gradient_clip_val=settings.clip,
            max_steps=steps,
            max_epochs=-1,
            use_distributed_sampler=False,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except MisconfigurationException as error:
        raise UserError(
            f"training.accelerator={accelerator} with training.devices={devices} cannot be had here: {error} "
            "Set training.accelerator=auto, or fewer devices"
        ) from error


def strategy(settings: TrainingConfig, devices: int, unused: bool) -> str | Strategy:
    """DDP (Li et al. 2020) copies the learner to every device, FSDP2 (Zhao et al. 2023) divides it."""
    if settings.strategy == "fsdp2":
        return ModelParallelStrategy(
            data_parallel_size=devices, tensor_parallel_size=1, save_distributed_checkpoint=False
        )
    return "ddp_find_unused_parameters_true" if unused else "ddp"


def fit(trainer: lightning.Trainer, *what: Any, **how: Any) -> None:
    """Lightning's `fit`, by the faster products where it runs on a CPU, and freed memory kept."""
    keep_freed_memory()
    with by_onednn(trainer.strategy.root_device):
        trainer.fit(*what, **how)


class EndedBySignals(lightning.Callback):
    """Lightning's handler of SIGTERM would broadcast in the midst of a step's own collectives, and hang."""

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def shard(learner: Learner, mesh: DeviceMesh) -> None:
    """Divides all parameters over the processes of the mesh, in place: each layer as one, then the rest.

    The rest is gathered by the learner's own forward: a family's `hidden` alone would read shards.
    """
    from torch.distributed.fsdp import fully_shard

    _let_hooks_see_losses()
    for layer in layers(learner):
        fully_shard(layer, mesh=mesh)
    fully_shard(learner, mesh=mesh)


def layers(learner: nn.Module) -> list[nn.Module]:
    """Children of its ModuleLists, inner ones first, without those that share a parameter with others.

    A parameter is gathered by one module's forward; what is shared is gathered by the learner's.
    """
    everywhere = _uses(learner)
    lists = [module for module in learner.modules() if isinstance(module, nn.ModuleList)]
    found = dict.fromkeys(layer for each in reversed(lists) for layer in each)
    return [layer for layer in found if _uses(layer).items() <= everywhere.items()]


def _uses(module: nn.Module) -> Counter[nn.Parameter]:
    return Counter(parameter for _, parameter in module.named_parameters(remove_duplicate=False))


@cache
def _let_hooks_see_losses() -> None:
    # FSDP2 hangs its backward hooks on the tensors in what a forward returns, and finds none in a dataclass.
    from torch.export import register_dataclass

    register_dataclass(Loss)


def full_state(learner: Learner) -> dict[str, Tensor]:
    """A divided learner's state by name, each tensor in full on the CPU.

    Every process must ask, for all take part; the first is given it, the others nothing.
    """
    from torch.distributed.tensor import DTensor

    state = {}
    for name, value in learner.state_dict().items():
        full = value.full_tensor() if isinstance(value, DTensor) else value
        if is_first_process():
            state[name] = full.cpu()
    return state
