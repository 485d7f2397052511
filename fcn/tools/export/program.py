"""A model as a program for images of any size: ``torch.export`` with batch, height and width left open.

One thing stands in the way of open sizes, and is mended in a copy of the model. timm's "SAME" padding asks for the size of the map at each
layer, and its formulas nest until torch takes minutes. But most models pad images to multiples of their largest stride first. Then each
such padding is the same for all sizes: it is measured, and written down as a number. Where it is not the same, the layer is named.
"""

import inspect
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx.experimental import _config as symbols_config

from fcn.core.errors import UserError
from fcn.core.names import said
from fcn.graph.networks import at_rest, copied
from fcn.graph.sizes import ClosedError, short_formulas
from fcn.graph.trace import cause_of, quiet
from fcn.inference.labelmap import label_type
from fcn.models.onnx_model import Gives
from fcn.models.segmenter import Segmenter

EXAMPLE = (2, 4, 6)  # images, and sides in multiples of the largest stride; of one image torch would fix the number
SIDES = ((2, 3), (3, 5), (4, 2), (7, 4))  # of the images that paddings are measured on, in multiples of the divisor
LEAST = 32  # pixels of a multiple, at least
LONGEST = 60  # operations in the formula of a size
SAME = {"Conv2dSame": nn.Conv2d, "MaxPool2dSame": nn.MaxPool2d, "AvgPool2dSame": nn.AvgPool2d}  # of timm, and what they are beside it

Padding = tuple[int, int, int, int]  # left, right, top, bottom, as ``F.pad`` takes it


class Exportable(nn.Module):
    """``forward(images)``: values of images, floats (N, C, H, W), to scores or probabilities (N, K, H, W), or to labels (N, H, W)."""

    def __init__(self, segmenter: Segmenter, gives: Gives) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.gives = gives

    def forward(self, images: Tensor) -> Tensor:
        scores = self.segmenter(self.segmenter.normalize(images)).float()
        if self.gives == "labels":
            return scores.argmax(1).to(label_type(scores.shape[1]))
        return scores.softmax(1) if self.gives == "probabilities" else scores


def exportable(model: Segmenter, gives: Gives, tile: int | None = None) -> Exportable:
    """A copy of a model that can be exported: on the CPU, in evaluation mode, with paddings of fixed numbers. tile: side of its images;
    None: any size."""
    network = copied(model).cpu().float().eval()
    network.auxiliary = None  # of trainings only
    fix_padding(network, tile)
    return Exportable(network, gives).eval()


def program_of(network: Exportable, tile: int | None = None) -> ExportedProgram:
    """The program of a network for any number of images of any size, or of ``tile`` pixels a side. Raises UserError, naming the layer,
    where there is none."""
    segmenter = network.segmenter
    side = max(LEAST, segmenter.backbone.divisor, segmenter.backbone.strides[-1])
    count, down, across = EXAMPLE
    shape = (down * side, across * side) if tile is None else (tile, tile)
    images = torch.rand(count, segmenter.images.channels, *shape)
    axes = {0: "number", 2: "height", 3: "width"} if tile is None else {0: "number"}
    sizes = {"images": dict.fromkeys(axes, Dim.AUTO)}
    try:  # torch takes the sides of a square for one number, and asks that no size is 1, unless it is told otherwise
        with (
            at_rest(network),
            short_formulas(network, LONGEST),
            torch.no_grad(),
            quiet(),
            symbols_config.patch(use_duck_shape=False, backed_size_oblivious=True),  # type: ignore[attr-defined]
        ):
            program = torch.export.export(network, (images,), dynamic_shapes=sizes)
    except ClosedError as error:
        raise refusal(
            f"the sizes of the maps at layer '{plain(error.layer)}' depend on the image in a way too long to write", tile
        ) from error
    except Exception as error:  # whatever export raises
        raise refusal(plain(cause_of(error, network)[1]), tile) from error
    taken = next(node.meta["val"] for node in program.graph.nodes if node.op == "placeholder" and node.name == "images")
    closed = [name for axis, name in axes.items() if not is_open(taken.shape[axis])]
    if closed:
        raise refusal(
            f"its code makes a number of the {closed[0]} of the images, so that a file would hold for one {closed[0]} alone", tile
        )
    return program


