"""Gradient checkpointing: the forward pass keeps the inputs of blocks only, and the backward pass computes the rest again.

It saves memory and costs about one more forward pass. The loss and the gradients are the same. For that, dropout draws the same numbers
again, and batch norm does not count a batch twice in its running statistics.

Source: Chen et al. 2016, arXiv:1604.06174. Torch does it for a function; here the blocks of any network are found by trying it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from fcn.graph.networks import evaluating
from fcn.models.segmenter import Segmenter

_MOST = 6  # convolutions of a block
_SIDE = 64  # pixels of the image that is tried


@contextmanager
def recomputing(model: Segmenter) -> Iterator[list[nn.Module]]:
    """Within it, training passes of ``model`` recompute its blocks, which are given. Passes without gradients are as before."""
    chosen = blocks(model)
    for block in chosen:
        block.forward = partial(_recomputed, block.forward, _norms(block))
    try:
        yield chosen
    finally:
        for block in chosen:
            del block.forward


def blocks(model: Segmenter) -> list[nn.Module]:
    """The parts of a network that are recomputed, each as a whole: parts of two to six convolutions that take tensors and leave them be."""
    fit = _called(model)

    def inside(module: nn.Module) -> list[nn.Module]:
        count = sum(isinstance(each, nn.Conv2d | nn.ConvTranspose2d) for each in module.modules())
        if count < 2:
            return []
        if count <= _MOST and module in fit:
            return [module]
        found = [block for child in module.children() for block in inside(child)]
        return found or ([module] if module in fit and module is not model else [])

    return inside(model)


def _called(model: Segmenter) -> set[nn.Module]:
    """The parts that are called once in a pass, with tensors alone, and whose inputs nobody writes to."""
    calls: dict[nn.Module, list[Sequence[tuple[Tensor, int]] | None]] = {}

    def note(module: nn.Module, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        alone = not options and all(isinstance(each, Tensor) for each in arguments)
        calls.setdefault(module, []).append([(each, each._version) for each in arguments] if alone else None)

    hooks = [module.register_forward_pre_hook(note, with_kwargs=True) for module in model.modules() if module is not model]
    try:
        with evaluating(model), torch.no_grad():
            model(torch.zeros(1, model.in_channels, _SIDE, _SIDE, device=model.mean.device))
    finally:
        for hook in hooks:
            hook.remove()
    return {
        module
        for module, made in calls.items()
        if len(made) == 1 and made[0] is not None and all(tensor._version == version for tensor, version in made[0])
    }


def _norms(block: nn.Module) -> list[_BatchNorm]:
    return [module for module in block.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]


def _recomputed(forward: Callable[..., Any], norms: Sequence[_BatchNorm], *arguments: Tensor) -> Any:
    if not torch.is_grad_enabled():
        return forward(*arguments)
    return checkpoint(forward, *arguments, use_reentrant=False, context_fn=lambda: (nullcontext(), _not_counted(norms)))


@contextmanager
def _not_counted(norms: Sequence[_BatchNorm]) -> Iterator[None]:
    """Batch norm in training leaves its running statistics alone, and normalises as before."""
    training = [norm for norm in norms if norm.training]
    for norm in training:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in training:
            norm.track_running_stats = True
