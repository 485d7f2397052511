"""The effective receptive field: which pixels matter in practice, and pictures of it beside the theoretical one.

The theoretical field says which pixels *can* change a cell. How much each does is its gradient, and that falls off towards the edges like
a Gaussian: paths through the middle are many, to a corner there is one. Luo, Li, Urtasun and Zemel, "Understanding the Effective
Receptive Field in Deep Convolutional Neural Networks", 2016, arXiv:1701.04128.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fcn.geometry.axis import Interval
from fcn.geometry.graph.read import input_shape

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def effective_field(
    network: nn.Module,
    inputs: int | Sequence[int] | Iterable[Tensor] | None = None,
    *,
    layer: str | None = None,
    cell: Sequence[int] | None = None,
    samples: int = 8,
    seed: int = 0,
) -> Tensor:
    """The mean over inputs of ``|d y / d x|``, where ``y`` is one cell of a layer, summed over channels: ``(*sizes)``, float32, sum 1.

    ``inputs``: an input size (then ``samples`` standard normal images are drawn from ``seed``; default 224 x 224), or the images
    themselves, each ``(1, C, *sizes)`` and normalised as the network expects. ``layer`` is a module's path (default: the network's output,
    "out" of a dict, the first of a list); ``cell`` one index per axis (default: the centre). The network is run in eval mode and left as it
    was. All zero where the cell depends on no pixel. Raises ValueError for an unknown layer or a cell outside the grid.
    """
    total: Tensor | None = None
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        count = 0
        for image in _images(network, inputs, samples, seed):
            x = image.detach().clone().requires_grad_()
            with torch.enable_grad():
                values = _values(network, x, layer)
                (gradient,) = torch.autograd.grad(_cell(values, cell, x.dim()), x, allow_unused=True, materialize_grads=True)
            found = gradient.detach().abs().sum((0, 1)).float().cpu()
            total, count = found if total is None else total + found, count + 1
    finally:
        for module, training in modes.items():
            module.training = training
    if total is None:
        raise ValueError("no inputs were given; give at least one image, or an input size")
    return total / total.sum().clamp_min(torch.finfo(torch.float32).tiny)


def _images(network: nn.Module, inputs: Any, samples: int, seed: int) -> Iterable[Tensor]:
    if inputs is not None and not isinstance(inputs, int) and not (isinstance(inputs, Sequence) and {type(n) for n in inputs} == {int}):
        return inputs
    generator = torch.Generator().manual_seed(seed)
    like = next(network.parameters(), torch.zeros(()))
    shape = input_shape(network, inputs)
    return (torch.randn(shape, generator=generator).to(like) for _ in range(samples))


def _values(network: nn.Module, x: Tensor, layer: str | None) -> Tensor:
    if layer is None:
        found: Any = network(x)
    else:
        modules = dict(network.named_modules())
        if layer not in modules:
            near = [name for name in modules if name and name.count(".") == layer.count(".")]
            raise ValueError(f"no layer '{layer}' in this network; layers at that depth are {', '.join(near[:12]) or '(none)'}")
        kept: list[Any] = []
        handle = modules[layer].register_forward_hook(lambda module, args, output: kept.append(output))
        try:
            network(x)
        finally:
            handle.remove()
        found = kept[-1]
    if isinstance(found, dict):
        found = found.get("out", next(iter(found.values())))
    while isinstance(found, (list, tuple)):
        found = found[0]
    return found


def _cell(values: Tensor, cell: Sequence[int] | None, dims: int) -> Tensor:
    if values.dim() != dims:  # a classifier's scores: no axes of space are left
        return values.sum()
    sizes = values.shape[2:]
    index = tuple(size // 2 for size in sizes) if cell is None else tuple(cell)
    if len(index) != len(sizes) or any(not 0 <= place < size for place, size in zip(index, sizes, strict=True)):
        raise ValueError(f"cell {index} is outside the grid of {' x '.join(map(str, sizes))} cells")
    place: Any = (slice(None), slice(None), *index)
    return values[place].sum()


def effective_size(field: Tensor, share: float = 0.9545) -> tuple[float, ...]:
    """Per axis, the width in pixels of the centred interval that holds ``share`` of the field (two standard deviations of a Gaussian)."""
    widths = []
    for axis in range(field.dim()):
        along = field.double().sum([other for other in range(field.dim()) if other != axis]) if field.dim() > 1 else field.double()
        along = along / along.sum().clamp_min(1e-300)
        position = torch.arange(len(along), dtype=torch.float64)
        distance, order = (position - (along * position).sum()).abs().sort()
        enough = int((along[order].cumsum(0) < share).sum())
        widths.append(2 * float(distance[min(enough, len(distance) - 1)]) + 1)
    return tuple(widths)


def heat_map(field: Tensor, gamma: float = 0.5) -> NDArray[np.uint8]:
    """The field ``(H, W)`` in colours, ``(H, W, 3)`` uint8. Square roots are shown (``gamma``), or all but the centre would be black."""
    from matplotlib import colormaps

    scaled = (field / field.max().clamp_min(torch.finfo(torch.float32).tiny)).pow(gamma)
    return (colormaps["inferno"](scaled.numpy())[..., :3] * 255).round().astype(np.uint8)


def draw_fields(
    image: NDArray[np.uint8],
    interval: Sequence[Interval | None],
    field: Tensor | None = None,
    *,
    title: str = "",
    label: Callable[[Sequence[Interval | None]], str] | None = None,
) -> "Figure":
    """A figure: the photograph, the theoretical field of one cell as a frame, the effective field as light laid over it.

    ``image`` is ``(H, W, 3)``; ``interval`` the cell's (height, width) intervals of pixels, as ``ReceptiveField.interval`` gives them
    (None: it sees nothing); ``field`` as ``effective_field`` gives it, of the image's size. Save it with ``figure.savefig``.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    height, width = image.shape[:2]
    if field is not None and tuple(field.shape) != (height, width):
        raise ValueError(f"the field is {tuple(field.shape)}, the image {(height, width)}; compute the field at the image's size")
    figure = Figure(figsize=(6, 6 * height / width + 0.7), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    shown: NDArray[Any] = image.astype(np.float32) / 255
    if field is not None:
        light = (field / field.max().clamp_min(torch.finfo(torch.float32).tiny)).pow(0.4).numpy()[..., None]
        shown = shown * 0.75 * (1 - light) + light * (heat_map(field, 0.4).astype(np.float32) / 255)
    axes.imshow(shown.clip(0, 1), extent=(-0.5, width - 0.5, height - 0.5, -0.5), interpolation="nearest")
    rows, columns = interval[0], interval[1]
    if rows is not None and columns is not None:
        corner, size = (columns[0] - 0.5, rows[0] - 0.5), (columns[1] - columns[0], rows[1] - rows[0])
        words = label(interval) if label else f"theoretical field {size[1]} x {size[0]}"
        axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor="deepskyblue", linewidth=2, clip_on=False, label=words))
    if field is not None and float(field.sum()) > 0:
        sizes = effective_size(field)
        grid = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        centre = [float((field * each).sum() / field.sum()) for each in grid]
        corner = (centre[1] - sizes[1] / 2, centre[0] - sizes[0] / 2)
        words = f"95 % of the effective field {sizes[0]:.0f} x {sizes[1]:.0f}"
        axes.add_patch(Rectangle(corner, sizes[1], sizes[0], fill=False, edgecolor="orange", linestyle="--", linewidth=1.5, label=words))
    axes.set(xlabel="pixels", ylabel="pixels", title=title)
    axes.margins(0.02)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2, frameon=False, fontsize=8)
    return figure
