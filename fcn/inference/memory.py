"""How much memory a pass over an image takes, and how much there is.

What a pass takes is read from the network's graph: the operations in their order, each tensor alive from the operation that makes it to the
last one that reads it. The sum of what is alive is largest at one of them; it grows with the area of the image.
"""

import operator
import weakref
from math import prod

import psutil
import torch
from torch import Tensor, fx, nn

from fcn.geometry.graph import Graph, read_graph
from fcn.inference.scoring import ScoresOf
from fcn.models.segmenter import Segmenter

PROBE = 256  # side, pixels, of the image at which the graph is read
SHARE = 0.5  # of what is free that a strategy takes unless told otherwise
VIEWS = ("view", "reshape", "flatten", "unflatten", "contiguous", "to", "alias", "detach", "dropout", "chunk", "expand", "expand_as")


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


_per_pixel: "weakref.WeakKeyDictionary[nn.Module, float]" = weakref.WeakKeyDictionary()


def pass_bytes(model: Segmenter, height: int, width: int) -> int:
    """An estimate of the memory that the scores of one (height, width) image take at their peak, beside the weights."""
    if model not in _per_pixel:
        device = model.mean.device.type
        with torch.autocast(device, enabled=False), torch.inference_mode(False), torch.no_grad():
            graph = read_graph(ScoresOf(model), (PROBE, PROBE))
        _per_pixel[model] = live_bytes(graph) / PROBE**2
    return int(_per_pixel[model] * height * width)


def live_bytes(graph: Graph) -> int:
    """The most bytes of tensors that are alive at once when the operations of a graph run in their order."""
    nodes = {node.fx: node for node in graph}
    owner: dict[fx.Node, fx.Node] = {}  # the operation whose memory a value lies in
    last: dict[fx.Node, int] = {}
    for place, node in enumerate(graph):
        sources = [owner[source] for source in node.fx.all_input_nodes if source in owner]
        owner[node.fx] = sources[0] if sources and shares_memory(node.fx) else node.fx
        for used in (*sources, owner[node.fx]):
            last[used] = place
    for name in graph.outputs.values():
        last[owner[graph.node(name).fx]] = len(nodes)
    ending: dict[int, int] = {}
    now = most = 0
    for place, node in enumerate(graph):
        if owner[node.fx] is node.fx:
            now += tensor_bytes(node.fx)
            ending[last[node.fx]] = ending.get(last[node.fx], 0) + tensor_bytes(node.fx)
        most = max(most, now)
        now -= ending.get(place, 0)
    return most


def tensor_bytes(node: fx.Node) -> int:
    found = node.meta.get("val")
    tensors = found if isinstance(found, (list, tuple)) else [found]
    return sum(prod(tensor.shape) * tensor.element_size() for tensor in tensors if isinstance(tensor, Tensor))


def shares_memory(node: fx.Node) -> bool:
    """Whether a value lies where one that it reads lies: a view of it, or the same written over."""
    if node.target is operator.getitem:
        return True
    schema = getattr(node.target, "_schema", None)
    aliases = schema is not None and any(result.alias_info is not None for result in schema.returns)
    return aliases or getattr(node.target, "__name__", "").split(".")[0] in VIEWS
