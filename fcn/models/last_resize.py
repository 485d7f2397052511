"""A network's own last interpolation, taken off while it runs.

Most segmentation networks end in a bilinear interpolation to the size of the image. A label map is made many times as fast from the scores
before it. Here that last call of ``F.interpolate`` is not computed. An empty tensor of the right shape stands in for its result. Nothing
but a crop from the top left may be made of the stand-in before it is returned. Where anything else is done with it, or with the memory of
the scores before it, the network is run again as it is: the result is right in either case. Of a network that keeps the result for itself,
nothing is taken off (``fitting.py``).

``F.interpolate`` is what ``nn.Upsample``, ``nn.UpsamplingBilinear2d`` and torchvision's resizes call, too.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from fcn.graph.networks import leaves_beside
from fcn.models.segmenter import Cell

KEEPING = ("clamp", "clamp_", "clip", "to", "float", "double", "half", "bfloat16", "contiguous", "clone", "detach", "squeeze", "unsqueeze")
LOOKS = ("size", "dim", "stride", "is_floating_point", "__get__")  # at a tensor, not into it


class UsedError(BaseException):
    """Something was done with a stand-in. No network catches it for an error of its own."""


@dataclass
class Seen:
    """What was seen of a run.

    calls: number of bilinear interpolations so far.
    stand_ins: for each tensor that stands in, by its id, the tensor before the interpolation and the cells.
    probabilities: for each tensor that a sigmoid or a softmax over channels gave, by its id, which of the two, and how often it had been
        written to.
    alive: these tensors, so that no id is used again.
    """

    calls: int = 0
    stand_ins: dict[int, tuple[Tensor, Cell]] = field(default_factory=dict)
    probabilities: dict[int, tuple[str, int]] = field(default_factory=dict)
    alive: list[Tensor] = field(default_factory=list)

    def ending(self, tensor: Any) -> str | None:
        """Which of the two made this tensor; None where it holds anything else, or was written over since."""
        kind, writes = self.probabilities.get(id(tensor), (None, 0))
        return kind if kind is not None and writes == writes_to(tensor) else None

    def is_kept_by(self, network: nn.Module) -> bool:
        """Whether a module of the network has a stand-in among its attributes after the run, where its owner will look for the result."""
        return any(id(leaf) in self.stand_ins for module in network.modules() for leaf in leaves_beside(module))


class TakenOff(TorchFunctionMode):
    """Within it, the bilinear interpolation number ``which`` (from 1) is not computed. ``seen`` says what was met."""

    def __init__(self, which: int | None) -> None:
        super().__init__()
        self.which, self.seen = which, Seen()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.interpolate and bilinear(*args, **kwargs):
            self.seen.calls += 1
            if self.seen.calls == self.which and (found := stand_in(*args, **kwargs)) is not None:
                result, source, cell = found
                self._note(result, source, cell)
                return result
        name, first = getattr(func, "__name__", ""), args[0] if args else None
        if self.seen.stand_ins and self._touches(args, kwargs):
            if name == "__getitem__" and id(first) in self.seen.stand_ins and top_left(args[1]):
                source, cell = self.seen.stand_ins[id(first)]
                result = func(*args, **kwargs)
                self._note(result, source, cell)
                return result
            if name not in LOOKS or isinstance(result := func(*args, **kwargs), Tensor):
                raise UsedError
            return result
        kept = self.seen.ending(first)  # before it is written to
        result = func(*args, **kwargs)
        kind = kind_of(name, args, kwargs) or (kept if keeps(name, args, kwargs) else None)
        if kind is not None:
            self.seen.probabilities[id(result)] = kind, writes_to(result)
            self.seen.alive.append(result)
        return result

    def _touches(self, args: Any, kwargs: Any) -> bool:
        """Whether a stand-in is among the arguments, or a tensor in the memory of what was before it."""
        memories = {memory_of(source) for source, _ in self.seen.stand_ins.values()}
        leaves = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        return any(id(leaf) in self.seen.stand_ins or memory_of(leaf) in memories for leaf in leaves)

    def _note(self, result: Tensor, source: Tensor, cell: Cell) -> None:
        self.seen.stand_ins[id(result)] = source, cell
        self.seen.alive.append(result)


def memory_of(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def writes_to(tensor: Tensor) -> int:
    """How often a tensor's memory was written to; 0 always in inference mode, where torch does not count."""
    return 0 if tensor.is_inference() else tensor._version


