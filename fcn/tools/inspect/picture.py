"""The picture of ``fcn inspect``: the theoretical and the effective field of the centre cell, laid over a photograph."""

from collections.abc import Sequence
from math import ceil, floor, prod
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor, nn

from fcn.data.shapes import draw
from fcn.graph.axis import Interval
from fcn.graph.effective import draw_fields, effective_field
from fcn.graph.receptive_field import LayerField, ReceptiveField, receptive_field
from fcn.lessons.arithmetic import Layer
from fcn.lessons.modules import as_network

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORK = 1e10  # multiply-adds of all forward passes together, above which fewer random images are taken
LIMIT = 1e11  # and above which a single one is too dear
MOST_SAMPLES = 8
SMALLEST_DRAWING = 16  # side, pixels
DRAWING = 31  # the seed of the picture that the project draws


def fitted(photograph: Tensor | None, size: Sequence[int]) -> NDArray[np.uint8]:
    """A photograph, uint8 (3, H, W), scaled and cut round its centre to ``size`` (height, width), or one that the project draws: uint8
    (height, width, 3)."""
    height, width = size
    if photograph is None:
        drawn, _ = draw(np.random.default_rng(DRAWING), max(height, SMALLEST_DRAWING), max(width, SMALLEST_DRAWING))
        return drawn[:height, :width]
    opened = Image.fromarray(photograph.permute(1, 2, 0).numpy())
    return np.asarray(ImageOps.fit(opened, (width, height), Image.Resampling.LANCZOS))


def network_picture(network: nn.Module, fields: ReceptiveField, image: NDArray[np.uint8], *, output: str | None, name: str) -> "Figure":
    """The fields of the centre cell of the network's output, or of the last layer that has several cells where the output has one.

    ``output`` is what ``fields`` was made for, ``image`` of its input's size. Scoring layers that start at zero, which would pass no
    gradient, are given random weights for good: the network is not to be used afterwards.
    """
    shown, layer = _shown(fields, output)
    macs = sum(node.macs for node in fields.graph)
    field = None
    if macs <= LIMIT:
        wake(network)
        samples = max(1, min(MOST_SAMPLES, int(WORK / max(macs, 1))))
        field = effective_field(network, fields.graph.input_shape, layer=layer, samples=samples)
    return _drawn(shown, image, field, name if layer == output else f"{name}, {layer}")


def layers_picture(layers: Sequence[Layer], image: NDArray[np.uint8]) -> "Figure":
    """The same for layers one after another: their effective field is the mean over several draws of the weights."""
    fields = receptive_field(as_network(layers), image.shape[:2])
    total = torch.zeros(image.shape[:2])
    for seed in range(MOST_SAMPLES):
        torch.manual_seed(seed)
        total += effective_field(as_network(layers), fields.graph.input_shape, samples=1, seed=seed)
    return _drawn(fields.output, image, total / total.sum().clamp_min(torch.finfo(torch.float32).tiny), "layers in words")


def wake(network: nn.Module) -> None:
    """Random weights for every convolution and ones for every norm whose weights are all zero: a start that passes nothing on."""
    for module in network.modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor) and not weight.any():
            with torch.no_grad():
                torch.nn.init.ones_(weight) if weight.dim() == 1 else torch.nn.init.kaiming_normal_(weight)


def _shown(fields: ReceptiveField, output: str | None) -> tuple[LayerField, str | None]:
    """The layer to draw, and its name as an output or a module."""
    if prod(fields.node.sizes) > 1 or not fields.output.causes:
        return fields.output, output
    for layer in reversed(fields.layers):
        node = layer.node
        grid = prod(node.sizes) > 1 and node.dims == tuple(range(2, 2 + len(node.sizes)))
        if grid and node.layer:
            names = node.layer.split(".")
            paths = (".".join(names[: count + 1]) for count in range(len(names)))
            found = next((path for path in paths if fields.graph[path] is node), None)
            if found:
                return layer, found
    return fields.output, output


def _drawn(layer: LayerField, image: NDArray[np.uint8], field: Tensor | None, name: str) -> "Figure":
    cell = tuple(size // 2 for size in layer.node.sizes)
    whole: tuple[Interval, ...] = tuple((0, size) for size in image.shape[:2])
    found = [each.at(index) if each else None for each, index in zip(layer.fields, cell, strict=True)]
    seen = [(floor(part[0]), ceil(part[1])) if part else None for part in found]
    words = "theoretical field: the whole image" if layer.is_global else None
    title = f"{name}: cell {cell} of {' x '.join(map(str, layer.node.sizes))}"
    return draw_fields(image, whole if layer.is_global else seen, field, title=title, words=words)
