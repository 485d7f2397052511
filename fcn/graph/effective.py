"""The effective receptive field: which pixels matter in practice, and pictures of it beside the theoretical one.

The theoretical field says which pixels *can* change a cell. How much each does is its gradient, and that falls off towards the edges like
a Gaussian: paths through the middle are many, to a corner there is one. Luo, Li, Urtasun and Zemel, "Understanding the Effective
Receptive Field in Deep Convolutional Neural Networks", 2016, arXiv:1701.04128.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fcn.core.errors import UserError
from fcn.graph.axis import Interval
from fcn.graph.image import input_shape
from fcn.graph.networks import at_rest, unwrapped

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

    ``inputs``: an input size, by default 224 x 224, or the images, each ``(1, C, *sizes)`` and normalised as the network expects. For a
    size, ``samples`` standard normal images are drawn from ``seed``. ``layer``: an output's name or a module's path; default: the output
    "out" of a dict, the first of a list. ``cell``: one index per axis; default: the centre. The network is run in eval mode and left as it
    was. All zero where the cell depends on no pixel. Raises UserError for an unknown layer or a cell outside the grid.
    """
    total: Tensor | None = None
    count = 0
    network = unwrapped(network)
    with at_rest(network):
        for image in _images(network, inputs, samples, seed):
            x = image.detach().clone().requires_grad_()
            with torch.enable_grad():
                values = _values(network, x, layer)
                (gradient,) = torch.autograd.grad(_cell(values, cell, x.dim()), x, allow_unused=True, materialize_grads=True)
            found = gradient.detach().abs().sum((0, 1)).float().cpu()
            total, count = found if total is None else total + found, count + 1
    if total is None:
        raise UserError("no inputs were given; give at least one image, or an input size")
    return total / total.sum().clamp_min(torch.finfo(torch.float32).tiny)


def _images(network: nn.Module, inputs: Any, samples: int, seed: int) -> Iterable[Tensor]:
    if inputs is not None and not isinstance(inputs, int) and not (isinstance(inputs, Sequence) and {type(n) for n in inputs} == {int}):
        return inputs
    generator = torch.Generator().manual_seed(seed)
    like = next(network.parameters(), torch.zeros(()))
    shape = input_shape(network, inputs)
    return (torch.randn(shape, generator=generator).to(like) for _ in range(samples))


def _values(network: nn.Module, x: Tensor, layer: str | None) -> Tensor:
    modules = dict(network.named_modules())
    kept: list[Any] = []
    handle = modules[layer].register_forward_hook(lambda *hooked: kept.append(hooked[-1])) if layer in modules else None
    try:
        found: Any = network(x)
    finally:
        if handle:
            handle.remove()
    named = (
        found if isinstance(found, dict) else {str(place): each for place, each in enumerate(found)} if not torch.is_tensor(found) else {}
    )
    if layer in named:
        found = named[layer]
    elif layer is not None:
        if not kept:
            near = [name for name in modules if name and name.count(".") == layer.count(".")]
            raise UserError(f"no layer '{layer}' in this network; layers at that depth are {', '.join(near[:12]) or '(none)'}")
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
        raise UserError(f"cell {index} is outside the grid of {' x '.join(map(str, sizes))} cells")
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
    words: str | None = None,
) -> "Figure":
    """A figure: the photograph, the theoretical field of one cell as a frame, the effective field as light laid over it.

    ``image`` is ``(H, W, 3)``; ``interval`` the cell's (height, width) intervals of pixels (None: it sees nothing), which may reach beyond
    the image: the figure shows up to one image's size of what lies around it. ``field`` is as ``effective_field`` gives it, of the image's
    size; ``words`` are the legend's for the theoretical field (default: its size). Save it with ``figure.savefig``.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    height, width = image.shape[:2]
    if field is not None and tuple(field.shape) != (height, width):
        raise UserError(f"the field is {tuple(field.shape)}, the image {(height, width)}; compute the field at the image's size")
    rows, columns = interval[0], interval[1]
    (top, bottom), (left, right) = _view(rows, height), _view(columns, width)
    figure = Figure(figsize=(6, 6 * (bottom - top) / (right - left) + 0.9), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    shown: NDArray[Any] = image.astype(np.float32) / 255
    if field is not None:
        light = (field / field.max().clamp_min(torch.finfo(torch.float32).tiny)).pow(0.4).numpy()[..., None]
        shown = shown * 0.7 * (1 - light) + light * (heat_map(field, 0.4).astype(np.float32) / 255)
    axes.imshow(shown.clip(0, 1), extent=(-0.5, width - 0.5, height - 0.5, -0.5), interpolation="nearest")
    axes.set_facecolor("#ececec")
    if rows is not None and columns is not None:
        corner, size = (columns[0] - 0.5, rows[0] - 0.5), (columns[1] - columns[0], rows[1] - rows[0])
        beyond = rows[0] < 0 or columns[0] < 0 or rows[1] > height or columns[1] > width
        legend = words or f"theoretical field {size[1]} x {size[0]}" + (", beyond the image" if beyond else "")
        axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor="deepskyblue", linewidth=2.2, label=legend))
    if field is not None and float(field.sum()) > 0:
        grid = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        centre = [float((field * each).sum() / field.sum()) for each in grid]
        lows, highs = [], []
        for middle, extent, seen in zip(centre, effective_size(field), (rows, columns), strict=True):
            low, high = (-np.inf, np.inf) if seen is None else (seen[0] - 0.5, seen[1] - 0.5)
            lows.append(max(middle - extent / 2, low))
            highs.append(min(middle + extent / 2, high))
        legend = f"95 % of the effective field {highs[0] - lows[0]:.0f} x {highs[1] - lows[1]:.0f}"
        dashed = {"fill": False, "edgecolor": "orange", "linestyle": "--", "linewidth": 1.8, "label": legend}
        axes.add_patch(Rectangle((lows[1], lows[0]), highs[1] - lows[1], highs[0] - lows[0], **dashed))  # type: ignore[arg-type]
    axes.set(xlabel="pixels", ylabel="pixels", xlim=(left, right), ylim=(bottom, top))
    axes.set_title(title, fontsize=10)
    figure.legend(loc="outside lower center", frameon=False, fontsize=9)
    return figure


def _view(interval: Interval | None, size: int) -> tuple[float, float]:
    """The range of pixels to show along one axis: the image and the field, a little more, and no more than the image's size around it."""
    low, high = (0, size) if interval is None else (min(interval[0], 0), max(interval[1], size))
    margin = 0.03 * (high - low)
    return max(low - margin, -size) - 0.5, min(high + margin, 2 * size) - 0.5
