"""A network as a user hands it over: out of its wrappers, read without a trace left on it, copied with what hangs on its modules.

Everything that reads a network begins with ``unwrapped``, which is where networks that nobody can read are refused.
"""

import copy
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import CellType, FunctionType, MethodType
from typing import Any, TypeVar

import torch
from torch import Tensor, fx, nn
from torch.nn.parameter import is_lazy
from torch.utils import _pytree as pytree
from torch.utils.hooks import RemovableHandle

from fcn.core.errors import UserError

N = TypeVar("N", bound=nn.Module)

WRAPPERS = {  # class -> where it keeps the network; by name, for importing torch's compiler takes a second
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "AveragedModel": "module",
    "ModelEmaV2": "module",
    "ModelEmaV3": "module",
    "OptimizedModule": "_orig_mod",
}
HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
KINDS_OF_HOOKS = ("_forward_pre_hooks_with_kwargs", "_forward_hooks_with_kwargs", "_forward_hooks_always_called")
QUANTIZED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.ao.nn.sparse.quantized")


def unwrapped(network: nn.Module) -> nn.Module:
    """The network within DataParallel, ``torch.compile``, AveragedModel and their like; any other network itself.

    Raises UserError for a scripted, traced, quantised or exported network: its layers cannot be read. Raises UserError, naming the layer,
    for layers without weights yet, for hooks on a wrapper, and for a ``forward`` that asks for more than the image.
    """
    if not isinstance(network, nn.Module):
        if type(network).__name__ == "ExportedProgram":
            raise UserError(f"an exported program cannot be read; {_GIVE}")
        raise UserError(f"{network!r} is not a network; give a module, such as torchvision.models.resnet50()")
    while (inner := wrapped_in(network)) is not None:
        network = inner
    for path, module in network.named_modules():
        if why := _unreadable(module):
            where = f"layer '{path}' of {type(network).__name__}" if path else type(network).__name__
            raise UserError(f"{where} {why}")
    try:
        signature = inspect.signature(network.forward)
    except (TypeError, ValueError):  # written in C, or hidden
        return network
    try:
        signature.bind(None)
    except TypeError as error:
        raise UserError(
            f"the forward{signature} of {type(network).__name__} cannot be called with an image alone ({error}); "
            "give a module that takes the image and passes on the rest"
        ) from error
    return network


def wrapped_in(network: nn.Module) -> nn.Module | None:
    """The network that a wrapper runs as it is; None for what is no wrapper. Raises UserError for hooks on the wrapper."""
    name = next((base.__name__ for base in type(network).__mro__ if base.__name__ in WRAPPERS), None)
    inner = None if name is None else network._modules.get(WRAPPERS[name])
    if inner is not None and any(vars(network)[hooks] for hooks in HOOKS):
        raise UserError(f"hooks hang on the {name} and not on the network in it; register them on its .{WRAPPERS[name or '']}")
    return inner


_GIVE = "give the nn.Module that it was made from"


def _unreadable(module: nn.Module) -> str:
    """Why a module cannot be read or rewritten, as the end of a sentence; "" for those that can."""
    home, kind = type(module).__module__, type(module).__name__
    tensors = [tensor for tensor in (*module._parameters.values(), *module._buffers.values()) if tensor is not None]
    exported = isinstance(module, fx.GraphModule) and ("eval" in vars(module) or "_guards_fn" in module._modules)
    if isinstance(module, torch.jit.ScriptModule):
        return f"is compiled by torch.jit.script or torch.jit.trace, and has no layers that can be read; {_GIVE}"
    if exported or home.startswith("torch.export"):
        return f"comes from torch.export, and holds for the sizes and the mode of its export only; {_GIVE}"
    if home.startswith(QUANTIZED) or any(tensor.is_quantized for tensor in tensors):
        return f"is quantised ({kind}), and its integers cannot be read as layers; give the network before quantisation"
    if any(map(is_lazy, tensors)):
        return f"has no weights yet ({kind}); run the network once on an image first"
    return ""


@contextmanager
def at_rest(network: nn.Module) -> Iterator[None]:
    """Within it ``network`` is in evaluation mode; afterwards it is as it was, whatever its ``forward`` and its hooks did to it.

    That is modes, buffers and their values, other attributes (a weight that a hook computes, a tensor that was kept), and torch's random
    numbers.
    """
    before = [(module, dict(vars(module)), dict(module._buffers), _values(module)) for module in network.modules()]
    devices = {tensor.device.index or 0 for tensor in network.parameters() if tensor.device.type == "cuda"}
    with torch.random.fork_rng(devices=sorted(devices)):
        try:
            network.eval()
            yield
        finally:
            for module, attributes, buffers, values in before:
                _restore(vars(module), attributes)
                _restore(module._buffers, buffers)
                with torch.no_grad():
                    for tensor, value in values:
                        if not torch.equal(tensor, value):
                            tensor.copy_(value)


