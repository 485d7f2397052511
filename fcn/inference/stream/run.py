"""Running a program by its schedule: step by step, every instruction computes the rows that are due from the rows that are held.

What is read again in a later step lies in a buffer of its own. The rows that stay move to its front, and new ones are written behind them
(where the instruction can, directly). All else lives until its last reader of the step, and is overwritten by it where it can be.
"""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from fcn.graph.ops.blocks import Cut, Cuts, layout, part
from fcn.inference.stream.lifetimes import lifetimes
from fcn.inference.stream.plan import Interval, Schedule, cells
from fcn.inference.stream.program import Instruction, Read

Source = Callable[[int, int, int, int], Tensor]  # rows first, end, columns left, right -> of the normalised image (1, C, ...)


class Buffer:
    """The rows of one instruction that are held: ``start`` is the first of them."""

    def __init__(self, like: Tensor, dim: int, capacity: int) -> None:
        shape = list(like.shape)
        shape[dim] = capacity
        self.memory = torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=layout(like))
        self.dim, self.start, self.held = dim, 0, 0

    def room(self, start: int, rows: int) -> Tensor:
        """Forget the rows before ``start``; where the next ``rows`` rows go."""
        shift = start - self.start
        stay = self.held - shift
        if shift and stay > 0:
            kept = self.memory.narrow(self.dim, shift, stay)
            self.memory.narrow(self.dim, 0, stay).copy_(kept.clone() if shift < stay else kept)
        self.start, self.held = start, stay + rows
        return self.memory.narrow(self.dim, stay, rows)

    @property
    def rows(self) -> Tensor:
        return self.memory.narrow(self.dim, 0, self.held)


class Run:
    """One pass over a strip of columns of the image.

    wanted: the columns that are asked for of each sink. known, dims: values that are there in full, and which of their dimensions are rows
    and columns. like: of the image's type, on its device. ``steps()`` yields, for each sink with rows in a step, its name, the rows and the
    block. The block is valid until the next one is asked for.
    """

    def __init__(
        self,
        instructions: list[Instruction],
        plan: Schedule,
        wanted: Mapping[str, Interval],
        known: Mapping[str, Tensor],
        dims: Mapping[str, tuple[int | None, int | None]],
        like: Tensor,
    ) -> None:
        self.instructions, self.plan, self.wanted, self.known = instructions, plan, wanted, known
        self.dims = {**dims, **{instruction.name: instruction.dims for instruction in instructions}}
        self.columns = cells(instructions, wanted, known, axis=1)
        uses = lifetimes(instructions, plan, wanted)
        self.keeps, self.leaving, self.overwrites = uses.keeps, uses.leaving, uses.overwrites
        self.buffers: dict[str, Buffer] = {}
        self.blocks: dict[str, tuple[int, Tensor]] = {}  # first row, rows
        self.types: dict[str, torch.dtype] = {}  # of what an instruction gives; its constants may be of another type than its blocks
        self.shapes = {instruction.name: instruction.shape for instruction in instructions}
        self.like = like

    def steps(self, image: Source) -> Iterator[tuple[str, Interval, Tensor]]:
        for step in range(1, self.plan.steps + 1):
            for index, instruction in enumerate(self.instructions):
                first, end = self.plan.rows(instruction.name, step)
                if first < end and self.columns[instruction.name][0] < self.columns[instruction.name][1]:
                    self._compute(instruction, step, first, end, image)
                for name in self.leaving.get(index, ()):
                    self.blocks.pop(name, None)
            for name in self.wanted:
                first, end = self.plan.rows(name, step)
                if first < end:
                    start, block = self.blocks[name]
                    yield name, (first, end), part(block, self.dims[name][0], first - start, end - first)
            for name in self.wanted:
                if name not in self.keeps:
                    self.blocks.pop(name, None)

    def holds(self, block: Tensor) -> bool:
        """Whether the memory of a block is written to again: that of rows which stay, of which the block may be a view."""
        place = block.untyped_storage().data_ptr()
        return any(buffer.memory.untyped_storage().data_ptr() == place for buffer in self.buffers.values())

    def _compute(self, instruction: Instruction, step: int, first: int, end: int, image: Source) -> None:
        left, right = self.columns[instruction.name]
        if instruction.reads:
            blocks, cuts = [], []
            for read in instruction.reads:
                block, cut = self._block(read, (first, end), (left, right))
                blocks.append(block)
                if cut is not None:
                    cuts.append(cut)
        else:
            blocks, cuts = [image(first, end, left, right)], []
        rule, dim = instruction.rule, instruction.dims[0]
        if instruction.name not in self.keeps:
            if instruction.name in self.overwrites and self._fits(blocks, instruction, end - first, right - left):
                assert rule.into is not None
                result = rule.into(blocks, cuts, blocks[0])
            else:
                result = rule.run(blocks, cuts)
                self.types[instruction.name] = result.dtype
            self.blocks[instruction.name] = (first, result)
            return
        if dim is None:  # one row, for all that follow
            self.blocks[instruction.name] = (0, rule.run(blocks, cuts))
            return
        start = self.plan.start(instruction.name, step)
        buffer = self.buffers.get(instruction.name)
        if buffer is not None and rule.into is not None and all(block.dtype == buffer.memory.dtype for block in blocks):
            rule.into(blocks, cuts, buffer.room(start, end - first))
        else:
            result = rule.run(blocks, cuts)
            if buffer is None:
                buffer = self.buffers[instruction.name] = Buffer(result, dim, self.plan.capacity(instruction.name))
                buffer.start = start
            buffer.room(start, end - first).copy_(result)
        self.blocks[instruction.name] = (start, buffer.rows)

    def _fits(self, blocks: list[Tensor], instruction: Instruction, rows: int, width: int) -> bool:
        """Whether the result is known to have the shape and type of the first block."""
        shape = list(instruction.shape)
        for dim, size in zip(instruction.dims, (rows, width), strict=True):
            if dim is not None:
                shape[dim] = size
        return list(blocks[0].shape) == shape and all(block.dtype == self.types.get(instruction.name) for block in blocks)

    def _block(self, read: Read, rows: Interval, across: Interval) -> tuple[Tensor, Cuts | None]:
        """The rows and columns of a source that those of an instruction need, and how they lie to each other."""
        name = read.source
        if read.maps is None:
            return self.known[name], None
        cuts = Cut.of(read.maps[0], *rows), Cut.of(read.maps[1], *across)
        if any(cut.low == cut.high for cut in cuts):
            return self._nothing(name, cuts), cuts
        if name in self.known:
            top, left, x = 0, 0, self.known[name]
        else:
            top, x = self.blocks[name]
            left = self.columns[name][0]
        dims = self.dims[name]
        x = part(x, dims[0], cuts[0].low - top, cuts[0].high - cuts[0].low)
        return part(x, dims[1], cuts[1].low - left, cuts[1].high - cuts[1].low), cuts

    def _nothing(self, name: str, cuts: Cuts) -> Tensor:
        """An empty block: what cells see that lie in the padding altogether."""
        shape = list(self.shapes[name])
        for dim, cut in zip(self.dims[name], cuts, strict=True):
            if dim is not None:
                shape[dim] = cut.high - cut.low
        return self.like.new_empty(shape)
