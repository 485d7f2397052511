"""A network as a graph that can be edited: its operations in order, its parameters under their own names (torch.fx).

What looks the same in modules and in ``forward`` is told apart by nothing but the graph, so that rewriting needs no list of class names.
"""

import copy
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from torch import fx, nn
from torch.nn import functional as F

DROPOUTS = {F.dropout: nn.Dropout, F.dropout2d: nn.Dropout2d, F.alpha_dropout: nn.AlphaDropout}


class Network(fx.GraphModule):
    """A traced network, which prints its modules and not its code."""

    def __str__(self) -> str:
        return nn.Module.__repr__(self)


class Tracer(fx.Tracer):
    """Torch's tracer, which leaves whole what timm marks as untraceable (padding computed from the size, and such) and what does
    something else in training than in evaluation (stochastic depth)."""

    def __init__(self) -> None:
        from timm.layers import get_notrace_functions, get_notrace_modules, pad_same

        super().__init__(autowrap_functions=(*get_notrace_functions(), pad_same))
        rewritable = {"NormFreeBlock", "StdConv2dSame", "ScaledStdConv2dSame"}  # nothing in them that a graph would get wrong
        self.whole = tuple(kind for kind in get_notrace_modules() if kind.__name__ not in rewritable)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, self.whole) or _asks_for_mode(m) or super().is_leaf_module(m, module_qualified_name)

    def path_of_module(self, mod: nn.Module) -> str:
        """Containers that are made in ``forward`` (slices of a ``Sequential``) have no path; what is in them has."""
        made = isinstance(mod, nn.Sequential) and mod not in (self.submodule_paths or {})
        return "" if made else super().path_of_module(mod)

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Hooks that gather features (timm's) see the layers that are left whole as well; torch's tracer calls only those of the rest."""
        result = super().call_module(m, forward, args, kwargs)
        if self.is_leaf_module(m, self.path_of_module(m)):
            for hook in filter(gathers, m._forward_pre_hooks.values()):
                hook(m, args)
            for hook in filter(gathers, m._forward_hooks.values()):
                hook(m, args, result)
        return result


class OneDrawer(defaultdict[Any, Any]):
    """What hooks gather while tracing, where a tensor's device, the key otherwise, is not known."""

    def __getitem__(self, key: object) -> Any:
        return super().__getitem__(None)

    def __setitem__(self, key: object, value: Any) -> None:
        super().__setitem__(None, value)


def gathers(hook: Any) -> bool:
    from timm.models._features import FeatureHooks

    return isinstance(getattr(getattr(hook, "func", None), "__self__", None), FeatureHooks)


def trace(network: nn.Module) -> fx.GraphModule:
    """A copy of ``network`` as an editable graph, with the same parameter names; ``network`` is left as it was.

    Branches on ``self.training`` in a network or a block are taken as in evaluation (auxiliary heads are left out, with their parameters);
    batch norm, dropout and stochastic depth keep following the mode of the copy, every part of which starts in the mode of its original.
    Raises ValueError where the network decides by the values of its input.
    """
    from timm.models import FeatureHookNet

    copied = copy.deepcopy(network).eval()
    hooks = [module.hooks for module in copied.modules() if isinstance(module, FeatureHookNet)]
    for gathering in hooks:
        gathering._feature_outputs = OneDrawer(dict)
    try:
        graph = Tracer().trace(copied)
    except Exception as error:  # the network's own code runs, and may raise anything
        raise ValueError(
            f"{type(network).__name__} cannot be read as a graph, since its forward decides by what it is given "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}); give a network without such branches"
        ) from error
    for gathering in hooks:
        for handle in gathering._handles:
            handle.remove()  # the graph hands out what they gathered
    _dropouts_as_modules(copied, graph)
    _read_what_was_written(copied, graph)
    traced = Network(copied, graph, type(network).__name__)
    modes = {name: module.training for name, module in network.named_modules()}
    for name, module in traced.named_modules():
        module.training = modes.get(name, network.training)
    return traced


def free_name(network: nn.Module, name: str) -> str:
    """``name``, with underscores added until no part of ``network`` has it: where a new module can be put."""
    while hasattr(network, name):
        name += "_"
    return name


def _asks_for_mode(module: nn.Module) -> bool:
    """Whether ``forward`` itself reads ``self.training``, in a module that is no block of layers."""
    code = getattr(type(module).forward, "__code__", None)
    return code is not None and "training" in code.co_names and not any(True for part in module.children() for _ in part.parameters())


def _dropouts_as_modules(network: nn.Module, graph: fx.Graph) -> None:
    """``F.dropout(x, p, training=self.training)`` has the mode written into it; a module follows it."""
    for node in list(graph.nodes):
        if node.op == "call_function" and node.target in DROPOUTS and not node.kwargs.get("training", len(node.args) < 3 or node.args[2]):
            name = free_name(network, node.name)
            p = node.kwargs.get("p", node.args[1] if len(node.args) > 1 else 0.5)
            network.add_module(name, DROPOUTS[node.target](p))
            with graph.inserting_before(node):
                node.replace_all_uses_with(graph.call_module(name, (node.args[0] if node.args else node.kwargs["input"],)))
            graph.erase_node(node)
    graph.lint()


def _read_what_was_written(network: nn.Module, graph: fx.Graph) -> None:
    """After an operation in place its result is read, and not its argument, which is the same tensor: the graph alone then tells what is
    computed from what."""
    order = {node: place for place, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        source = node.args[0] if node.args else None
        if isinstance(source, fx.Node) and _is_in_place(network, node):
            for user in [user for user in source.users if order[user] > order[node]]:
                user.replace_input_with(source, node)


def _is_in_place(network: nn.Module, node: fx.Node) -> bool:
    if node.op == "call_module":
        return bool(getattr(network.get_submodule(str(node.target)), "inplace", False))
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    augmented = getattr(node.target, "__module__", "") == "_operator" and name in ("iadd", "isub", "imul", "itruediv")
    return node.op in ("call_function", "call_method") and (
        augmented or bool(node.kwargs.get("inplace")) or (name.endswith("_") and not name.endswith("__"))
    )
