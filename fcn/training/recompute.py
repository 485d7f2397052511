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
from torch.fx import GraphModule, Node
from torch.fx.passes.split_module import split_module
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from fcn.graph.networks import evaluating
from fcn.models.segmenter import Segmenter

_MOST = 6  # convolutions of a block
_SEGMENT = 4  # convolutions of a part of a traced network
_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
_SIDE = 64  # pixels of the image that is tried


class Recomputing:
    """``with Recomputing(model):`` training passes of ``model`` recompute its blocks. It may be entered again and again.

    parts: the blocks, in the order of their inputs.
    """

    def __init__(self, model: Segmenter) -> None:
        chosen = blocks(model)
        cut = {module: segments(module) for module in chosen if isinstance(module, GraphModule)}
        self.parts = [part for module in chosen for part in (cut[module].children() if isinstance(module, GraphModule) else [module])]
        self.forwards: dict[nn.Module, Callable[..., Any]] = {
            part: partial(_recomputed, part.forward, _norms(part)) for part in self.parts
        } | {graph: whole.forward for graph, whole in cut.items()}

    def __enter__(self) -> "Recomputing":
        for module, forward in self.forwards.items():
            module.forward = forward
        return self

    def __exit__(self, *_: object) -> None:
        for module in self.forwards:
            del module.forward


def blocks(model: Segmenter) -> list[nn.Module]:
    """The parts of a network that are recomputed, each as a whole: parts of two to six convolutions that take tensors and leave them be.
    A traced network (torchvision's backbones) is given as it is, to be cut into segments."""
    fit = _called(model)

    def inside(module: nn.Module) -> list[nn.Module]:
        count = sum(isinstance(each, _CONVOLUTIONS) for each in module.modules())
        if count < 2:
            return []
        if module in fit and (count <= _MOST or isinstance(module, GraphModule)):
            return [module]
        found = [block for child in module.children() for block in inside(child)]
        return found or ([module] if module in fit and module is not model else [])

    return inside(model)


def segments(graph: GraphModule) -> GraphModule:
    """A traced network as one of parts with a few convolutions each. A part begins with a convolution, which leaves its input be."""
    number, count = 0, 0
    place: dict[Node, int] = {}
    for node in graph.graph.nodes:
        if node.op == "call_module" and isinstance(graph.get_submodule(str(node.target)), _CONVOLUTIONS):
            number, count = (number + 1, 1) if count == _SEGMENT else (number, count + 1)
        place[node] = number
    return split_module(graph, graph, lambda node: place[node])


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
    """Batch norm counts in copies of its running statistics."""
    before = [dict(norm._buffers) for norm in norms]
    for norm in norms:
        norm._buffers.update({name: buffer if buffer is None else buffer.clone() for name, buffer in norm._buffers.items()})
    try:
        yield
    finally:
        for norm, buffers in zip(norms, before, strict=True):
            norm._buffers.update(buffers)
