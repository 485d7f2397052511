"""What a node of a traced network is called, where it stands, and what the table of operations knows of it.

A traced network calls layers, functions and methods; the table has aten's operations. Most are spelled alike, but for capitals and
underscores (``nn.LeakyReLU``, ``F.leaky_relu``, ``x.add_``); ``LIKE`` has the others.
"""

from torch import fx, nn

from fcn.graph.aten import is_pointwise, layer_path
from fcn.graph.ops import NOTHING, TABLE, Operation
from fcn.graph.ops.pointwise import NUMBER

SPELLED = {name.replace("_", ""): entry for name, entry in TABLE.items()}
LIKE = {  # an operation of aten that does the same to cells
    **dict.fromkeys(["float", "half", "double", "bfloat16", "type"], "to"),
    **dict.fromkeys(["stochasticdepth", "droppath", "dropconnect"], "dropout"),
    **dict.fromkeys(["dropout1d", "dropout2d", "dropout3d"], "featuredropout"),
    **dict.fromkeys(["normalize", "localresponsenorm"], "layernorm"),
    **{"identity": "alias", "radd": "add", "rmul": "mul", "truediv": "div", "rtruediv": "reciprocal"},
    **{"softsign": "sigmoid", "softmin": "softmax", "vectornorm": "norm"},
}


def operation(node: fx.Node) -> str:
    """The name of the function or method, in-place forms and operators alike: ``add`` for ``torch.add``, ``x.add_`` and ``+``."""
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    name = name.strip("_")
    return name.removeprefix("i") if name in ("iadd", "isub", "imul", "itruediv") else name


def names_of(network: fx.GraphModule, node: fx.Node) -> list[str]:
    """A module's class and those that it comes from, or the name of a function or method."""
    if node.op == "call_module":
        return [base.__name__ for base in type(network.get_submodule(str(node.target))).__mro__ if issubclass(base, nn.Module)]
    return [operation(node)]


def known(name: str) -> Operation:
    """What is known of the operation that a function, method or class of this name stands for; nothing, for most classes."""
    plain = name.replace("_", "").lower()
    plain = LIKE.get(plain, plain)
    return SPELLED.get(plain) or (NUMBER if is_pointwise(name) or is_pointwise(plain) else NOTHING)


def layer_of(node: fx.Node) -> str:
    """The path of the layer that a node calls, or in whose ``forward`` it is; "" for the network's own."""
    return str(node.target) if node.op == "call_module" else layer_path(node)


def where(network: fx.GraphModule, node: fx.Node) -> str:
    """A node as messages name it: the layer's path and kind, or the operation and the layer in whose ``forward`` it is."""
    name, layer = names_of(network, node)[0], layer_of(node)
    if node.op == "call_module":
        return f"layer '{layer}' ({name})"
    return f"'{name}'" + (f" in layer '{layer}'" if layer else " in forward")
