"""From a module to a flat graph of aten operations: ``torch.export``, or a recording of one run where that fails.

Export is tried first: it runs no arithmetic and keeps operations whole (a resize stays a resize). Where a network branches on values, the
fallback runs it once on random input and records the operations. A warning says so, since other input might take other branches.
"""

import io
import logging
import operator
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from fcn.core.errors import Refusal, UserError
from fcn.core.names import first_line, shown
from fcn.graph.aten import layer_path, may_write
from fcn.graph.networks import at_rest, unwrapped


@dataclass(frozen=True)
class Trace:
    """A graph, the placeholder that is the image, the tensors behind the others, and the names of the outputs (None: not a tensor)."""

    graph: fx.Graph
    image: fx.Node
    tensors: dict[str, Tensor]
    parameters: frozenset[str]
    outputs: dict[str, fx.Node]


class NotExportedError(Refusal):
    """A network that ``torch.export`` cannot read, most often since it branches on values."""


def trace(network: nn.Module, image: Tensor, *, record: bool = True) -> Trace:
    """Traces ``network`` in eval mode, and leaves it as it was. Raises UserError where it cannot be run on the image, and
    NotExportedError where only a recording could tell what it does and ``record`` is False."""
    network = unwrapped(network)
    with at_rest(network), torch.no_grad():
        try:
            with quiet():
                return exported(network, image)
        except Exception as error:  # whatever export raises: the recording below says more if the network itself is at fault
            layer, cause = cause_of(error, network)
        if not record:
            raise NotExportedError(f"torch.export cannot read the network: {cause}", layer=layer)
        try:
            recorded = _recorded(network, image)
        except Exception as error:
            name, shape = type(network).__name__, tuple(image.shape)
            found = f"{name} cannot be run on an input of shape {shape}: {str(error) or type(error).__name__}"
            raise UserError(f"{found}; give an input_size and in_channels that it accepts") from error
    warnings.warn(
        f"torch.export could not read {type(network).__name__} ({cause}); its operations were recorded in one run on random input instead, "
        "so branches that depend on values are the ones taken there",
        stacklevel=3,
    )
    return recorded


class _ValueAskedError(Exception):
    """The network makes a number of Python, or a size, of values of the image."""

    def __init__(self, node: fx.Node) -> None:
        super().__init__("data-dependent")
        code = str(node.meta.get("stack_trace") or "").strip().splitlines()
        self.layer, self.code = layer_path(node), code[-1].strip() if code else ""


def cause_of(error: Exception, network: nn.Module) -> tuple[str, str]:
    """Why export failed: the layer, and a sentence with its line of code and the first thing to change."""
    if isinstance(error, _ValueAskedError):
        layer, code = error.layer, error.code
    else:
        layer, code = _place_of(error, network)
    reason = shown(first_line(error), 160)
    if "data-dependent" in str(error).lower():
        reason = "a branch or a number depends on values of the image or of a weight; compute it with tensors instead, as by torch.where"
    where = f"layer '{layer}'" if layer else type(network).__name__
    return layer, f"{where}{f', `{shown(code, 80)}`' if code else ''}: {reason}"


def _place_of(error: Exception, network: nn.Module) -> tuple[str, str]:
    """The deepest layer of a user's own in the error's traceback, and its line of code; empty where there is none."""
    names = {id(module): name for name, module in network.named_modules()}
    found = "", ""
    for entry, (frame, line) in zip(traceback.extract_tb(error.__traceback__), traceback.walk_tb(error.__traceback__), strict=True):
        module = frame.f_locals.get("self")
        if id(module) in names and not type(module).__module__.startswith("torch.") and entry.lineno == line:
            found = names[id(module)], entry.line or ""
    return found


LOUD = ("torch._subclasses.fake_tensor", "torch.fx.experimental.symbolic_shapes", "torch.export._trace")


@contextmanager
def quiet() -> Iterator[None]:
    """Before it raises, export logs stack traces, and prints all that it has read so far; the exception is enough."""
    logs = [logging.getLogger(name) for name in LOUD]
    before = [log.disabled for log in logs]
    for log in logs:
        log.disabled = True
    try:
        with redirect_stderr(_OtherThreads(sys.stderr)), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The tensor attributes? .* assigned during export")  # they are put back afterwards
            yield
    finally:
        for log, disabled in zip(logs, before, strict=True):
            log.disabled = disabled


