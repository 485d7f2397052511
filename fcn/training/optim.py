"""Optimizers, the parts of a network that they treat differently, and learning rates as functions of the step."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any

import torch

from fcn.core.errors import UserError
from fcn.core.registry import bound, find, register
from fcn.core.settings import above, at_least, check_options, items, share
from fcn.models.segmenter import Segmenter

Schedule = Callable[[int], float]  # step (0-based) -> factor of the peak rate

MOMENTS = ("momentum_buffer", "exp_avg", "exp_avg_sq")  # of a parameter's shape; an optimizer from outside may hold others of any shape


def parameter_groups(
    model: Segmenter,
    *,
    lr: Annotated[float, above(0)] = 1e-3,
    head_lr_factor: Annotated[float, above(0)] = 1.0,
    weight_decay: Annotated[float, at_least(0)] = 1e-2,
) -> list[dict[str, Any]]:
    """Four groups: backbone and heads (at ``head_lr_factor`` times the rate), each with and without weight decay.

    lr: peak learning rate of the backbone.
    head_lr_factor: learning rate of the decoder, as a multiple of the backbone's.
    weight_decay: weight decay of matrices and kernels; biases, norms and other vectors do not decay.

    Each group keeps its peak rate as ``peak_lr``.
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


@register("optim", "sgd")
def sgd(
    groups: list[dict[str, Any]],
    *,
    lr: Annotated[float, above(0)] = 0.01,
    weight_decay: Annotated[float, at_least(0)] = 1e-4,
    momentum: Annotated[float, share()] = 0.9,
    nesterov: bool = False,
) -> torch.optim.Optimizer:
    """Stochastic gradient descent.

    momentum: share of the last step that is kept.
    nesterov: use Nesterov momentum.
    """
    if nesterov and not momentum:
        raise UserError("nesterov=True needs momentum, and momentum=0; give momentum above 0, or leave nesterov out")
    return torch.optim.SGD(groups, lr=lr, weight_decay=weight_decay, momentum=momentum, nesterov=nesterov, fused=True)


@register("optim", "adamw")
def adamw(
    groups: list[dict[str, Any]],
    *,
    lr: Annotated[float, above(0)] = 2e-3,
    weight_decay: Annotated[float, at_least(0)] = 1e-2,
    betas: Annotated[Sequence[float], items(share(), count=2)] = (0.9, 0.999),
) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2017, arXiv:1711.05101).

    betas: decays of the running means of the gradient and of its square.
    """
    return torch.optim.AdamW(groups, lr=lr, weight_decay=weight_decay, betas=(betas[0], betas[1]), fused=True)


def create_optimizer(name: str, model: Segmenter, **options: Any) -> torch.optim.Optimizer:
    """The optimizer of that name over ``parameter_groups``. options: its settings. Raises UserError for unknown names and options."""
    part = find("optim", name)
    check_options(part.settings, options, ("optim", name))
    values = {setting.name: setting.default for setting in part.settings} | options
    common = {key: values[key] for key in ("lr", "head_lr_factor", "weight_decay")}
    own = {key: value for key, value in options.items() if key in part.own}
    optimizer: torch.optim.Optimizer = bound(part)(parameter_groups(model, **common), **own)
    return optimizer


def keeps_moments(optimizer: torch.optim.Optimizer) -> bool:
    """Whether an optimizer has a state besides its parameters, once it has made a step: SGD without momentum has none."""
    return any(group.get("momentum", 0) or "betas" in group for group in optimizer.param_groups)


def load_optimizer(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Take over an optimizer's ``state_dict``. Raises UserError where it is of another optimizer, or of other settings or parameters."""
    groups = saved.get("param_groups")
    own = optimizer.state_dict()["param_groups"]
    state = saved.get("state")
    if not isinstance(groups, list) or not isinstance(state, dict) or len(groups) != len(own):
        raise UserError(f"it does not have the {len(own)} groups of parameters")
    for ours, theirs in zip(own, groups, strict=True):
        if not isinstance(theirs, dict) or theirs.get("params") != ours["params"]:
            raise UserError("its groups have other parameters")
        for key in ("momentum", "betas", "peak_lr", "weight_decay", "nesterov"):
            if theirs.get(key) != ours.get(key):
                raise UserError(f"its {key} is {theirs.get(key, 'missing')!r:.60} (now {ours.get(key, 'none')})")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, values in state.items():
        if index not in range(len(parameters)) or not isinstance(values, dict):
            raise UserError(f"it has an entry for the parameter {index!r:.60}, which is none")
        for key, value in values.items():
            if not isinstance(value, torch.Tensor):
                continue
            shape = () if key == "step" else parameters[index].shape if key in MOMENTS else value.shape
            if value.shape != shape or (key in MOMENTS and not value.is_floating_point()):
                raise UserError(f"its {key} of parameter {index} is {value.dtype} {tuple(value.shape)}")
            if not torch.isfinite(value).all():
                raise UserError(f"its {key} of parameter {index} holds nan or infinity")
    optimizer.load_state_dict(saved)


@register("schedule", "poly")
def poly(progress: float, *, power: Annotated[float, above(0)] = 0.9) -> float:
    """(1 - progress)^power, as in DeepLab (Chen et al. 2016, section 4.1, arXiv:1606.00915).

    power: exponent of the decay.
    """
    return (1 - progress) ** power


@register("schedule", "cosine")
def cosine(progress: float) -> float:
    """Half a cosine from 1 to 0 (Loshchilov and Hutter 2016, arXiv:1608.03983)."""
    return (1 + math.cos(math.pi * progress)) / 2


@register("schedule", "constant")
def constant(progress: float) -> float:
    """The peak rate from start to end."""
    return 1.0


def create_schedule(name: str, total_steps: int, *, warmup: Annotated[float, share()] = 0.05, **options: Any) -> Schedule:
    """The factor of the rate at every step: a linear rise, then the named decay over the rest.

    warmup: length of the warm-up, in which the rate rises from zero (share of the steps).

    Raises UserError for unknown names and options.
    """
    part = find("schedule", name)
    check_options(part.settings, {"warmup": warmup} | options, ("schedule", name))
    decay = partial(bound(part), **options)
    rising = round(warmup * total_steps)

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        return float(decay((step - rising) / max(1, total_steps - rising)))

    return factor


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> float:
    """Set every group to ``factor`` times its peak rate; returns the backbone's."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor
    return optimizer.param_groups[0]["lr"]
