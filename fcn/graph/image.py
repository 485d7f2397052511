"""The shape of the images that a network takes: axes of space and channels, found by trying.

No layer says how many channels the image has. What the first convolution reads may have been unshuffled, sliced or joined. The layer that
was registered first need not be called first. So likely numbers are tried, most likely first, on a copy of the network without data. Each
try takes milliseconds.
"""

from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from fcn.core.errors import UserError
from fcn.graph.networks import float_type, unwrapped, without_data
from fcn.graph.shapes import without_arithmetic

DEFAULT_SIZES = {1: (256,), 2: (224, 224), 3: (32, 64, 64)}
CONVOLUTIONS = {F.conv1d: 1, F.conv2d: 2, F.conv3d: 3, F.conv_transpose1d: 1, F.conv_transpose2d: 2, F.conv_transpose3d: 3}
USUAL = (3, 1)  # channels
OTHERS = range(2, 17)


def input_shape(network: nn.Module, input_size: int | Sequence[int] | None = None, in_channels: int | None = None) -> tuple[int, ...]:
    """``(1, C, *sizes)``: one size for all axes or one for each, in pixels (default 224 x 224, 256 for sequences), or the whole shape.

    in_channels: the image's channels, where they are not to be found out. Raises UserError for sizes that do not fit the network's axes.
    """
    if in_channels is not None and in_channels < 1:
        raise UserError(f"in_channels={in_channels} is not allowed; an image has 1 channel or more")
    network = unwrapped(network)
    ranks = _ranks(network)
    if input_size is None or isinstance(input_size, int):
        given = {rank: DEFAULT_SIZES[rank] if input_size is None else (input_size,) * rank for rank in ranks}
    else:
        sizes = tuple(input_size)
        if len(sizes) >= min(ranks) + 2 and len(sizes) not in ranks:
            if in_channels not in (None, sizes[1]):
                raise UserError(f"in_channels={in_channels} and input_size={sizes} disagree, whose second number is the channels")
            return sizes
        given = {rank: sizes for rank in ranks if rank == len(sizes)}
    if not given or any(min(sizes) < 1 for sizes in given.values()):
        rank = max(ranks)
        raise UserError(f"input_size {input_size} does not fit a network with {rank} axes of space; give {rank} sizes of at least 1")
    return image_shape(network, given, in_channels)


def image_shape(network: nn.Module, sizes: Mapping[int, Sequence[int]], in_channels: int | None = None) -> tuple[int, ...]:
    """``(1, C, *sizes[rank])`` of the first of the likely images with which ``network`` runs; where it runs with none, the likeliest.

    sizes: for each number of axes of space that may be, the image's size in pixels.
    """
    hollow = without_data(network).eval()
    dtype = float_type(network)
    ranks = [rank for rank in _ranks(network) if rank in sizes]
    likely = [
        (1, channels, *sizes[rank]) for rank in ranks for channels in ([in_channels] if in_channels else _likely_channels(network, rank))
    ]
    return next((shape for shape in likely if _runs(hollow, shape, dtype)), likely[0])


def runs_on(network: nn.Module, shape: tuple[int, ...]) -> bool:
    """Whether a network runs on an image of that shape."""
    return _runs(without_data(network).eval(), shape, float_type(network))


def _runs(hollow: nn.Module, shape: tuple[int, ...], dtype: torch.dtype) -> bool:
    try:
        with without_arithmetic():
            hollow(torch.empty(shape, dtype=dtype))
    except Exception:  # the network's own code runs, and may raise anything
        return False
    return True


def _ranks(network: nn.Module) -> list[int]:
    """Axes of space that the image may have, the most first. A layer for fewer axes takes an image of more for a batch, never the other way
    round."""
    return sorted({rank for rank, _ in _convolutions(network)}, reverse=True) or [2]


def _likely_channels(network: nn.Module, rank: int) -> list[int]:
    """Numbers of channels that the image may have, each once. First what the network says of itself, then what its first convolution reads,
    what is usual, and what any layer reads. Last a part of these, where pixels of a square become channels."""
    config = getattr(network, "pretrained_cfg", None) or getattr(network, "default_cfg", None)
    said = [getattr(network, name, None) for name in ("in_channels", "in_chans")]
    said.append(config["input_size"][0] if isinstance(config, dict) and config.get("input_size") else None)
    read = [channels for axes, channels in _convolutions(network) if axes == rank]
    others = [getattr(module, name, None) for module in network.modules() for name in ("num_features", "in_features", "num_channels")]
    parts = [channels // side**rank for channels in read for side in (2, 4) if channels % side**rank == 0]
    likely = [*said, *read[:1], *USUAL, *read[1:], *parts, *OTHERS, *others]
    return [count for count in dict.fromkeys(likely) if isinstance(count, int) and count > 0]


def _convolutions(network: nn.Module) -> Iterator[tuple[int, int]]:
    """Axes of space and channels of what each convolution reads. A graph gives them in the order of its calls, since its layers may be
    replaced or be functions. Any other network gives them in the order of registration."""
    if not isinstance(network, fx.GraphModule):
        for module in network.modules():
            if isinstance(module, nn.modules.conv._ConvNd):
                yield len(module.kernel_size), module.in_channels
        return
    for node in network.graph.nodes:
        if node.op == "call_module":
            yield from _convolutions(network.get_submodule(str(node.target)))
        elif node.target in CONVOLUTIONS:
            yield CONVOLUTIONS[node.target], _channels_read(network, node)


def _channels_read(network: fx.GraphModule, node: fx.Node) -> int:
    """Of a function that convolves; 0 where its weight is computed."""
    weight: Any = node.args[1] if len(node.args) > 1 else node.kwargs["weight"]
    if not isinstance(weight, fx.Node) or weight.op != "get_attr":
        return 0
    found = attrgetter(str(weight.target))(network)
    if not isinstance(found, Tensor):
        return 0
    if "transpose" in getattr(node.target, "__name__", ""):
        return found.shape[0]
    groups = node.kwargs.get("groups", node.args[6] if len(node.args) > 6 else 1)
    return found.shape[1] * groups if isinstance(groups, int) else 0
