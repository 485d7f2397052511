"""Which operations leave every cell in its place, so that a map of more cells passes through them as it is.

What mixes cells is not listed, and is refused where it would meet a dilated map; that sizes stay is measured beside.
"""

from typing import Any

from torch import fx, nn

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

FUNCTIONS = """
    add radd sub rsub mul rmul truediv rtruediv div neg pow square abs exp log sqrt rsqrt reciprocal
    where addcmul lerp maximum minimum clamp clamp_min clamp_max clip eq ne lt le gt ge
    sigmoid tanh erf relu relu6 leaky_relu elu celu selu gelu silu mish hardswish hardsigmoid hardtanh softplus softsign prelu rrelu
    logsigmoid softmax softmin log_softmax logsumexp normalize
    batch_norm layer_norm group_norm instance_norm rms_norm local_response_norm linear
    dropout dropout1d dropout2d dropout3d alpha_dropout feature_dropout feature_alpha_dropout stochastic_depth drop_path drop_connect
    cat concat concatenate stack chunk split split_with_sizes tensor_split unbind getitem channel_shuffle
    permute movedim transpose swapaxes contiguous clone view reshape flatten unflatten unsqueeze squeeze expand expand_as view_as
    reshape_as to type type_as float half double bfloat16 detach
    mean sum norm vector_norm amax amin max min var std
"""
CELLWISE = frozenset(FUNCTIONS.split())
SIZED = "getitem narrow view reshape flatten unflatten expand view_as reshape_as expand_as split split_with_sizes chunk tensor_split"
SHAPING = frozenset(SIZED.split())  # of these, what takes sizes only to give them to a tensor
ALONG_ONE = ("softmax", "softmin", "log_softmax", "logsumexp", "normalize")


def operation(node: fx.Node) -> str:
    """The name of what a node does, in-place forms and operators alike: ``add`` for ``torch.add``, ``x.add_`` and ``+``."""
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    name = name.strip("_")
    return name.removeprefix("i") if name in ("iadd", "isub", "imul", "itruediv") else name


def is_cellwise(network: fx.GraphModule, node: fx.Node) -> bool:
    if node.op != "call_module":
        return operation(node) in CELLWISE
    module = network.get_submodule(str(node.target))
    return type(module).__module__ in HOMES and not isinstance(module, MIXING)


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
    if node.op == "call_module":
        return str(node.target)
    stack = list(node.meta.get("nn_module_stack", {}))
    return f"{stack[-1]} ({operation(node)})" if stack and stack[-1] else operation(node)
