"""What torch says of an operation of a traced graph: its name, its arguments, what it writes over, what may share its memory, its layer."""

from functools import cache
from typing import Any

import torch
from torch import fx
from torch._ops import OpOverloadPacket

OPERATORS = {"__and__": "bitwise_and", "__or__": "bitwise_or", "__xor__": "bitwise_xor"}  # of Python, that have a name besides
FILLED = ("zeros_like", "ones_like", "full_like")  # one number in the shape of another tensor
UNIFORM = (*FILLED, "zeros", "ones", "full", "new_zeros", "new_ones", "new_full")  # the same number at every place
SHAPE_ONLY = (*FILLED, "rand_like", "empty_like", "new_zeros", "new_ones", "new_full", "new_empty")  # these read no cell of their source


def op_name(node: fx.Node) -> str:
    """The name without overload and without the underscore of in-place forms; of an operation that is not aten's, with its namespace."""
    return _name_of(node.target)


@cache
def _name_of(target: Any) -> str:
    if not isinstance(target, torch._ops.OpOverload):
        return getattr(target, "__name__", str(target))
    name = target._schema.name
    if not name.startswith("aten::"):
        return name
    name = name.removeprefix("aten::")
    return OPERATORS.get(name) or (name if name.endswith("__") else name.rstrip("_"))


def arguments(node: fx.Node) -> dict[str, Any]:
    """The arguments of a call by the names of its schema: defaults are filled in, what has none and is not given is None."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return {}
    defaults = _defaults(node.target)
    return {**defaults, **dict(zip(defaults, node.args, strict=False)), **node.kwargs}


@cache
def _defaults(target: torch._ops.OpOverload) -> dict[str, Any]:
    """The arguments of an operation in order, and their defaults; None where there is none."""
    return {argument.name: argument.default_value if argument.has_default_value() else None for argument in target._schema.arguments}


@cache
def is_pointwise(name: str, target: Any = None) -> bool:
    """Whether torch tags the operation as pointwise, in any of its forms; ``target``: of one that may not be aten's."""
    packets = [getattr(target, "overloadpacket", None), getattr(torch.ops.aten, name, None)]
    forms = [getattr(packet, form) for packet in packets if isinstance(packet, OpOverloadPacket) for form in packet.overloads()]
    return any(torch.Tag.pointwise in form.tags for form in forms)


def is_in_place(node: fx.Node) -> bool:
    """Whether the operation writes its result over its first argument."""
    name = node.target._schema.name if isinstance(node.target, torch._ops.OpOverload) else ""
    return name.endswith("_") and not name.endswith("__") and bool(node.args) and isinstance(node.args[0], fx.Node)


def may_write(node: fx.Node) -> bool:
    """Whether by its schema the operation may write into what it reads."""
    return bool(getattr(getattr(node.target, "_schema", None), "is_mutable", False))


def functional(target: Any) -> Any:
    """The overload that computes the same without changing its arguments."""
    assert isinstance(target, torch._ops.OpOverload)
    namespace, _, name = target._schema.name.partition("::")
    if not name.endswith("_") or name.endswith("__"):
        return target
    return getattr(getattr(getattr(torch.ops, namespace), name.rstrip("_")), target._overloadname)


def says_alias(node: fx.Node) -> bool:
    """Whether by its schema the result may share memory with an argument."""
    schema = getattr(node.target, "_schema", None)
    return schema is not None and any(value.alias_info is not None for value in schema.returns)


def layer_path(node: fx.Node) -> str:
    """The path of the module in whose ``forward`` the operation is called; "" for the network itself."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return stack[-1][0] if stack else ""


class Given:
    """A call by its arguments, as ``arguments`` binds them."""

    arguments: dict[str, Any]

    def get(self, *names: str, default: Any = None) -> Any:
        """The first argument of these names that is given and not None."""
        for name in names:
            if self.arguments.get(name) is not None:
                return self.arguments[name]
        return default
