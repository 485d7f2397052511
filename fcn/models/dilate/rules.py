"""Which operations leave every cell in its place, so that a map of more cells passes through them as it is."""

from torch import fx, nn

# Modules and functions that work on each cell by itself, or that only rearrange channels. Sizes are measured beside; what mixes cells is
# not here, and is refused where it would meet a dilated map.
CELLWISE_MODULES = (
    nn.modules.activation,
    nn.modules.batchnorm,
    nn.modules.dropout,
    nn.modules.normalization,
    nn.modules.instancenorm,
    nn.modules.linear,
)
NOT_CELLWISE = (nn.MultiheadAttention, nn.Bilinear)
CELLWISE_PACKAGES = ("timm.layers.norm_act", "timm.layers.inplace_abn", "timm.layers.drop", "torchvision.ops.stochastic_depth")
CELLWISE = frozenset(
    [
        "add",
        "radd",
        "sub",
        "rsub",
        "mul",
        "rmul",
        "truediv",
        "rtruediv",
        "div",
        "floordiv",
        "neg",
        "pow",
        "square",
        "abs",
        "exp",
        "log",
        "sqrt",
        "rsqrt",
        "reciprocal",
        "sigmoid",
        "tanh",
        "erf",
        "relu",
        "relu6",
        "leaky_relu",
        "elu",
        "celu",
        "selu",
        "gelu",
        "silu",
        "mish",
        "hardswish",
        "hardsigmoid",
        "hardtanh",
        "softplus",
        "softsign",
        "prelu",
        "rrelu",
        "logsigmoid",
        "clamp",
        "clamp_min",
        "clamp_max",
        "clip",
        "maximum",
        "minimum",
        "where",
        "addcmul",
        "lerp",
        "fmod",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "batch_norm",
        "layer_norm",
        "group_norm",
        "instance_norm",
        "rms_norm",
        "normalize",
        "local_response_norm",
        "dropout",
        "dropout1d",
        "dropout2d",
        "dropout3d",
        "alpha_dropout",
        "feature_dropout",
        "feature_alpha_dropout",
        "stochastic_depth",
        "drop_path",
        "drop_connect",
        "linear",
        "cat",
        "concat",
        "concatenate",
        "stack",
        "chunk",
        "split",
        "split_with_sizes",
        "tensor_split",
        "unbind",
        "getitem",
        "permute",
        "movedim",
        "transpose",
        "swapaxes",
        "contiguous",
        "clone",
        "view",
        "reshape",
        "flatten",
        "unflatten",
        "unsqueeze",
        "squeeze",
        "expand",
        "expand_as",
        "view_as",
        "reshape_as",
        "to",
        "type",
        "type_as",
        "float",
        "half",
        "double",
        "bfloat16",
        "softmax",
        "log_softmax",
        "channel_shuffle",
        "mean",
        "sum",
        "norm",
        "vector_norm",
        "amax",
        "amin",
        "max",
        "min",
        "var",
        "std",
        "detach",
        "checkpoint",
        "identity",
        "softmin",
        "logsumexp",
    ]
)
EXTENSIVE = {"sum": 1.0, "norm": 0.5, "vector_norm": 0.5}  # statistics that grow with the number of cells, and with which power of it


def operation(node: fx.Node) -> str:
    """The name of what a node does, in-place forms and operators alike: ``add`` for ``torch.add``, ``x.add_`` and ``+``."""
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    name = name.strip("_")
    return name.removeprefix("i") if name in ("iadd", "isub", "imul", "itruediv") else name


def is_cellwise(network: fx.GraphModule, node: fx.Node) -> bool:
    if node.op != "call_module":
        return operation(node) in CELLWISE
    module = network.get_submodule(str(node.target))
    home = type(module).__module__
    if isinstance(module, NOT_CELLWISE):
        return False
    return home in CELLWISE_PACKAGES or home in {package.__name__ for package in CELLWISE_MODULES} or isinstance(module, nn.Flatten)


def layer_name(node: fx.Node) -> str:
    """Where a node stands, for messages: its layer's path, with the operation where it is written in a ``forward``."""
    if node.op == "call_module":
        return str(node.target)
    stack = list(node.meta.get("nn_module_stack", {}))
    return f"{stack[-1]} ({operation(node)})" if stack and stack[-1] else operation(node)
