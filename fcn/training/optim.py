"""Optimizers, the parts of a network that they treat differently, and learning rates as functions of the step."""

import math
from collections.abc import Callable
from typing import Any

import torch

from fcn.models.segmenter import Segmenter
from fcn.names import check_options, lookup

Schedule = Callable[[int], float]  # step (0-based) -> factor of the peak rate


def parameter_groups(model: Segmenter, *, lr: float, head_lr_factor: float, weight_decay: float) -> list[dict[str, Any]]:
    """Four groups: backbone and heads (at ``head_lr_factor`` times the rate), each with and without weight decay.

    Biases, norms' weights and every other vector do not decay; matrices and kernels do. Each group keeps its peak rate as ``peak_lr``.
    """
    groups = []
    heads = [model.decoder] if model.auxiliary is None else [model.decoder, model.auxiliary]
    for parts, rate in (([model.backbone], lr), (heads, lr * head_lr_factor)):
        for decays in (True, False):
            parameters = (parameter for part in parts for parameter in part.parameters())
            members = [parameter for parameter in parameters if parameter.requires_grad and (parameter.ndim > 1) == decays]
            if members:
                groups.append({"params": members, "lr": rate, "peak_lr": rate, "weight_decay": weight_decay if decays else 0.0})
    return groups


def sgd(groups: list[dict[str, Any]], *, momentum: float = 0.9, nesterov: bool = False) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, momentum=momentum, nesterov=nesterov, fused=True)


def adamw(groups: list[dict[str, Any]], *, betas: tuple[float, float] = (0.9, 0.999)) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, betas=(betas[0], betas[1]), fused=True)


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {"sgd": sgd, "adamw": adamw}


def create_optimizer(
    name: str, model: Segmenter, *, lr: float, head_lr_factor: float, weight_decay: float, **options: Any
) -> torch.optim.Optimizer:
    """The optimizer of that name over ``parameter_groups``. Raises ValueError for unknown names and options."""
    build = lookup(OPTIMIZERS, name, "optim")
    check_options(build, options, f"optim={name}")
    return build(parameter_groups(model, lr=lr, head_lr_factor=head_lr_factor, weight_decay=weight_decay), **options)


def keeps_moments(optimizer: torch.optim.Optimizer) -> bool:
    """Whether an optimizer has a state besides its parameters, once it has made a step: SGD without momentum has none."""
    return any(group.get("momentum", 0) or "betas" in group for group in optimizer.param_groups)


def load_optimizer(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Take over an optimizer's ``state_dict``. Raises ValueError where it is of another optimizer, or of other settings or parameters."""
    groups = saved.get("param_groups")
    own = optimizer.state_dict()["param_groups"]
    state = saved.get("state")
    if not isinstance(groups, list) or not isinstance(state, dict) or len(groups) != len(own):
        raise ValueError(f"it does not have the {len(own)} groups of parameters")
    for ours, theirs in zip(own, groups, strict=True):
        if not isinstance(theirs, dict) or theirs.get("params") != ours["params"]:
            raise ValueError("its groups have other parameters")
        for key in ("momentum", "betas", "peak_lr", "weight_decay", "nesterov"):
            if theirs.get(key) != ours.get(key):
                raise ValueError(f"its {key} is {theirs.get(key, 'missing')!r:.60} (now {ours.get(key, 'none')})")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, values in state.items():
        if index not in range(len(parameters)) or not isinstance(values, dict):
            raise ValueError(f"it has an entry for the parameter {index!r:.60}, which is none")
        for key, value in values.items():
            if isinstance(value, torch.Tensor):
                if not value.is_floating_point() or (value.ndim and value.shape != parameters[index].shape):
                    raise ValueError(f"its {key} of parameter {index} is {value.dtype} {tuple(value.shape)}")
                if not torch.isfinite(value).all():
                    raise ValueError(f"its {key} of parameter {index} holds nan or infinity")
    optimizer.load_state_dict(saved)


def poly(progress: float, *, power: float = 0.9) -> float:
    """(1 - progress)^power, as in DeepLab (Chen et al. 2016, section 4.1, arXiv:1606.00915)."""
    return (1 - progress) ** power


def cosine(progress: float) -> float:
    """Half a cosine from 1 to 0 (Loshchilov and Hutter 2016, arXiv:1608.03983)."""
    return (1 + math.cos(math.pi * progress)) / 2


def constant(progress: float) -> float:
    return 1.0


SCHEDULES: dict[str, Callable[..., float]] = {"poly": poly, "cosine": cosine, "constant": constant}


def create_schedule(name: str, total_steps: int, *, warmup: float = 0.0, **options: Any) -> Schedule:
    """The factor of the rate at every step: a linear rise over the share ``warmup`` of the steps, then the named decay over the rest.

    Raises ValueError for unknown names and options.
    """
    decay = lookup(SCHEDULES, name, "schedule")
    check_options(decay, options, f"schedule={name}")
    rising = round(warmup * total_steps)

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        return decay((step - rising) / max(1, total_steps - rising), **options)

    return factor


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> float:
    """Set every group to ``factor`` times its peak rate; returns the backbone's."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor
    return optimizer.param_groups[0]["lr"]
