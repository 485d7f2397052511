"""A network as a graph that can be edited: its operations in order, its parameters under their own names (torch.fx).

What looks the same in modules and in ``forward`` is told apart by nothing but the graph, so that rewriting needs no list of class names.
"""

import inspect
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import fx, nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.prune import BasePruningMethod

from fcn.core.errors import UserError
from fcn.core.names import first_line
from fcn.graph.networks import HOOKS, copied, unwrapped, wrapped_in

DROPOUTS = {F.dropout: nn.Dropout, F.dropout2d: nn.Dropout2d, F.alpha_dropout: nn.AlphaDropout}


class Network(fx.GraphModule):
    """A traced network, which prints its modules and not its code."""

    def __str__(self) -> str:
        return nn.Module.__repr__(self)


class Hooks(NamedTuple):
    """A module's hooks before and after its ``forward``, each with whether it takes keyword arguments."""

    before: list[tuple[Callable[..., Any], bool]]
    after: list[tuple[Callable[..., Any], bool]]


class Tracer(fx.Tracer):
    """Torch's tracer for a network that takes one image, with three differences.

    It leaves whole what timm marks as untraceable (padding computed from the size, and such) and what does something else in training than
    in evaluation (stochastic depth). Hooks of the network and of layers that are left whole are written into the graph, before or behind
    their layer. Torch's tracer forgets those of the network, and keeps those of layers where no rule for layers sees them. What ``forward``
    takes beside the image has its default.

    The last two only after ``follow``: torch also uses a graph's tracer to unpickle it. After ``trace``, ``onlookers`` has the layers whose
    hooks changed nothing.
    """

    def __init__(self) -> None:
        from timm.layers import get_notrace_functions, get_notrace_modules, pad_same

        super().__init__(autowrap_functions=(*get_notrace_functions(), pad_same))
        rewritable = {"NormFreeBlock", "StdConv2dSame", "ScaledStdConv2dSame"}  # nothing in them that a graph would get wrong
        self.whole = tuple(kind for kind in get_notrace_modules() if kind.__name__ not in rewritable)
        self.image = ""
        self.paths: dict[nn.Module, str] = {}
        self.hooks: dict[nn.Module, Hooks] = {}
        self.made: dict[str, list[fx.Node]] = {}  # the nodes of hooks that returned nothing, by layer

    def follow(self, network: nn.Module) -> None:
        """Takes the hooks off all modules of ``network``, to write them into its graph."""
        self.paths = {module: path for path, module in network.named_modules()}
        self.hooks = {module: _take_hooks(module) for module in self.paths}
        first = next(iter(inspect.signature(network.forward).parameters.values()), None)
        self.image = first.name if first is not None and first.kind is not first.VAR_POSITIONAL else "images"

    @property
    def onlookers(self) -> list[str]:
        return [path for path, nodes in self.made.items() if not nodes]

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> tuple[Any, list[Any]]:
        def called(network: Any, image: fx.Proxy) -> Any:
            return self.hooked(network, network._call_impl, (image,), {})

        if not self.image:
            return super().create_args_for_root(root_fn, is_module, concrete_args)
        return called, [self.root, self.create_proxy("placeholder", self.image, (), {})]

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        whole = isinstance(m, self.whole) or _asks_for_mode(m)
        if "forward" in vars(m):
            if whole:
                raise NotFollowed(f"layer '{module_qualified_name}' has a forward of its own, beside that of its class; give it a class")
            return False
        if isinstance(m, nn.Linear | nn.LayerNorm) and _computes_weight(m):
            return False  # a layer in its place would have the weight of now, and not what computes it
        return whole or super().is_leaf_module(m, module_qualified_name)

    def path_of_module(self, mod: nn.Module) -> str:
        """Containers that are made in ``forward`` (slices of a ``Sequential``) have no path; what is in them has."""
        made = isinstance(mod, nn.Sequential) and mod not in (self.submodule_paths or {})
        return "" if made else super().path_of_module(mod)

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        inner = wrapped_in(m)
        if inner is not None:
            return inner(*args, **kwargs)
        return self.hooked(m, lambda *args, **kwargs: self._called(m, forward, args, kwargs), args, kwargs)

    def _called(self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Hooks that gather features (timm's) see the layers that are left whole as well; torch's tracer calls only those of the rest."""
        result = super().call_module(m, forward, args, kwargs)
        if self.is_leaf_module(m, self.path_of_module(m)):
            for hook in filter(gathers, m._forward_pre_hooks.values()):
                hook(m, args)
            for hook in filter(gathers, m._forward_hooks.values()):
                hook(m, args, result)
        return result

    def hooked(self, m: nn.Module, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What ``call`` gives between the hooks of ``m``, as ``nn.Module`` calls them."""
        hooks = self.hooks.get(m, Hooks([], []))
        for hook, with_kwargs in hooks.before:
            found = self._hook(m, hook, (m, args, kwargs) if with_kwargs else (m, args))
            if found is not None and with_kwargs:
                args, kwargs = found
            elif found is not None:
                args = found if isinstance(found, tuple) else (found,)
        result = call(*args, **kwargs)
        for hook, with_kwargs in hooks.after:
            found = self._hook(m, hook, (m, args, kwargs, result) if with_kwargs else (m, args, result))
            result = result if found is None else found
        return result

    def _hook(self, m: nn.Module, hook: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        before = len(self.graph.nodes)
        try:
            found = hook(*args)
        except Exception as error:  # the user's code
            raise NotFollowed(f"{where(self.paths[m])} has a hook that decides by what it is given ({_said(error)}); remove it") from error
        if found is None:
            self.made.setdefault(self.paths[m], []).extend(list(self.graph.nodes)[before:])
        return found

    def trace(self, root: Any, concrete_args: Any = None) -> fx.Graph:
        """The graph; without what hooks computed that nobody reads and that was not written in place."""
        graph = super().trace(root, concrete_args)
        for path, nodes in self.made.items():
            if not any(_is_in_place(root, node) for node in nodes):
                for node in reversed(nodes):
                    if not node.users:
                        graph.erase_node(node)
                        nodes.remove(node)
                self.made[path] = [node for node in nodes if node.op != "get_attr"]
        return graph


class NotFollowed(Exception):  # noqa: N818
    """Why what hangs on a module cannot be written into a graph."""


def where(path: str) -> str:
    return f"layer '{path}'" if path else "the network itself"


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {first_line(error)}"


def _take_hooks(module: nn.Module) -> Hooks:
    """Takes those off ``module`` that a graph can show; timm's, that gather features, and torch's, that compute weights, stay."""
    taken = Hooks([], [])
    for hooks, kinds, places in (
        (module._forward_pre_hooks, module._forward_pre_hooks_with_kwargs, taken.before),
        (module._forward_hooks, module._forward_hooks_with_kwargs, taken.after),
    ):
        for key in [key for key, hook in hooks.items() if not gathers(hook) and not _is_of_torch(hook)]:
            places.append((hooks.pop(key), key in kinds))
    return taken


def _is_of_torch(hook: Any) -> bool:
    return isinstance(hook, BasePruningMethod) or str(getattr(hook, "__module__", "")).startswith("torch.")


def _computes_weight(module: nn.Module) -> bool:
    """By a parametrization, or by one of torch's hooks (``weight_norm``, ``spectral_norm``, pruning)."""
    return is_parametrized(module) or bool(module._forward_pre_hooks)


def replaceable(module: nn.Module) -> None:
    """UserError for a layer of a traced network with something that another layer in its place would not have."""
    if is_parametrized(module) or any(vars(module)[hooks] for hooks in HOOKS):
        what = "its weight is computed anew for each image" if _computes_weight(module) else "it has hooks"
        raise UserError(f"{what}, which a layer in its place would not; remove the hook or the parametrization first")


class OneDrawer(defaultdict[Any, Any]):
    """What hooks gather while tracing, where a tensor's device, the key otherwise, is not known."""

    def __getitem__(self, key: object) -> Any:
        return super().__getitem__(None)

    def __setitem__(self, key: object, value: Any) -> None:
        super().__setitem__(None, value)


def gathers(hook: Any) -> bool:
    from timm.models._features import FeatureHooks

    return isinstance(getattr(getattr(hook, "func", None), "__self__", None), FeatureHooks)


def editable(network: nn.Module) -> fx.GraphModule:
    """A copy of ``network`` as an editable graph, with the same parameter names; ``network`` is left as it was.

    Branches on ``self.training`` are taken as in evaluation: auxiliary heads are left out, with their parameters. Batch norm, dropout and
    stochastic depth follow the mode of the copy. Each part of it starts in the mode of its original. The graph has one input, the image.
    Hooks, and a ``forward`` that belongs to one module, are written into it; hooks that change nothing are left out, and a warning names
    their layers. Raises UserError where the network or a hook decides by values of its input, and for backward hooks on what becomes a part
    of the graph.
    """
    from timm.models import FeatureHookNet

    network = unwrapped(network)
    name = type(network).__name__
    copy = copied(network).eval()
    gatherers = [module for module in copy.modules() if isinstance(module, FeatureHookNet)]
    for gathering in gatherers:
        gathering.hooks._feature_outputs = OneDrawer(dict)
    tracer = Tracer()
    tracer.follow(copy)
    try:
        graph = tracer.trace(copy)
    except NotFollowed as error:
        raise UserError(f"{name} cannot be read as a graph: {error}") from error
    except Exception as error:  # the network's own code runs, and may raise anything
        raise UserError(
            f"{name} cannot be read as a graph, since its forward decides by what it is given ({_said(error)}); "
            "give a network without such branches"
        ) from error
    for gathering in gatherers:
        for handle in gathering.hooks._handles:
            handle.remove()  # the graph hands out what they gathered
    called = {str(node.target) for node in graph.nodes if node.op == "call_module"}
    lost = [path for path, module in copy.named_modules() if path not in called and (module._backward_hooks or module._backward_pre_hooks)]
    if lost:
        raise UserError(f"{name} cannot be read as a graph: the backward hooks of {where(lost[0])} would be lost; remove them")
    if tracer.onlookers:
        warnings.warn(
            f"the copy of {name} is without hooks that return nothing and change nothing, of {', '.join(map(where, tracer.onlookers))}",
            stacklevel=3,
        )
    _dropouts_as_modules(copy, graph)
    _read_what_was_written(copy, graph)
    traced = Network(copy, graph, name)
    modes = {path: module.training for path, module in network.named_modules()}
    for path, module in traced.named_modules():
        module.training = modes.get(path, network.training)
    return traced


def free_name(network: nn.Module, name: str) -> str:
    """``name``, with underscores added until no part of ``network`` has it: where a new module can be put."""
    while hasattr(network, name):
        name += "_"
    return name


def arguments(node: fx.Node, names: Sequence[str]) -> dict[str, Any]:
    """What ``node`` is called with, by name; ``names``: of what is given by place."""
    return {**dict(zip(names, node.args, strict=False)), **node.kwargs}


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
