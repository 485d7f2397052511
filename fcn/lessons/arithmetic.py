"""Convolution arithmetic: sizes, parameters and multiply-adds of layers by formula, alone and one after another.

Sizes, with ``n`` cells in, kernel ``k``, stride ``s``, padding ``p`` on both sides, dilation ``d``:

    convolution, pooling    floor((n + 2 p - d (k - 1) - 1) / s) + 1
    transposed              (n - 1) s - 2 p + d (k - 1) + output_padding + 1
    pixel shuffle, resize   n * factor

Field of a chain, with ``jump`` the product of the strides before: ``size += (k - 1) d jump``, ``start += ((k - 1) d / 2 - p) jump``.

    >>> layer = conv(3, 10, kernel=5, padding=2)
    >>> layer.output_sizes((32, 32)), layer.parameters
    ((32, 32), 760)
    >>> [step.field for step in compose([conv(3, 8, 3), conv(8, 8, 3), pool(2, channels=8)], (32, 32))]
    [(3, 3), (5, 5), (6, 6)]

Source for the formulas: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", arXiv:1603.07285.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import prod
from typing import Literal, TypeVar

from fcn.core.errors import UserError
from fcn.graph.axis import AxisMap, Resize, Transposed, Window
from fcn.graph.field import Field, PathField, through

T = TypeVar("T")
Padding = int | tuple[int, int]
Kind = Literal["conv", "transposed", "max pool", "average pool", "l2 pool", "shuffle", "nearest", "bilinear"]
RESIZES: dict[str, Literal["repeat", "nearest", "linear"]] = {"shuffle": "repeat", "nearest": "nearest", "bilinear": "linear"}
POOLS = {"max": "max pool", "average": "average pool", "l2": "l2 pool"}


def conv_size(size: int, kernel: int, stride: int = 1, padding: Padding = 0, dilation: int = 1, *, ceil_mode: bool = False) -> int:
    """Cells that a convolution or a pool gives along one axis; 0 or less where it does not fit.

    ``padding`` is for both sides, or (before, after). In ceil mode a last window may hang over the end if it starts inside the input or its
    padding before, as torch's pools do.
    """
    before, after = padding if isinstance(padding, tuple) else (padding, padding)
    room = size + before + after - dilation * (kernel - 1) - 1
    if not ceil_mode:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= size + before else count


def transposed_size(size: int, kernel: int, stride: int = 1, padding: Padding = 0, dilation: int = 1, output_padding: int = 0) -> int:
    """Cells that a transposed convolution gives along one axis."""
    before, after = padding if isinstance(padding, tuple) else (padding, padding)
    return (size - 1) * stride - before - after + dilation * (kernel - 1) + output_padding + 1


def same_padding(kernel: int, dilation: int = 1) -> tuple[int, int]:
    """The padding (before, after) with which a convolution of stride 1 keeps the size; the odd cell goes after."""
    total = dilation * (kernel - 1)
    return total // 2, total - total // 2


def causal_padding(kernel: int, dilation: int = 1) -> tuple[int, int]:
    """The padding with which a convolution of stride 1 keeps the size and reads no later cell (TCN, WaveNet)."""
    return dilation * (kernel - 1), 0


def input_sizes(output: int, kernel: int, stride: int = 1, padding: Padding = 0, dilation: int = 1) -> range:
    """All input sizes from which a convolution or a pool gives ``output`` cells: ``stride`` of them, fewer where padding alone would do."""
    before, after = padding if isinstance(padding, tuple) else (padding, padding)
    smallest = (output - 1) * stride + dilation * (kernel - 1) + 1 - before - after
    return range(max(smallest, 1), max(smallest + stride, 1))


def transposed_input_size(output: int, kernel: int, stride: int = 1, padding: Padding = 0, dilation: int = 1) -> tuple[int, int]:
    """The input size and the ``output_padding`` with which a transposed convolution gives ``output`` cells."""
    before, after = padding if isinstance(padding, tuple) else (padding, padding)
    size, rest = divmod(output + before + after - dilation * (kernel - 1) - 1, stride)
    return size + 1, rest


@dataclass(frozen=True)
class Layer:
    """One layer, of any number of axes; tuples have one entry per axis, or one for all. Build it with the functions below.

    ``padding`` holds (before, after). For resizes and shuffles, ``stride`` is the factor.
    """

    kind: Kind
    in_channels: int
    out_channels: int
    kernel: tuple[int, ...] = (1,)
    stride: tuple[int, ...] = (1,)
    padding: tuple[tuple[int, int], ...] = ((0, 0),)
    dilation: tuple[int, ...] = (1,)
    groups: int = 1
    bias: bool = False
    output_padding: int = 0
    ceil_mode: bool = False

    @property
    def weights(self) -> int:
        """``k k C_in C_out / groups`` for a convolution of either kind, none for the others."""
        if self.kind not in ("conv", "transposed"):
            return 0
        return prod(self.kernel) * self.in_channels * self.out_channels // self.groups

    @property
    def parameters(self) -> int:
        return self.weights + (self.out_channels if self.bias else 0)

    def output_sizes(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """Cells along each axis. Raises UserError where the layer does not fit into ``sizes``."""
        found = tuple(axis.n_out for axis in self.maps(sizes))
        if min(found) < 1:
            raise UserError(f"a {self.kind} of kernel {_times(self.kernel)} gives no cells from {_times(sizes)}; give a larger input")
        return found

    def macs(self, sizes: Sequence[int]) -> int:
        """Multiply-adds for an input of ``sizes`` cells.

        A convolution multiplies all its weights at each output cell, a transposed one at each input cell. Average and L2 pools add ``k k``
        cells (squares). A linear resize weighs two cells along each axis. Maxima, nearest and shuffles multiply nothing.
        """
        cells = prod(self.output_sizes(sizes))
        if self.kind == "conv":
            return cells * self.weights
        if self.kind == "transposed":
            return prod(sizes) * self.weights
        if self.kind in ("average pool", "l2 pool"):
            return cells * prod(_at(self.kernel, place) for place in range(len(sizes))) * self.out_channels
        return cells * 2 ** len(sizes) * self.out_channels if self.kind == "bilinear" else 0

    def _axis(self, place: int) -> tuple[int, int, tuple[int, int], int]:
        """Kernel, stride, padding and dilation along one axis."""
        return _at(self.kernel, place), _at(self.stride, place), _at(self.padding, place), _at(self.dilation, place)

    def maps(self, sizes: Sequence[int]) -> tuple[AxisMap, ...]:
        """What each output cell reads, along each axis of an input of ``sizes`` cells."""
        found: list[AxisMap] = []
        for place, n in enumerate(sizes):
            k, s, p, d = self._axis(place)
            if self.kind == "transposed":
                out = transposed_size(n, k, s, p, d, self.output_padding)
                found.append(Transposed(n, out, k, s, d, (p[0], p[1] - self.output_padding)))
            elif self.kind in RESIZES:
                found.append(Resize(n, n * s, Fraction(1, s), RESIZES[self.kind], fixed=True))
            else:
                found.append(Window(n, conv_size(n, k, s, p, d, ceil_mode=self.ceil_mode), k, s, d, p))
        return tuple(found)


def conv(
    in_channels: int,
    out_channels: int,
    kernel: int | tuple[int, ...],
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[Padding, ...] | Literal["same"] = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
    bias: bool = True,
) -> Layer:
    """A convolution: of images if ``kernel`` is one number, else of as many axes as it has numbers.

    ``groups`` splits the channels (ResNeXt). Raises UserError where they do not divide.
    """
    if groups < 1 or in_channels % groups or out_channels % groups:
        raise UserError(f"{groups} groups do not divide {in_channels} channels in and {out_channels} out; give a common divisor")
    kernels, dilations = (kernel, kernel) if isinstance(kernel, int) else kernel, _tuple(dilation)
    if padding == "same":
        rank = max(len(kernels), len(dilations))
        pads = tuple(same_padding(_at(kernels, place), _at(dilations, place)) for place in range(rank))
    else:
        pads = _pads(padding)
    return Layer("conv", in_channels, out_channels, kernels, _tuple(stride), pads, dilations, groups, bias)


def depthwise(
    channels: int, kernel: int, stride: int = 1, padding: int | Literal["same"] = 0, dilation: int = 1, bias: bool = True
) -> Layer:
    """A convolution of each channel by itself."""
    return conv(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=bias)


def pointwise(in_channels: int, out_channels: int, bias: bool = True) -> Layer:
    """A 1x1 convolution: channels mix, space does not."""
    return conv(in_channels, out_channels, 1, bias=bias)


def separable(
    in_channels: int,
    out_channels: int,
    kernel: int,
    stride: int = 1,
    padding: int | Literal["same"] = 0,
    dilation: int = 1,
    bias: bool = True,
) -> tuple[Layer, Layer]:
    """Depthwise, then pointwise: ``k k C_in + C_in C_out`` weights instead of ``k k C_in C_out`` (Xception, MobileNet)."""
    return depthwise(in_channels, kernel, stride, padding, dilation, bias), pointwise(in_channels, out_channels, bias)


def spatially_separable(in_channels: int, out_channels: int, kernel: int, padding: int = 0, bias: bool = True) -> tuple[Layer, Layer]:
    """``k x 1``, then ``1 x k``: for a kernel of rank one the same, with ``2 k`` weights instead of ``k k``."""
    first = conv(in_channels, out_channels, (kernel, 1), padding=(padding, 0), bias=bias)
    return first, conv(out_channels, out_channels, (1, kernel), padding=(0, padding), bias=bias)


def causal(in_channels: int, out_channels: int, kernel: int, dilation: int = 1, bias: bool = True) -> Layer:
    """A 1-D convolution that keeps the size and reads no later cell."""
    return replace(conv(in_channels, out_channels, (kernel,), dilation=dilation, bias=bias), padding=(causal_padding(kernel, dilation),))


def pool(
    kernel: int,
    stride: int | None = None,
    padding: int = 0,
    dilation: int = 1,
    *,
    channels: int = 1,
    kind: Literal["max", "average", "l2"] = "max",
    ceil_mode: bool = False,
) -> Layer:
    """A pool, by default of stride ``kernel``."""
    name = POOLS.get(kind)
    if name is None:
        raise UserError(f"no pool '{kind}'; the pools are {', '.join(POOLS)}")
    steps = (kernel if stride is None else stride,)
    return Layer(name, channels, channels, (kernel,), steps, _pads(padding), (dilation,), ceil_mode=ceil_mode)  # type: ignore[arg-type]


def transposed(
    in_channels: int,
    out_channels: int,
    kernel: int,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    output_padding: int = 0,
    groups: int = 1,
    bias: bool = True,
) -> Layer:
    """A transposed convolution ("deconvolution"): the matrix of a convolution, transposed."""
    return replace(
        conv(in_channels, out_channels, kernel, stride, padding, dilation, groups, bias), kind="transposed", output_padding=output_padding
    )


def pixel_shuffle(in_channels: int, factor: int) -> Layer:
    """``r r C`` channels become ``C``, ``r`` times the size along each of two axes."""
    if in_channels % factor**2:
        raise UserError(f"pixel shuffle by {factor} needs a multiple of {factor**2} channels, not {in_channels}")
    return Layer("shuffle", in_channels, in_channels // factor**2, stride=(factor,))


def resize(channels: int, factor: int, mode: Literal["nearest", "bilinear"] = "bilinear") -> Layer:
    """Interpolation by a whole factor, corners not aligned."""
    return Layer(mode, channels, channels, stride=(factor,))


@dataclass(frozen=True)
class Step:
    """A layer in its place: sizes in and out, and the field of its cells in the input of the first layer, per axis.

    ``jump`` is the distance from one cell to the next, ``start`` the pixel on which the first cell's field is centred. ``fields`` has all
    that is known of it.
    """

    layer: Layer
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    field: tuple[int, ...]
    jump: tuple[Fraction, ...]
    start: tuple[Fraction, ...]
    parameters: int
    macs: int
    fields: tuple[Field, ...]


def compose(layers: Sequence[Layer], sizes: Sequence[int]) -> list[Step]:
    """Layers one after another, on an input of ``sizes`` cells. Raises UserError where sizes or channels do not fit."""
    fields = [Field(((Fraction(0), Fraction(1)),), Fraction(1))] * len(sizes)
    steps, now, channels = [], tuple(sizes), layers[0].in_channels if layers else 0
    for place, layer in enumerate(layers):
        if layer.in_channels != channels:
            raise UserError(f"layer {place + 1} ({layer.kind}) takes {layer.in_channels} channels, but {channels} arrive")
        maps, after = layer.maps(now), layer.output_sizes(now)
        fields = [through(axis, PathField(field), False).field for axis, field in zip(maps, fields, strict=True)]
        size, jump, start = (tuple(getattr(field, name) for field in fields) for name in ("size", "stride", "offset"))
        steps.append(Step(layer, now, after, size, jump, start, layer.parameters, layer.macs(now), tuple(fields)))
        now, channels = after, layer.out_channels
    return steps


def needed_input(layers: Sequence[Layer], outputs: Sequence[int]) -> tuple[range, ...]:
    """The inverse question: per axis, all input sizes from which ``layers`` give ``outputs`` cells.

    Raises UserError for layers that up-sample or work in ceil mode.
    """
    found = []
    for axis, output in enumerate(outputs):
        low = high = output
        for layer in reversed(layers):
            if layer.kind not in ("conv", *POOLS.values()) or layer.ceil_mode:
                raise UserError(f"the input size of a {layer.kind}{' in ceil mode' if layer.ceil_mode else ''} is not sought; leave it out")
            k, s, p, d = layer._axis(axis)
            low, high = input_sizes(low, k, s, p, d).start, input_sizes(high, k, s, p, d).stop - 1
        found.append(range(low, high + 1))
    return tuple(found)


def _tuple(value: int | tuple[int, ...]) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) else value


def _pads(padding: int | tuple[Padding, ...]) -> tuple[tuple[int, int], ...]:
    each = (padding,) if isinstance(padding, int) else padding
    return tuple((pad, pad) if isinstance(pad, int) else pad for pad in each)


def _at(values: tuple[T, ...], place: int) -> T:
    return values[0] if len(values) == 1 else values[place]


def _times(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))
