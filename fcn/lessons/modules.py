"""The layers of ``arithmetic`` as torch modules, with random weights: what is known by formula can be run."""

from collections.abc import Sequence

from torch import nn

from fcn.lessons.arithmetic import Layer

AXES = 2


def as_network(layers: Sequence[Layer]) -> nn.Sequential:
    """Layers of images, one after another: module ``i`` is layer ``i``. Its sizes and fields are those of ``arithmetic.compose``."""
    return nn.Sequential(*map(as_module, layers))


def as_module(layer: Layer) -> nn.Module:
    """One layer of images. What torch's layers cannot pad (unevenly, pools by more than half a window) is padded with zeros before them."""
    kernel, stride, dilation = (_pair(values) for values in (layer.kernel, layer.stride, layer.dilation))
    (top, bottom), (left, right) = layer.padding * AXES if len(layer.padding) == 1 else layer.padding
    if layer.kind == "transposed":
        settings = {"output_padding": layer.output_padding, "groups": layer.groups, "bias": layer.bias, "dilation": dilation}
        return nn.ConvTranspose2d(layer.in_channels, layer.out_channels, kernel, stride, (top, left), **settings)  # type: ignore[arg-type]
    if layer.kind == "shuffle":
        return nn.PixelShuffle(stride[0])
    if layer.kind in ("nearest", "bilinear"):
        return nn.Upsample(scale_factor=float(stride[0]), mode=layer.kind)
    inside = layer.kind != "l2 pool" and top == bottom and left == right
    if layer.kind != "conv":
        inside = inside and top <= kernel[0] // 2 and left <= kernel[1] // 2
    padding = (top, left) if inside else (0, 0)
    if layer.kind == "conv":
        module: nn.Module = nn.Conv2d(
            layer.in_channels, layer.out_channels, kernel, stride, padding, dilation, groups=layer.groups, bias=layer.bias
        )
    elif layer.kind == "max pool":
        module = nn.MaxPool2d(kernel, stride, padding, dilation, ceil_mode=layer.ceil_mode)
    elif layer.kind == "average pool":
        module = nn.AvgPool2d(kernel, stride, padding, ceil_mode=layer.ceil_mode)
    else:
        module = nn.LPPool2d(2.0, kernel, stride, ceil_mode=layer.ceil_mode)
    return module if inside or not any((top, bottom, left, right)) else nn.Sequential(nn.ZeroPad2d((left, right, top, bottom)), module)


def _pair(values: tuple[int, ...]) -> tuple[int, int]:
    return (values[0], values[0]) if len(values) == 1 else (values[0], values[1])