def is_open(size: int | torch.SymInt) -> bool:
    """Whether a size is a symbol, and none that was found to be one number."""
    return isinstance(size, torch.SymInt) and bool(size.node.expr.free_symbols)


def refusal(reason: str, tile: int | None = None) -> UserError:
    size, or_one = (
        ("images of any size", f", or export it for one size, as {said('tile', 512)}") if tile is None else ("images of this size", "")
    )
    return UserError(f"the model cannot be exported for {size}: {reason}; give another backbone or model{or_one}")


def plain(text: str) -> str:
    """Names of layers as they are in the model."""
    return text.replace("segmenter.", "").replace("backbone.network.", "")


# --- paddings that depend on the size of the image ---


def fix_padding(network: Segmenter, tile: int | None = None) -> None:
    """Put layers with paddings of fixed numbers in the place of timm's "SAME" layers. Raises UserError, naming the layer, where the padding
    is not the same for all images that the network pads to."""
    layers = {name: module for name, module in network.named_modules() if type(module).__name__ in SAME}
    if not layers:
        return
    found: dict[str, set[Padding]] = {name: set() for name in layers}

    def measure(name: str) -> None:
        def hook(module: nn.Module, given: tuple[Tensor, ...]) -> None:
            found[name].add(same_padding(module, given[0].shape[-2:]))

        handles.append(layers[name].register_forward_pre_hook(hook))

    handles: list[torch.utils.hooks.RemovableHandle] = []
    try:
        for name in layers:
            measure(name)
        with torch.no_grad():
            for height, width in measured_sizes(network) if tile is None else [(tile, tile)]:
                network.scores(network.mean.new_zeros(1, network.in_channels, height, width))
    finally:
        for handle in handles:
            handle.remove()
    for name, paddings in found.items():
        if len(paddings) > 1:
            raise refusal(f"the padding of layer '{plain(name)}' depends on the size of the image")
        if paddings:
            replace(network, name, fixed(layers[name], next(iter(paddings))))


def measured_sizes(network: Segmenter) -> list[tuple[int, int]]:
    """Sizes of images on which paddings show that they depend on it, if any of what the network pads to does."""
    divisor = max(network.backbone.divisor, 1)
    unit = divisor * max(1, -(-LEAST // divisor))
    return [(down * unit + (down if divisor == 1 else 0), across * unit + (2 * down if divisor == 1 else 0)) for down, across in SIDES]


def same_padding(layer: nn.Module, sizes: Sequence[int]) -> Padding:
    """TensorFlow's "SAME" padding of a map of these (height, width)."""
    totals = []
    for axis in (0, 1):
        kernel, stride, dilation = (pair(getattr(layer, key, 1))[axis] for key in ("kernel_size", "stride", "dilation"))
        totals.append(max((-(-sizes[axis] // stride) - 1) * stride + (kernel - 1) * dilation + 1 - sizes[axis], 0))
    down, across = totals
    return across // 2, across - across // 2, down // 2, down - down // 2


def pair(value: int | Sequence[int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def fixed(layer: nn.Module, padding: Padding) -> nn.Module:
    """The layer with a padding of these numbers before it."""
    kind = SAME[type(layer).__name__]
    if isinstance(layer, nn.Conv2d):
        inner: nn.Module = nn.Conv2d(
            layer.in_channels,
            layer.out_channels,
            pair(layer.kernel_size),
            pair(layer.stride),
            dilation=pair(layer.dilation),
            groups=layer.groups,
            bias=layer.bias is not None,
        )
        inner.load_state_dict(layer.state_dict())
    else:
        words = [name for name in inspect.signature(kind).parameters if hasattr(layer, name)]
        inner = kind(**{name: getattr(layer, name) for name in words})
    filler = -torch.inf if kind is nn.MaxPool2d else 0.0
    return nn.Sequential(nn.ConstantPad2d(padding, filler), inner.to(next(layer.parameters(), torch.zeros(())).dtype))


def replace(network: nn.Module, name: str, module: nn.Module) -> None:
    holder, _, last = name.rpartition(".")
    setattr(network.get_submodule(holder), last, module.eval())
