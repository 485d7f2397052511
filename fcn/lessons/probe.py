"""The receptive field by experiment: run the network, ask autograd which pixels an output cell depends on.

Nothing here reads the table of operations, which it checks: torch itself runs the traced operations. What would hide a dependence is made
linear and positive first, since a plain gradient under-reports. A ReLU that is off or a max that chose another cell passes nothing. Weights
of both signs cancel. So every weight becomes ``1 / fan_in``, activations become the identity, maxima become means, products become sums,
norms become a cell plus the mean. Two methods:

- ``gradient``: the pixels whose gradient is not zero.
- ``nan``: NaN is put into the gradient of one cell and spreads to what it touches ("the NaN trick"). ``0 * NaN`` is NaN, which would
  report neighbours of weight zero where bilinear interpolation hits the grid; resizes are therefore taken apart and their zeros left out.

All is done in float64: single precision convolutions may use fast transforms, in which a NaN spreads over a whole tile.
"""

from collections.abc import Sequence
from math import prod
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from fcn.core.errors import UserError
from fcn.graph.aten import arguments, is_pointwise, layer_path, op_name
from fcn.graph.image import input_shape
from fcn.graph.read import random_image
from fcn.graph.trace import Trace, trace

Interval = tuple[int, int]


class Probe:
    """Footprints of a network's cells at one input size; the network itself is not changed.

    ``layer`` is a module's path or a node's name (default: the output called "out", or the first). The tensor there must be
    ``(1, C, *sizes)``, or have no axes of space at all. Raises UserError for an unknown layer.
    """

    def __init__(self, network: nn.Module, input_size: int | Sequence[int] | None = None, *, layer: str | None = None) -> None:
        self.shape = input_shape(network, input_size)
        reference = next(network.parameters(), torch.zeros(()))
        traced = trace(network, random_image(self.shape, reference.dtype, reference.device))
        target = _target(traced, layer)
        self.image = random_image(self.shape, torch.float64, torch.device("cpu")).clone().requires_grad_()
        self.value: Tensor = _Linear(traced, target).run(self.image)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Cells of the probed layer along each axis."""
        return tuple(self.value.shape[2:]) if self.value.dim() == len(self.shape) else (1,) * (len(self.shape) - 2)

    def footprint(self, cell: Sequence[int], method: Literal["gradient", "nan"] = "gradient") -> Tensor:
        """Which pixels one cell (of any channel) depends on: bool, of the image's size."""
        if method not in ("gradient", "nan"):
            raise UserError(f"no method '{method}'; the methods are gradient and nan")
        seed = torch.zeros_like(self.value)
        index: Any = (slice(None), slice(None), *cell) if self.value.dim() == len(self.shape) else (slice(None),)
        seed[index] = 1.0 if method == "gradient" else torch.nan
        (gradient,) = torch.autograd.grad(self.value, self.image, seed, retain_graph=True, allow_unused=True, materialize_grads=True)
        touched = gradient.isnan() if method == "nan" else gradient != 0
        return touched.flatten(0, 1).any(0)

    def interval(self, cell: Sequence[int], method: Literal["gradient", "nan"] = "gradient") -> tuple[Interval | None, ...]:
        """The smallest interval of pixels, per axis, that holds the cell's footprint; None for a cell that sees nothing."""
        touched = self.footprint(cell, method)
        found: list[Interval | None] = []
        for axis in range(touched.dim()):
            others = [other for other in range(touched.dim()) if other != axis]
            along = (touched.any(others) if others else touched).nonzero()
            found.append((int(along.min()), int(along.max()) + 1) if len(along) else None)
        return tuple(found)


