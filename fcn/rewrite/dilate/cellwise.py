"""Which operations leave every cell in its place, so that a map of more cells passes through them as it is.

What mixes cells is not listed, and is refused where it would meet a dilated map; that sizes stay is measured beside.
"""

from typing import Any

from torch import fx, nn

from fcn.rewrite.names import known, layer_of, operation

HOMES = {
    module.__name__
    for module in (
        nn.modules.activation,
        nn.modules.batchnorm,
        nn.modules.dropout,
        nn.modules.flatten,
        nn.modules.instancenorm,
        nn.modules.linear,
        nn.modules.normalization,
    )
} | {"timm.layers.norm_act", "timm.layers.inplace_abn", "timm.layers.drop", "torchvision.ops.stochastic_depth"}
MIXING = (nn.MultiheadAttention, nn.Bilinear)

ALONG_ONE = ("softmax", "softmin", "log_softmax", "logsumexp", "normalize")


def is_cellwise(network: fx.GraphModule, node: fx.Node) -> bool:
    if node.op != "call_module":
        return known(operation(node)).scope != "grid"
    module = network.get_submodule(str(node.target))
    return type(module).__module__ in HOMES and not isinstance(module, MIXING)


def takes_sizes(node: fx.Node) -> bool:
    """Whether what a node is given beside tensors is sizes and places in them: a view, a part, an expansion."""
    entry = known(operation(node))
    return entry.moves or entry.cuts or operation(node) == "getitem"


def works_along(network: fx.GraphModule, node: fx.Node, rank: int) -> set[int]:
    """The dimensions, of ``rank``, along which a linear map, a layer norm or a softmax works."""
    module = network.get_submodule(str(node.target)) if node.op == "call_module" else None
    name = operation(node) if module is None else ""
    dims: list[Any] = []
    if isinstance(module, nn.Linear) or name == "linear":
        dims = [-1]
    elif isinstance(module, nn.LayerNorm):
        dims = list(range(-len(module.normalized_shape), 0))
    elif name == "layer_norm":
        shape: Any = node.args[1] if len(node.args) > 1 else node.kwargs["normalized_shape"]
        dims = list(range(-len(shape), 0))
    elif name in ALONG_ONE:
        place = 2 if name == "normalize" else 1
        dims = [node.kwargs.get("dim", node.args[place] if len(node.args) > place else 1)]
    elif isinstance(getattr(module, "dim", None), int):
        dims = [module.dim]  # type: ignore[union-attr]
    return {dim % rank for dim in dims if isinstance(dim, int)}


def layer_name(node: fx.Node) -> str:
    """Where a node stands, for messages: its layer's path, with the operation where it is written in a ``forward``."""
    layer = layer_of(node)
    if node.op == "call_module":
        return layer
    return f"{layer} ({operation(node)})" if layer else operation(node)
