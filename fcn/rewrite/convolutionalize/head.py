"""A classifier's head, read as what it does to one window, and written anew so that it does it to every window.

The head is followed from the last maps of features to the scores. For each tensor, ``HeadTensor.layout`` says what its dimensions are in
one window of the trained size: ``("n", "c", "h", "w")`` for a map, ``("n", "chw")`` where it is flattened, ``("n", "c")`` where it is
pooled. In the converted network each of these tensors is a map (N, C, h, w). So a flatten does nothing, a linear layer is a convolution
over what was flattened, and a pool over all cells slides. ``rules`` has what is done to each operation.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Literal

from torch import fx, nn

from fcn.core.errors import NotConvertible, UserError
from fcn.rewrite.convolutionalize.shapes import BATCH, Facts
from fcn.rewrite.editable import free_name, replaceable
from fcn.rewrite.names import layer_of, names_of, where

Dense = Literal["window", "pixel"]


@dataclass(frozen=True)
class HeadTensor:
    """A tensor of the head: the node that stands for it in the converted network, and what it is in one window.

    ``layout`` has a word for each dimension of the classifier's tensor: a letter, several where they were flattened into one, none for a
    dimension of one cell. ``cells`` is the height and width of the window in cells, 1 where it was pooled. ``spacing`` is the distance from
    one to the next, in cells of the converted network's map.
    """

    node: fx.Node
    layout: tuple[str, ...]
    channels: int
    cells: tuple[int, int]
    spacing: tuple[int, int] = (1, 1)

    @property
    def sizes(self) -> dict[str, int]:
        return {"n": BATCH, "c": self.channels, "h": self.cells[0], "w": self.cells[1]}

    @property
    def shape(self) -> tuple[int, ...]:
        """The classifier's tensor's."""
        return tuple(prod(self.sizes[letter] for letter in word) for word in self.layout)

    @property
    def space(self) -> set[str]:
        """The axes along which the window still has several cells."""
        return {axis for axis in "hw" if self.sizes[axis] > 1}

    def same_kind(self, other: "HeadTensor") -> bool:
        return (self.layout, self.cells, self.spacing) == (other.layout, other.cells, other.spacing)

    def reshaped(self, shape: tuple[int, ...]) -> "HeadTensor":
        """With dimensions joined or split to ``shape``."""
        queue = [letter for word in self.layout for letter in word if self.sizes[letter] > 1]
        layout = []
        for size in shape:
            word = ""
            while size > 1:
                if not queue or size % self.sizes[queue[0]]:
                    raise NotConvertible("it cuts channels or space into parts, as attention does")
                size //= self.sizes[queue[0]]
                word += queue.pop(0)
            layout.append(word)
        return replace(self, layout=tuple(layout))


class Head:
    """The rewriting of a head: ``network`` and its graph are changed.

    After ``rewrite``, ``windows`` is true where the result reads windows of several cells. ``flattened`` names the layers that read them
    flattened, ``curved`` those that are not linear in what was pooled.
    """

    def __init__(self, network: fx.GraphModule, facts: dict[fx.Node, Facts], nodes: list[fx.Node], dense: Dense) -> None:
        self.network, self.graph, self.facts, self.nodes, self.dense = network, network.graph, facts, nodes, dense
        self.values: dict[fx.Node, HeadTensor] = {}
        self.windows = False
        self.flattened: list[str] = []
        self.curved: list[str] = []
        self.made: dict[nn.Parameter, tuple[nn.Parameter, Any]] = {}  # for those of linear layers: those of convolutions, and their form
        self._placed: dict[str, nn.Module] = {}
        self._called_before = {node.target for node in self.graph.nodes if node.op == "call_module" and node not in set(nodes)}

    def rewrite(self, sources: list[fx.Node], rule_of: Callable[[list[str]], "Rule | None"]) -> None:
        """From the maps ``sources`` through all nodes of the head, in order; ``values`` then has the result of each."""
        for source in sources:
            facts, node, layout = self.facts[source], source, ("n", "c", "h", "w")
            if facts.axes == (1, 2):
                layout = ("n", "h", "w", "c")
                with self.graph.inserting_after(source):
                    node = self.graph.call_method("permute", (source, 0, 3, 1, 2))
            self.values[source] = HeadTensor(node, layout, facts.shape[layout.index("c")], facts.cells)
        for node in self.nodes:
            with self.graph.inserting_before(node):
                self.values[node] = self._converted(node, rule_of)

    def _converted(self, node: fx.Node, rule_of: Callable[[list[str]], "Rule | None"]) -> HeadTensor:
        rule = rule_of(names_of(self.network, node))
        try:
            if rule is None:
                raise NotConvertible("no rule says how it is done in every window")
            value = rule(self, node)
            if value.shape != self.facts[node].shape:
                raise NotConvertible(f"it gives {self.facts[node].shape} where {value.shape} was understood")
            return value
        except NotConvertible as reason:
            error = self.facts[node].error and f" (on a larger image it fails: {self.facts[node].error})"
            place = where(self.network, node)
            raise NotConvertible(
                f"{type(self.network).__name__} cannot be converted: {place} does not slide: {reason}{error}",
                layer=layer_of(node),
                operation=names_of(self.network, node)[0],
                reason=str(reason),
            ) from None

    # what rules ask and do

    def input(self, node: fx.Node) -> HeadTensor:
        """The value of the first argument."""
        source = node.args[0] if node.args else node.kwargs.get("input")
        if not isinstance(source, fx.Node) or source not in self.values:
            raise NotConvertible("its first argument is not the window's features")
        return self.values[source]

    def option(self, node: fx.Node, place: int, name: str, default: Any = None) -> Any:
        """An argument by place or name, as a plain value: what is computed from the image's size is that of the trained size."""
        found = node.args[place] if len(node.args) > place else node.kwargs.get(name, default)
        return fx.node.map_arg(found, lambda source: self.facts[source].value)

    def weight(self, node: fx.Node, place: int, name: str) -> Any:
        """An argument that is a weight, or None."""
        found = node.args[place] if len(node.args) > place else node.kwargs.get(name)
        if found in self.values:
            raise NotConvertible("its weights depend on the image")
        return found

    def module(self, node: fx.Node) -> Any:
        return self.network.get_submodule(str(node.target))

    def drop(self, node: fx.Node) -> None:
        """Notes that the module that ``node`` calls, if it is one, goes or is replaced. NotConvertible where more would go with it."""
        if node.op == "call_module":
            try:
                replaceable(self.module(node))
            except UserError as error:
                raise NotConvertible(str(error)) from error

    def call(self, node: fx.Node, module: nn.Module, source: fx.Node) -> fx.Node:
        """``module`` on ``source``, put in the place of the module that ``node`` calls, or under a name of its own."""
        path = str(node.target)
        if node.op != "call_module":
            path = free_name(self.network, "pool")
        elif path in self._called_before:
            raise NotConvertible("it is used before the head as well")
        elif path in self._placed and str(self._placed[path]) != str(module):
            raise NotConvertible("it is used twice, on windows of different sizes")
        if path not in self._placed:
            self.drop(node)
            self._placed[path] = module
            self.network.set_submodule(path, module)
        return self.graph.call_module(path, (source,))

    def not_linear(self, node: fx.Node, value: HeadTensor) -> None:
        """Notes that from here on the mean of the cells is not the cell of the mean."""
        if not value.space:
            self.curved.append(where(self.network, node))


Rule = Callable[[Head, fx.Node], HeadTensor]
