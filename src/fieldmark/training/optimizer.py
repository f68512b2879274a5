"""Optimizers and learning-rate schedules, and the optimizer's state as tensors."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, assert_never

from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer


class OptimizerKind(StrEnum):
    """Optimizers."""

    ADAMW = "adamw"
    SGD = "sgd"


class ScheduleKind(StrEnum):
    """Courses of the learning rate over a run."""

    CONSTANT = "constant"
    COSINE = "cosine"
    STEP = "step"


@dataclass(frozen=True, slots=True)
class OptimizerOptions:
    """Options of an optimizer.

    Args:
        lr: The rate at which the schedule's factor is 1.
        momentum: For SGD; AdamW uses its default betas.
        weight_decay: For weight matrices and kernels of the network; not for biases, scales and losses.
        clip_norm: Largest norm of the network's gradient; None for no limit.
    """

    kind: OptimizerKind
    lr: float
    momentum: float
    weight_decay: float
    clip_norm: float | None


@dataclass(frozen=True, slots=True)
class Schedule:
    """The factor on the learning rate, a function of the step alone.

    Args:
        warmup_epochs: The rate rises linearly over these; the schedule begins after them.
        step_epochs: For "step": epochs between two cuts.
        step_factor: For "step": the factor of a cut.
        is_early: For "step": each cut comes one epoch early, as where torch after 1.0 runs a script that steps the
            schedule first. Under torch 1.0, which the released code names, that order cut at the right time.
    """

    kind: ScheduleKind
    warmup_epochs: float
    step_epochs: int
    step_factor: float
    is_early: bool

    def compute_factor(self, step: int, *, steps_per_epoch: int, step_count: int) -> float:
        """Return the factor for one step of a run.

        Args:
            step: Counted from 0 over the whole run.
            step_count: Steps of the whole run; "cosine" comes near 0 at its end.
        """
        warmup_steps = round(self.warmup_epochs * steps_per_epoch)
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        step, step_count = step - warmup_steps, step_count - warmup_steps
        match self.kind:
            case ScheduleKind.CONSTANT:
                return 1.0
            case ScheduleKind.COSINE:
                return 0.5 * (1.0 + math.cos(math.pi * step / step_count))
            case ScheduleKind.STEP:
                epoch = step // steps_per_epoch + int(self.is_early)
                return self.step_factor ** (epoch // self.step_epochs)
        assert_never(self.kind)


def build_optimizer(
    network: nn.Module, *, losses: Iterable[tuple[nn.Module, float]], options: OptimizerOptions
) -> Optimizer:
    """Build an optimizer of all trainable parameters.

    Args:
        losses: Losses and the factor on the rate of their parameters.
    """
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [each for each in trained if each.ndim >= 2], "lr_scale": 1.0},
        {"params": [each for each in trained if each.ndim < 2], "lr_scale": 1.0, "weight_decay": 0.0},
    ]
    groups += [
        {"params": list(module.parameters()), "lr_scale": lr_scale, "weight_decay": 0.0} for module, lr_scale in losses
    ]
    filled = [group for group in groups if group["params"]]
    match options.kind:
        case OptimizerKind.ADAMW:
            return AdamW(filled, lr=options.lr, weight_decay=options.weight_decay)
        case OptimizerKind.SGD:
            return SGD(filled, lr=options.lr, momentum=options.momentum, weight_decay=options.weight_decay)
    assert_never(options.kind)


def set_lr(optimizer: Optimizer, lr: float) -> None:
    """Set the rate of the network; losses follow by their own factor."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]


def read_optimizer_state(optimizer: Optimizer) -> dict[str, Tensor]:
    """Read the state tensors of an optimizer, named by parameter and role (`3.exp_avg`)."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{role}": tensor for index, roles in state.items() for role, tensor in roles.items()}


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restore the state that `read_optimizer_state` read from an optimizer built the same way."""
    state: dict[int, dict[str, Tensor]] = defaultdict(dict)
    for name, tensor in tensors.items():
        index, _, role = name.partition(".")
        state[int(index)][role] = tensor
    # The parameter groups hold only what the options and the schedule set again.
    optimizer.load_state_dict({"state": dict(state), "param_groups": optimizer.state_dict()["param_groups"]})
