"""Layers of a backbone that a training leaves as they are.

A frozen layer keeps its weights. It also stays in evaluation mode: batch norm normalises with the statistics that it has and does not
update them, and nothing is dropped. So a frozen stage computes the same features in training and afterwards.
"""

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from fcn.core.errors import UserError
from fcn.core.names import said, spelled
from fcn.graph.networks import evaluating
from fcn.models.backbones.contract import Backbone


def freeze(backbone: Backbone, stages: int | bool, *, norm: bool = False) -> None:
    """Freeze the layers of the first ``stages`` features, True: all, False: none; the rest trains. norm: also freeze every batch norm.

    A layer belongs to the first feature that depends on it. Raises UserError where the backbone has fewer stages.
    """
    count = len(backbone.strides)
    if stages > count:
        allowed = f"give 1 to {count}, or {spelled(True)} for all"
        raise UserError(f"{said('backbone.freeze', stages)} is not allowed; this backbone has {count} stages: {allowed}")
    parameters = dict(backbone.named_parameters())
    for name in backbone.frozen:
        parameters[name].requires_grad_(True)
    trained = [name for name, parameter in parameters.items() if parameter.requires_grad]
    frozen = set(trained if stages is True else used_by(backbone, trained, int(stages)))
    modules = dict(backbone.named_modules())
    still = {
        name
        for name, module in modules.items()
        if (own := [joined(name, each) for each, _ in module.named_parameters()]) and frozen.issuperset(set(own) & set(trained))
    }
    if norm:
        norms = {name: module for name, module in modules.items() if isinstance(module, _BatchNorm)}
        still |= norms.keys()
        frozen |= {joined(name, each) for name, module in norms.items() for each, _ in module.named_parameters()} & set(trained)
    for name in frozen:
        parameters[name].requires_grad_(False)
    training = backbone.training
    backbone.frozen, backbone.still = frozenset(frozen), frozenset(still)
    backbone.train(training)


def joined(module: str, name: str) -> str:
    return f"{module}.{name}" if module else name


def used_by(backbone: Backbone, names: list[str], stages: int) -> list[str]:
    """Those of the parameters ``names`` that the first ``stages`` features depend on."""
    if not stages:
        return []
    own = dict(backbone.named_parameters())
    parameters = [own[name] for name in names]
    side = 2 * max(backbone.strides[-1], backbone.divisor)
    images = torch.zeros(1, backbone.in_channels, side, side, device=parameters[0].device)
    with evaluating(backbone), torch.enable_grad():
        features: list[torch.Tensor] = backbone(images)[:stages]
        total = torch.stack([feature.sum() for feature in features]).sum()
        gradients = torch.autograd.grad(total, parameters, allow_unused=True)
    return [name for name, gradient in zip(names, gradients, strict=True) if gradient is not None]


def frozen_share(network: nn.Module) -> float:
    """Share of a network's weights that no training changes."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in network.parameters()]
    return sum(size for size, trained in sizes if not trained) / max(1, sum(size for size, _ in sizes))
