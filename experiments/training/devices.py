"""One run on one or several devices of a machine: Lightning's trainer, with DDP or FSDP2."""

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
    """Returns Lightning's trainer without its loggers, checkpoints and progress bars.

    steps: optimiser steps at most; accumulate: batches to an optimiser step; unused: whether a step may leave
    some parameters without a gradient, which DDP must know. Raises UserError if this machine lacks the
    accelerator, or has too few devices of it.
    """
    try:
        return lightning.Trainer(
            accelerator=accelerator,
            devices=devices,
            strategy="auto" if devices == 1 else strategy(settings, devices, unused),
            # Named, so that Lightning does not detect Slurm: in a Slurm job it would expect a task of the job
            # for each process, and requeue the job by itself.
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
            f"training.accelerator={accelerator} with training.devices={devices} is not available here: "
            f"{error} Set training.accelerator=auto, or fewer devices"
        ) from error


def strategy(settings: TrainingConfig, devices: int, unused: bool) -> str | Strategy:
    """Returns the strategy for several devices.

    DDP (Li et al. 2020) copies the learner to every device; FSDP2 (Zhao et al. 2023) shards it over them.
    """
    if settings.strategy == "fsdp2":
        return ModelParallelStrategy(
            data_parallel_size=devices, tensor_parallel_size=1, save_distributed_checkpoint=False
        )
    return "ddp_find_unused_parameters_true" if unused else "ddp"


def fit(trainer: lightning.Trainer, *arguments: Any, **options: Any) -> None:
    """Calls Lightning's `fit`, with oneDNN's faster matrix products on a CPU, and keeps freed memory."""
    keep_freed_memory()
    with by_onednn(trainer.strategy.root_device):
        trainer.fit(*arguments, **options)


class EndedBySignals(lightning.Callback):
    """Lets SIGTERM end the process at once.

    Lightning's own handler would broadcast in the middle of a step's collectives, and hang.
    """

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def shard(learner: Learner, mesh: DeviceMesh) -> None:
    """Shards all parameters over the processes of the mesh, in place: each layer as a unit, then the rest.

    The rest is gathered in the learner's own forward, so call that: a family's `hidden` by itself would read
    shards.
    """
    from torch.distributed.fsdp import fully_shard

    _let_hooks_see_losses()
    for layer in layers(learner):
        fully_shard(layer, mesh=mesh)
    fully_shard(learner, mesh=mesh)


def layers(learner: nn.Module) -> list[nn.Module]:
    """Returns the children of the learner's ModuleLists that can be sharded as units, inner ones first.

    A child that shares a parameter with other modules is left out. One module's forward gathers a parameter,
    so a shared one is left to the learner's.
    """
    everywhere = _uses(learner)
    lists = [module for module in learner.modules() if isinstance(module, nn.ModuleList)]
    children = dict.fromkeys(layer for each in reversed(lists) for layer in each)
    return [layer for layer in children if _uses(layer).items() <= everywhere.items()]


def _uses(module: nn.Module) -> Counter[nn.Parameter]:
    """Returns how often the module and those inside it hold each parameter."""
    return Counter(parameter for _, parameter in module.named_parameters(remove_duplicate=False))


@cache
def _let_hooks_see_losses() -> None:
    # FSDP2 attaches its backward hooks to the tensors in a forward's output. It looks into a dataclass only
    # if that is registered.
    from torch.export import register_dataclass

    register_dataclass(Loss)


def full_state(learner: Learner) -> dict[str, Tensor]:
    """Returns {name: tensor} of a sharded learner, each tensor in full on the CPU.

    Every process must call it, since each sends its shards. The first gets the state, the others get {}.
    """
    from torch.distributed.tensor import DTensor

    state = {}
    for name, value in learner.state_dict().items():
        full = value.full_tensor() if isinstance(value, DTensor) else value
        if is_first_process():
            state[name] = full.cpu()
    return state
