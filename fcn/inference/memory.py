"""How much memory a pass over an image takes, and how much there is.

The memory of a pass is estimated from the network's graph. A tensor is alive from the operation that makes it to the last one that reads
it. The peak is the largest sum of live tensors. It grows with the area of the image. Under autocast, tensors that would be float32 count in
the type of autocast.
"""

import warnings
from collections.abc import Callable
from math import prod
from typing import NamedTuple

import psutil
import torch
from torch import Tensor, fx, nn

from fcn.graph import Graph, UnknownOperationError, read_graph
from fcn.graph.ops import may_alias
from fcn.inference.kept import ImageSpec, Kept
from fcn.models.segmenter import Segmenter

PROBE = 256  # side, pixels, of the image at which the graph is read
SHARE = 0.5  # of what is free that a strategy takes unless told otherwise


def available_bytes(device: torch.device) -> int:
    """The memory that can still be taken on ``device``."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return psutil.virtual_memory().available


def budget_bytes(device: torch.device, memory: float | None) -> int:
    """What a strategy may take: ``memory`` GiB, or a share of what is free."""
    return int(memory * 2**30) if memory is not None else int(SHARE * available_bytes(device))


def ran_out(error: Exception) -> bool:
    """Whether it was memory that was lacking."""
    words = ("not enough memory", "can't allocate memory", "out of memory")
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(word in str(error).lower() for word in words)


class Pass(NamedTuple):
    """What a network's graph says of one pass.

    bytes_per_pixel: memory at the peak.
    at_once: whether a stream takes one pass over the image, since nothing but resizes looks at all of it.
    intensity: multiply-adds for each byte that the operations make.
    """

    bytes_per_pixel: float
    at_once: bool
    intensity: float


passes: Kept[Pass | None] = Kept(4, weights=False)


def pass_bytes(model: Segmenter, height: int, width: int) -> int | None:
    """Estimate of the peak memory of the scores of one (height, width) image, beside the weights. None for a network with an operation that
    is not understood."""
    found = pass_of(model)
    return None if found is None else int(found.bytes_per_pixel * height * width)


def pass_of(model: Segmenter) -> Pass | None:
    """See ``Pass``; None for a network with an operation that is not understood."""
    device = model.mean.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    image = ImageSpec((1, model.in_channels, PROBE, PROBE), model.mean.dtype, model.mean.device)

    def make(read: Callable[[], nn.Module]) -> tuple[Pass | None, ImageSpec]:
        try:
            with warnings.catch_warnings():  # one recorded run is good enough for an estimate
                warnings.filterwarnings("ignore", message="torch.export could not read")
                graph = read_graph(read(), (PROBE, PROBE))
            return pass_through(graph, dtype), image
        except UnknownOperationError:
            return None, image

    return passes.get(model, dtype, make)


def pass_through(graph: Graph, dtype: torch.dtype | None = None) -> Pass:
    """What the graph of a network, read at any size, says of a pass. dtype: that of autocast."""
    at_once = all(node.is_global is not None and node.is_global.cause == "resize" for node in graph.globals)
    intensity = sum(node.macs for node in graph) / sum(tensor_bytes(node.fx, dtype) for node in graph)
    return Pass(live_bytes(graph, dtype) / prod(graph.input_shape[2:]), at_once, intensity)


def live_bytes(graph: Graph, dtype: torch.dtype | None = None) -> int:
    """The most bytes of tensors that are alive at once when the operations of a graph run in their order. dtype: that of autocast."""
    nodes = {node.fx: node for node in graph}
    owner: dict[fx.Node, fx.Node] = {}  # the operation whose memory a value lies in
    last: dict[fx.Node, int] = {}
    for place, node in enumerate(graph):
        sources = [owner[source] for source in node.fx.all_input_nodes if source in owner]
        owner[node.fx] = sources[0] if sources and may_alias(node.fx) else node.fx
        for used in (*sources, owner[node.fx]):
            last[used] = place
    last[graph.input.fx] = len(nodes)  # whoever asks for the pass holds the image
    for name in graph.outputs.values():
        last[owner[graph.node(name).fx]] = len(nodes)
    ending: dict[int, int] = {}
    now = most = 0
    for place, node in enumerate(graph):
        if owner[node.fx] is node.fx:
            size = tensor_bytes(node.fx, dtype if place else None)  # the image is what it is
            now += size
            ending[last[node.fx]] = ending.get(last[node.fx], 0) + size
        most = max(most, now)
        now -= ending.get(place, 0)
    return most


def tensor_bytes(node: fx.Node, dtype: torch.dtype | None) -> int:
    """What a node makes; ``dtype``, where it is given, in place of float32."""
    found = node.meta.get("val")
    tensors = [tensor for tensor in (found if isinstance(found, (list, tuple)) else [found]) if isinstance(tensor, Tensor)]
    types = [dtype if dtype is not None and tensor.dtype == torch.float32 else tensor.dtype for tensor in tensors]
    return sum(prod(tensor.shape) * each.itemsize for tensor, each in zip(tensors, types, strict=True))