def kind_of(name: str, args: Any, kwargs: Any) -> str | None:
    """ "sigmoid" or, over channels, "softmax"; None for any other call."""
    if name == "softmax" and (args[1] if len(args) > 1 else kwargs.get("dim")) in (1, -3):
        return name
    return "sigmoid" if name in ("sigmoid", "sigmoid_", "hardsigmoid") else None


def keeps(name: str, args: Any, kwargs: Any) -> bool:
    """Whether a call makes probabilities of probabilities: it picks, copies or cuts them, or takes means of neighbours."""
    if name == "interpolate":
        return (args[3] if len(args) > 3 else kwargs.get("mode", "nearest")) != "bicubic"
    return name == "__getitem__" or name in KEEPING


def bilinear(
    input: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest", *_: Any, antialias: bool = False, **__: Any
) -> bool:
    return mode == "bilinear" and not antialias and isinstance(input, Tensor) and input.dim() == 4


def stand_in(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "bilinear",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> tuple[Tensor, Tensor, Cell] | None:
    """A tensor without memory in place of an interpolation, the tensor before it and its cells; None for one that makes fewer cells."""
    empty = torch.empty(input.shape, dtype=input.dtype, device="meta")
    shape = F.interpolate(empty, size, scale_factor, mode, align_corners, recompute_scale_factor).shape
    cells = []
    for axis in (0, 1):
        before, after = input.shape[2 + axis], shape[2 + axis]
        if after < before:
            return None
        if align_corners:
            cells.append((after - 1) / (before - 1) if before > 1 else math.inf)
        elif scale_factor is None or recompute_scale_factor or before == after:  # an axis whose size stays is copied
            cells.append(after / before)
        else:
            cells.append(float(scale_factor[axis] if isinstance(scale_factor, list | tuple) else scale_factor))
    return input.new_empty(1).expand(shape), input, Cell(cells[0], cells[1], corners=bool(align_corners))


def top_left(index: Any) -> bool:
    """Whether an index cuts from the top left: slices without start and step, of rows and columns only."""
    entries = index if isinstance(index, tuple) else (index,)
    if not all(entry is Ellipsis or isinstance(entry, slice) for entry in entries):
        return False
    slices = [entry for entry in entries if isinstance(entry, slice)]
    if any(entry.start not in (None, 0) or entry.step not in (None, 1) for entry in slices):
        return False
    if Ellipsis in entries:
        return entries[0] is Ellipsis and len(slices) <= 2
    return all(entry.stop is None for entry in slices[:2])


def is_watched(network: nn.Module) -> bool:
    """Whether hooks look at what the layers give; they must not see a stand-in."""
    return any(module._forward_hooks for module in network.modules())


def run(network: nn.Module, pick: Callable[[Any], Tensor], images: Tensor, which: int | None) -> tuple[Tensor, Cell | None, Seen]:
    """The output that ``pick`` takes of a network, before its interpolation number ``which`` where that is the last thing done to it.

    Returns the output, the cells where the interpolation was taken off (else None), and what was seen.
    """
    mode = TakenOff(None if which is not None and is_watched(network) else which)
    try:
        with mode:
            output = pick(network(images))
    except UsedError:
        return pick(network(images)), None, Seen()
    if id(output) in mode.seen.stand_ins:
        source, cell = mode.seen.stand_ins[id(output)]
        return source, cell, mode.seen
    if mode.seen.stand_ins:  # another of several outputs
        return pick(network(images)), None, Seen()
    return output, None, mode.seen