def _target(traced: Trace, layer: str | None) -> fx.Node:
    if layer is None:
        return traced.outputs["out"] if "out" in traced.outputs else next(iter(traced.outputs.values()))
    if layer in traced.outputs:
        return traced.outputs[layer]
    nodes = list(traced.graph.nodes)
    paths = [layer_path(node) for node in nodes]
    inside = [node for node, path in zip(nodes, paths, strict=True) if path == layer or path.startswith(layer + ".")]
    inside = inside or [node for node in nodes if node.name == layer]
    if not inside:
        raise UserError(f"no layer or operation '{layer}' in this network; give a module's path, as in named_modules()")
    return inside[-1]


class _Linear(fx.Interpreter):
    """Runs a trace with positive, linear stand-ins, in float64, up to one node."""

    def __init__(self, traced: Trace, target: fx.Node) -> None:
        super().__init__(nn.Module(), graph=traced.graph)
        self.traced, self.target = traced, target
        self.moving: set[fx.Node] = set()
        for node in traced.graph.nodes:
            if node is traced.image or any(source in self.moving for source in node.all_input_nodes):
                self.moving.add(node)

    def run(self, image: Tensor) -> Tensor:  # type: ignore[override]
        for node in self.traced.graph.nodes:
            if node is self.traced.image:
                self.env[node] = image
            elif node.op == "placeholder":
                tensor = self.traced.tensors[node.name].detach().cpu()
                self.env[node] = tensor.double() if tensor.is_floating_point() else tensor
            elif node.op == "call_function":
                self.env[node] = self.run_node(node)
            if node is self.target:
                break
        return self.env[self.target]

    def run_node(self, n: fx.Node) -> Any:
        if op_name(n).startswith("_assert"):  # of a type, which is another one here
            return None
        if n not in self.moving:
            with torch.no_grad():
                constant = super().run_node(n)
            return constant.double() if isinstance(constant, Tensor) and constant.is_floating_point() else constant
        name = op_name(n)
        if name in STAND_INS:
            found = STAND_INS[name](self, n, fx.node.map_arg(arguments(n), self.env.__getitem__))
        else:
            found = _sum(self, n) if is_pointwise(name, n.target) else super().run_node(n)
        several = isinstance(found, Tensor) and not isinstance(n.meta["val"], Tensor)
        return (found,) * len(n.meta["val"]) if several else found

    def moving_inputs(self, node: fx.Node) -> list[Tensor]:
        return [self.env[source] for source in node.all_input_nodes if source in self.moving]


def _shape(node: fx.Node) -> tuple[int, ...]:
    found = node.meta["val"]
    return tuple((found if isinstance(found, Tensor) else found[0]).shape)


def _sum(run: _Linear, node: fx.Node, *_: Any) -> Tensor:
    """Whatever a pointwise operation does, its result depends on all its operands."""
    total = torch.zeros((), dtype=torch.float64)
    for tensor in run.moving_inputs(node):
        total = total + tensor
    return total.expand(_shape(node))


def _first(run: _Linear, node: fx.Node, names: dict[str, Any]) -> Any:
    return run.moving_inputs(node)[0]


def _convolve(run: _Linear, node: fx.Node, names: dict[str, Any]) -> Tensor:
    weight = torch.full_like(names["weight"], 1 / prod(names["weight"].shape[1:]))
    rest = {key: value for key, value in names.items() if key not in ("input", "weight", "bias")}
    order = [argument.name for argument in node.target._schema.arguments][3:]  # type: ignore[union-attr]
    return node.target(names["input"], weight, None, *(rest[key] for key in order if key in rest))  # type: ignore[operator]