class _OtherThreads(io.TextIOBase):
    """Standard error without what the thread that made this writes to it."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.thread = stream, get_ident()

    def write(self, text: str) -> int:
        return len(text) if get_ident() == self.thread else self.stream.write(text)

    def flush(self) -> None:
        if get_ident() != self.thread:
            self.stream.flush()


def exported(network: nn.Module, image: Tensor, open_axes: dict[int, Any] | None = None) -> Trace:
    """The network as ``torch.export`` reads it. open_axes: dimensions of the image whose sizes become symbols; by default none."""
    with noting_replaced(network) as replaced:
        program = torch.export.export(network, (image,), dynamic_shapes=(open_axes,) if open_axes else None)
    module, signature = program.graph_module, program.graph_signature
    if any(node.op == "get_attr" or "higher_order" in str(type(node.target)) for node in module.graph.nodes):
        raise RuntimeError("it has nested graphs")
    if not open_axes and (taken := next((node for node in module.graph.nodes if _is_open(node.meta.get("val"))), None)):
        raise _ValueAskedError(taken)
    tensors: dict[str, Tensor] = {}
    # of a buffer that is written over, who runs the graph gets a copy, not the network's own
    written = {node.name for node in module.graph.nodes if node.op == "placeholder" and any(map(may_write, node.users))}
    for names in (signature.inputs_to_parameters, signature.inputs_to_buffers, signature.inputs_to_lifted_tensor_constants):
        for placeholder, name in names.items():
            tensor = program.state_dict[name] if name in program.state_dict else program.constants[name]
            tensors[placeholder] = tensor.clone() if placeholder in written else tensor
    for node in module.graph.nodes:
        path = {**signature.inputs_to_buffers, **signature.inputs_to_lifted_tensor_constants}.get(node.name)
        if path is not None:
            node.meta.update(path=path, replaced=path in replaced)
    parameters = frozenset(signature.inputs_to_parameters)
    inputs = [node for node in module.graph.nodes if node.op == "placeholder" and node.name in signature.user_inputs]
    if len(inputs) != 1:
        raise RuntimeError(f"it takes {len(inputs)} tensors")
    results = list(next(node for node in module.graph.nodes if node.op == "output").args[0])
    mutated = len(results) - len(signature.user_outputs)
    spec = program.call_spec.out_spec
    assert spec is not None
    return Trace(module.graph, inputs[0], tensors, parameters, _named(pytree.tree_unflatten(results[mutated:], spec)))


@contextmanager
def noting_replaced(network: nn.Module) -> Iterator[set[str]]:
    """The paths of the tensors in whose places ``forward`` puts others: export puts the first ones back, and says nothing."""
    before: dict[str, Tensor] = {}
    replaced: set[str] = set()

    def note(*_: Any) -> None:
        after = kept_tensors(network)
        replaced.update(path for path, tensor in before.items() if after.get(path) is not tensor)

    handles = (network.register_forward_pre_hook(lambda *_: before.update(kept_tensors(network))), network.register_forward_hook(note))
    try:
        yield replaced
    finally:
        for handle in handles:
            handle.remove()


def kept_tensors(network: nn.Module) -> dict[str, Tensor]:
    """The tensors that a network keeps beside its parameters, by their paths: buffers, and plain attributes of its modules."""
    beside = {
        f"{path}.{name}".lstrip("."): value
        for path, module in network.named_modules()
        for name, value in vars(module).items()
        if isinstance(value, Tensor)
    }
    return {**dict(network.named_buffers()), **beside}


def _is_open(value: Any) -> bool:
    """Whether a value is a number, or has a size, that is known only when the network runs."""
    if isinstance(value, (list, tuple)):
        return any(map(_is_open, value))
    found = value.shape if isinstance(value, Tensor) else (value,)
    return any(isinstance(number, (torch.SymInt, torch.SymFloat, torch.SymBool)) for number in found)


def _named(outputs: Any) -> dict[str, fx.Node]:
    leaves, _ = pytree.tree_flatten_with_path(outputs)
    named = {}
    for path, leaf in leaves:
        if isinstance(leaf, fx.Node):
            keys = [str(getattr(key, "key", getattr(key, "idx", getattr(key, "name", key)))) for key in path]
            named[".".join(keys) or "out"] = leaf
    return named


class _Recorder(TorchDispatchMode):
    """Writes every operation into a graph; tensors are known by identity and kept alive until the end."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.graph, self.nodes, self.alive = fx.Graph(), {}, []  # type: ignore[var-annotated]
        self.stack: list[tuple[str, type]] = []
        self.known = {id(tensor): (name, tensor) for name, tensor in [*network.named_parameters(), *network.named_buffers()]}
        self.tensors: dict[str, Tensor] = {}
        self.parameters: set[str] = set()

    def placeholder(self, tensor: Tensor, name: str) -> fx.Node:
        with self.graph.inserting_before(next(iter(self.graph.nodes))):
            node = self.graph.placeholder(name.replace(".", "_"))
        node.meta["val"] = tensor
        self.nodes[id(tensor)] = node
        self.alive.append(tensor)
        return node

    def node_of(self, item: Any) -> Any:
        if not isinstance(item, Tensor):
            return item
        if id(item) not in self.nodes:
            name, _ = self.known.get(id(item), (f"constant_{len(self.tensors)}", item))
            node = self.placeholder(item, name)
            self.tensors[node.name] = item
            if isinstance(item, nn.Parameter):
                self.parameters.add(node.name)
        return self.nodes[id(item)]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not any(isinstance(item, Tensor) for item in pytree.tree_leaves(result)):
            return result
        node = self.graph.call_function(func, *pytree.tree_map(self.node_of, (tuple(args), dict(kwargs or {}))))
        node.meta.update(val=result, nn_module_stack={str(i): entry for i, entry in enumerate(self.stack)})
        self.alive.append(result)
        if isinstance(result, Tensor):
            self.nodes[id(result)] = node
        else:
            for index, item in enumerate(result):
                if isinstance(item, Tensor):
                    part = self.graph.call_function(operator.getitem, (node, index))
                    part.meta.update(val=item, nn_module_stack=node.meta["nn_module_stack"])
                    self.nodes[id(item)] = part
        return result


def _recorded(network: nn.Module, image: Tensor) -> Trace:
    recorder = _Recorder(network)
    root = recorder.graph.placeholder("image")
    root.meta["val"] = image
    recorder.nodes[id(image)] = root
    handles = []
    for path, module in network.named_modules():
        entry = (path, type(module))
        handles.append(module.register_forward_pre_hook(lambda *_, entry=entry: recorder.stack.append(entry)))
        handles.append(module.register_forward_hook(lambda *_: recorder.stack.pop() and None))
    try:
        with recorder:
            result = network(image)
    finally:
        for handle in handles:
            handle.remove()
    outputs = _named(pytree.tree_map(recorder.node_of, result))
    recorder.graph.output(tuple(outputs.values()))
    return Trace(recorder.graph, root, recorder.tensors, frozenset(recorder.parameters), outputs)