def _values(module: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """A module's buffers, and what they hold."""
    return [(tensor, tensor.detach().clone()) for tensor in module._buffers.values() if tensor is not None and not tensor.is_meta]


def _restore(now: dict[str, Any], before: dict[str, Any]) -> None:
    """Never empty in between: another thread may be running the network."""
    for name, value in before.items():
        if name not in now or now[name] is not value:
            now[name] = value
    for name in now.keys() - before.keys():
        del now[name]


def copied(network: N, memo: dict[int, Any] | None = None) -> N:
    """A deep copy that shares nothing with ``network`` but what ``memo`` says (``copy.deepcopy``'s: an object's id to what stands for it).

    It does three things that ``copy.deepcopy`` cannot do. A tensor that was computed from parameters is copied by value: hooks of weight
    norm, spectral norm and pruning leave such tensors. Hooks and a module's own ``forward`` refer to the copy's modules, no longer to the
    network's. And handles of hooks that are gone, as copies of copies have them, are passed over.
    """
    memo = {} if memo is None else memo
    for module in network.modules():
        for tensor in _tensors_beside(module):
            if not tensor.is_leaf:
                memo.setdefault(id(tensor), tensor.detach().clone())
        for handle in _idle_handles(module):
            memo.setdefault(id(handle), handle)
    try:
        result = copy.deepcopy(network, memo)
    except UserError:  # of a part that says itself why not
        raise
    except Exception as error:  # what hangs on it may be anything
        raise UserError(f"{type(network).__name__} cannot be copied ({type(error).__name__}: {error})") from error
    for module in network.modules():
        attributes = vars(memo.get(id(module), module))
        for name in HOOKS:
            if vars(module)[name]:
                attributes[name] = type(vars(module)[name])((key, _spoken(hook, memo)) for key, hook in vars(module)[name].items())
        for name in KINDS_OF_HOOKS:  # which a graph's own copy leaves out, as it does its hooks
            if vars(module)[name]:
                attributes[name] = copy.copy(vars(module)[name])
        if "forward" in vars(module):
            attributes["forward"] = _spoken(vars(module)["forward"], memo)
    return result


def without_data(network: N) -> N:
    """A copy whose tensors have shapes and nothing else, on torch's meta device: it can be run without arithmetic."""
    memo: dict[int, Any] = {}
    for module in network.modules():
        for tensor in (*module._buffers.values(), *_tensors_beside(module)):
            if tensor is not None:
                memo[id(tensor)] = torch.empty_like(tensor, device="meta", requires_grad=False)
        for parameter in module._parameters.values():
            if parameter is not None:
                memo[id(parameter)] = nn.Parameter(torch.empty_like(parameter, device="meta"), parameter.requires_grad)
    return copied(network, memo)


def float_type(network: nn.Module) -> torch.dtype:
    """The type of the weights, which that of the image has to be; float32 where there are none."""
    return next((tensor.dtype for tensor in network.parameters() if tensor.is_floating_point()), torch.float32)


def _tensors_beside(module: nn.Module) -> list[Tensor]:
    """Those among a module's attributes that are neither parameters nor buffers, in lists and dicts as well."""
    return [leaf for leaf in leaves_beside(module) if isinstance(leaf, Tensor)]


def _idle_handles(module: nn.Module) -> list[RemovableHandle]:
    """Handles of hooks that are gone: among a module's attributes, or those of a plain object that is one, or whose method is a hook
    (timm's ``FeatureHooks``)."""
    leaves = leaves_beside(module)
    objects = [each for each in map(_holder, leaves) if hasattr(each, "__dict__") and not isinstance(each, (Tensor, nn.Module, type))]
    leaves += [inner for each in objects for inner in pytree.tree_leaves(vars(each))]
    handles = [leaf for leaf in leaves if isinstance(leaf, RemovableHandle)]
    return [handle for handle in handles if any(reference() is None for reference in (handle.hooks_dict_ref, *handle.extra_dict_ref))]


def _holder(value: Any) -> Any:
    """What a bound method, perhaps with some arguments, belongs to; any other value itself."""
    while isinstance(value, partial):
        value = value.func
    return value.__self__ if isinstance(value, MethodType) else value


def leaves_beside(module: nn.Module) -> list[Any]:
    """What a module has beside its parameters, buffers and modules, in lists and dicts as well."""
    return pytree.tree_leaves({name: value for name, value in vars(module).items() if name not in ("_parameters", "_buffers", "_modules")})


def _spoken(function: Callable[..., Any], memo: dict[int, Any]) -> Callable[..., Any]:
    """``function`` with the copies of the network's parts in the place of those that it has in its closure."""
    if not isinstance(function, FunctionType):
        return copy.deepcopy(function, memo)  # methods and objects take what they belong to with them
    if not function.__closure__:
        return function
    cells = []
    for cell in function.__closure__:
        try:
            held = cell.cell_contents
        except ValueError:  # a name that is not bound yet
            cells.append(cell)
            continue
        if id(held) in memo:
            held = memo[id(held)]
        elif isinstance(held, MethodType) and id(held.__self__) in memo:
            held = MethodType(held.__func__, memo[id(held.__self__)])
        elif isinstance(held, FunctionType) and held is not function:
            held = _spoken(held, memo)
        cells.append(cell if held is cell.cell_contents else CellType(held))
    result = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__, tuple(cells))
    result.__dict__.update(function.__dict__)
    result.__kwdefaults__ = function.__kwdefaults__
    return result


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Within it, ``module`` is in evaluation mode and no gradients are kept; afterwards every part is in the mode that it was in."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, training in modes.items():
            part.training = training