def _box(x: Tensor, kernel: Any, stride: Any, padding: Any, dilation: Any, sizes: Sequence[int]) -> Tensor:
    """The mean over each window, of which there are ``sizes``: a convolution, channel by channel."""
    rank, channels, pads = len(sizes), x.shape[1], []
    kernel, stride, padding, dilation = (
        [v] * rank if isinstance(v, int) else list(v) * (rank // len(v)) for v in (kernel, stride, padding, dilation)
    )
    for n, out, k, s, p, d in reversed(list(zip(x.shape[2:], sizes, kernel, stride, padding, dilation, strict=True))):
        pads += [p, (out - 1) * s + d * (k - 1) + 1 - n - p]
    convolve = (F.conv1d, F.conv2d, F.conv3d)[rank - 1]
    weight = torch.full((channels, 1, *kernel), 1 / prod(kernel), dtype=x.dtype)
    return convolve(F.pad(x, pads), weight, None, tuple(stride), 0, tuple(dilation), channels)


def _max_pool(run: _Linear, node: fx.Node, names: dict[str, Any]) -> Any:
    kernel, stride = names["kernel_size"], names.get("stride") or names["kernel_size"]
    x, shape = names["self"], _shape(node)
    return _box(x, kernel, stride, names["padding"], names["dilation"], shape[-len(shape) + 2 :])


def _unpool(run: _Linear, node: fx.Node, names: dict[str, Any]) -> Tensor:
    origin = node.args[1].args[0]  # type: ignore[union-attr]
    pool, x, sizes = arguments(origin), names["self"], _shape(node)[2:]  # type: ignore[arg-type]
    rank, channels = len(sizes), x.shape[1]
    kernel, stride, padding = (
        [v] * rank if isinstance(v, int) else list(v) * (rank // len(v))
        for v in (pool["kernel_size"], pool["stride"] or pool["kernel_size"], pool["padding"])
    )
    transpose = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[rank - 1]
    spread = transpose(x, torch.ones(channels, 1, *kernel, dtype=x.dtype), None, tuple(stride), 0, 0, channels)
    pads: list[int] = []
    for n, out, p in reversed(list(zip(spread.shape[2:], sizes, padding, strict=True))):
        pads += [-p, out - n + p]
    return F.pad(spread, pads)


def _adaptive(run: _Linear, node: fx.Node, names: dict[str, Any]) -> Any:
    x, size = names["self"], tuple(names["output_size"])
    return (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[len(size) - 1](x, size if len(size) > 1 else size[0])


def _resize(run: _Linear, node: fx.Node, names: dict[str, Any]) -> Tensor:
    """One axis at a time, with torch's own weights: those of the resized identity; zeros (to rounding) are left out of the sum."""
    x, shape = names["input"] if "input" in names else names["self"], _shape(node)
    name, rank = op_name(node), len(shape) - 2
    modes = {"nearest_exact": "nearest-exact", "nearest": "nearest", "cubic": "bicubic", "linear": "bilinear"}
    mode = next(modes[word] for word in modes if word in name)
    factors = names.get("scale_factors") or [names.get(f"scales{tail}") for tail in (["_d", "_h", "_w"][-rank:] if rank > 1 else ["_"])]
    factors = [*(factors if any(factors) else []), *[None] * rank][:rank]
    for axis, (size, factor) in enumerate(zip(shape[2:], factors, strict=True)):
        eye = torch.eye(x.shape[2 + axis], dtype=torch.float64)[:, None, :, None].repeat(1, 1, 1, 4)  # torch's antialiasing errs at width 1
        options: dict[str, Any] = {"size": (size, 4)} if not factor else {"scale_factor": (factor, 1.0)}
        if mode in ("bilinear", "bicubic"):
            options |= {"align_corners": bool(names.get("align_corners")), "antialias": "_aa" in name}
        weights = F.interpolate(eye, mode=mode, **options)[:, 0, :, 0].abs()  # (n_in, n_out)
        x = _taps(x, 2 + axis, torch.where(weights > 1e-4, weights, 0.0))
    return x


def _taps(x: Tensor, dim: int, weights: Tensor) -> Tensor:
    strongest, sources = weights.topk(max(int((weights > 0).sum(0).max()), 1), dim=0)
    total = torch.zeros((), dtype=x.dtype)
    for weight, source in zip(strongest, sources, strict=True):
        wide = weight.view([-1 if place == dim else 1 for place in range(x.dim())])
        total = total + torch.where(wide > 0, x.index_select(dim, source) * wide, 0.0)
    return total


def _norm(run: _Linear, node: fx.Node, names: dict[str, Any]) -> Any:
    x, name = run.moving_inputs(node)[0], op_name(node)
    if "batch_norm" in name and not (names.get("training") or names.get("running_mean") is None):
        return x
    dims = list(range(2, x.dim()))
    if "layer_norm" in name or "rms_norm" in name:
        dims = list(range(-len(names["normalized_shape"]), 0))
    if "softmax" in name or name == "cumsum":
        dims = [names["dim"]]
    return x + x.mean(dims, keepdim=True)


def _reduce(run: _Linear, node: fx.Node, names: dict[str, Any]) -> Any:
    x = run.moving_inputs(node)[0]
    if isinstance(names.get("other"), Tensor):
        return _sum(run, node)
    dims = names.get("dim")
    dims = list(range(x.dim())) if dims is None or dims == [] else dims
    return x.mean(dims, keepdim=bool(names.get("keepdim")))


def _matmul(run: _Linear, node: fx.Node, names: dict[str, Any]) -> Tensor:
    first, second = (run.env[source] for source in node.all_input_nodes[:2])
    moving = [source in run.moving for source in node.all_input_nodes[:2]]
    left = first.mean(-1, keepdim=True) if moving[0] else torch.zeros(())
    right = second.mean(-2, keepdim=True) if moving[1] and second.dim() > 1 else torch.zeros(())
    return (left + right).expand(_shape(node))


def _linear(run: _Linear, node: fx.Node, names: dict[str, Any]) -> Tensor:
    return names["input"].mean(-1, keepdim=True).expand(_shape(node))


def _attend(run: _Linear, node: fx.Node, names: dict[str, Any]) -> Tensor:
    query, key, value = names["query"], names["key"], names["value"]
    return query.mean(-1, keepdim=True) + key.mean((-2, -1), keepdim=True) + value.mean(-2, keepdim=True)


STAND_INS: dict[str, Any] = {
    **dict.fromkeys(
        ["dropout", "feature_dropout", "hardswish", "prelu", "relu6", "alias", "to", "_to_copy", "type_as", "clone", "abs"], _first
    ),
    **dict.fromkeys([f"conv{n}d" for n in (1, 2, 3)] + ["convolution"], _convolve),
    **dict.fromkeys([f"conv_transpose{n}d" for n in (1, 2, 3)], _convolve),
    **dict.fromkeys([f"max_pool{n}d{tail}" for n in (1, 2, 3) for tail in ("", "_with_indices")], _max_pool),
    **dict.fromkeys(["max_unpool2d", "max_unpool3d"], _unpool),
    **dict.fromkeys([f"adaptive_{kind}_pool{n}d" for kind in ("avg", "max") for n in (1, 2, 3)], _adaptive),
    **dict.fromkeys(
        [f"upsample_{mode}" for mode in ("nearest1d", "nearest2d", "nearest3d", "linear1d", "bilinear2d", "trilinear3d", "bicubic2d")],
        _resize,
    ),
    **dict.fromkeys([f"_upsample_{mode}" for mode in ("nearest_exact1d", "nearest_exact2d", "bilinear2d_aa", "bicubic2d_aa")], _resize),
    **dict.fromkeys(
        ["batch_norm", "instance_norm", "group_norm", "layer_norm", "native_layer_norm", "softmax", "log_softmax", "cumsum"], _norm
    ),
    **dict.fromkeys(["mean", "sum", "amax", "amin", "max", "min", "std", "var", "var_mean", "linalg_vector_norm"], _reduce),
    **dict.fromkeys(["matmul", "bmm", "mm"], _matmul),
    "linear": _linear,
    "scaled_dot_product_attention": _attend,
    "copy": _sum,
}
