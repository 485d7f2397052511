"""A network's programs, one for each size of image: made once for the network, and only sizes and maps anew for another size.

The first image's graph is exported at its own size, which is the fastest way to have one. When a second size comes, the graph is exported
with sizes left open (``graph/sizes.py``), which takes two or three times as long, and serves all sizes at which it holds. Where the caller
has said that images of many sizes come (``unchanged``), it is exported so at once. Weights are folded once.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain

import torch
from torch import nn

from fcn.core.errors import NotStreamable
from fcn.core.garbage import uncollected
from fcn.core.names import said
from fcn.graph import Graph, NotExportedError, UnknownOperationError, read_graph
from fcn.graph.ops.blocks import Folded
from fcn.graph.sizes import OpenGraph, open_graph
from fcn.inference.kept import ImageSpec, Kept, Period, period_of, reading
from fcn.inference.scoring import in_its_names, one_at_a_time
from fcn.inference.stream.ending import before_last_resize
from fcn.inference.stream.program import compile_graph
from fcn.inference.stream.scores import Prepared
from fcn.models.segmenter import Segmenter

KEPT = 8  # programs of a network, of the sizes that came last
BRANCHES = 4  # open graphs of a network: one that decides by the size has several
TYPES = 2  # of autocast, for which a network's programs are kept

Size = tuple[int, int]


@dataclass
class Programs:
    """The programs of a network as it is. dtype: the one that autocast computes convolutions in. looked: the size of image at which the
    network is looked at again, to see whether it is still the same."""

    dtype: torch.dtype | None
    looked: Size
    found: dict[Size, Prepared] = field(default_factory=dict)
    opened: list[OpenGraph] = field(default_factory=list)
    since: Period | None = None  # in which ``opened`` was found
    closed: bool = False  # whether no graph of it can be left open
    folded: Folded = field(default_factory=Folded)

    def covers(self, size: Size) -> bool:
        """Whether a look at the network at ``looked`` says that it does the same as before at ``size``: it does not decide by the size."""
        return size == self.looked or any(each.plain and each.covers(*size) for each in self.opened)

    def at(self, network: nn.Module, size: Size) -> Prepared:
        """The program for images of a size that is covered, kept for the next of them. Raises NotStreamable as ``prepare``."""
        prepared = self.found.pop(size, None)
        if prepared is None:
            with reading(network) as read:
                prepared = self.made(network, read, size)
            while len(self.found) >= KEPT:
                self.found.pop(next(iter(self.found)))
        self.found[size] = prepared
        return prepared

    def made(self, network: nn.Module, read: Callable[[], nn.Module], size: Size) -> Prepared:
        """The program for images of ``size``."""
        with uncollected():
            return self._made(network, read, size)

    def _made(self, network: nn.Module, read: Callable[[], nn.Module], size: Size) -> Prepared:
        try:
            graph = self._graph(network, read, size)
        except (UnknownOperationError, NotExportedError) as error:
            raise in_its_names(error, network, f"{said('inference', 'stream')} is not possible: ") from error
        cell = None
        if isinstance(network, Segmenter) and network.stride == 1:
            graph, cell = before_last_resize(graph)
        try:
            return Prepared(compile_graph(graph, dtype=self.dtype, folded=self.folded), cell)
        except NotStreamable as error:
            raise in_its_names(error, network) from error

    def _graph(self, network: nn.Module, read: Callable[[], nn.Module], size: Size) -> Graph:
        period = period_of(network)
        # A decision of the network's own may follow from what was changed since, without a trace at the size that is looked at.
        usable = [each for each in self.opened if each.plain or (period is not None and self.since is period)]
        for each in usable:
            if (graph := each.at(*size)) is not None:
                return graph
        network = read()
        many = size != self.looked or (period is not None and period.many)
        if many and not self.closed and len(self.opened) < BRANCHES and len(usable) == len(self.opened):
            opened = open_graph(network, size)
            self.closed = opened is None
            if opened is not None and (graph := opened.at(*size)) is not None:
                self.opened.append(opened)
                self.since = period
                return graph
        return read_graph(network, size, record=False)


programs: Kept[Programs] = Kept(TYPES, weights=True)
others: Kept[Prepared] = Kept(KEPT, weights=True)  # for sizes that those do not cover: the network is looked at again at each


@one_at_a_time
def prepare(network: nn.Module, height: int, width: int) -> Prepared:
    """The program of ``network``, in evaluation mode, for an image of that size. A segmenter's is of its scores on their own grid, before a
    last interpolation. Any other network's is of its first output, or the one called "out".

    The last ``KEPT`` are kept for the next image of their size, as long as the network does the same with the same weights (``Kept``).
    Raises NotStreamable, naming the layer, where an operation cannot be computed in bands.
    """
    device = next((tensor.device.type for tensor in chain(network.parameters(), network.buffers())), "cpu")
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None

    size = height, width

    def make(_: Callable[[], nn.Module]) -> tuple[Programs, ImageSpec]:
        made = Programs(dtype, size)
        return made, image_of(made.at(network, size))

    def make_other(read: Callable[[], nn.Module]) -> tuple[Prepared, ImageSpec]:
        prepared = known.made(network, read, size)
        return prepared, image_of(prepared)

    known = programs.get(network, dtype, make)
    return known.at(network, size) if known.covers(size) else others.get(network, (dtype, size), make_other)


def image_of(prepared: Prepared) -> ImageSpec:
    program = prepared.program
    return ImageSpec(program.input.shape, program.like.dtype, program.like.device)
