"""The table of operations: all that is known of each, in one entry. The files beside this one hold the entries, one file a family.

``docs/operations.md`` shows the table; ``scripts/operation_table.py`` writes it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, fx

from fcn.graph.aten import op_name, says_alias
from fcn.graph.ops.blocks import BlockCall, Rule
from fcn.graph.ops.maps import Call, Result
from fcn.graph.ops.statistics import Gather

Scope = Literal["number", "cell", "grid"]
Linear = Literal["", "first", "each", "all"]
TABLE: dict[str, "Operation"] = {}
FACETS = {  # what is missing where a facet is
    "maps": "which cells it reads",
    "block": "how a block of its cells is computed",
    "gather": "which statistic of the whole image it needs",
}


@dataclass(frozen=True, eq=False)
class Operation:
    """All that is known of an operation. A facet that is left out is refused where it is needed.

    maps: the cells that its result reads, as ``maps(call) -> Result``.
    block: how a block of its cells is computed, as ``block(call) -> Rule``.
    second: how a block of its second result is computed.
    gather: the statistic that is gathered, block by block, where it reads the whole image; a function that begins one.
    rest: how a block is computed once the statistic is known; None: the statistic is the result.
    affine: scale and shift per channel that it amounts to in evaluation, for the convolution before it.
    folds: whether ``block`` takes such a scale and shift into its weights (``BlockCall.affine``).
    macs: its multiply-adds.
    scope: what one number of its result depends on: the numbers in its place, its cell, or other cells of the grid as well.
    linear: whether the result is linear, up to a constant, in all operands together, in each of them, in the first; "": in none.
    moves: it computes nothing: where shape, type and every cell stay as they are, its result is its source.
    cuts: it gives a tuple of parts of its source.
    alias: its result may share memory with its first argument.
    into: its kernel writes right into memory of any strides, as a test shows; a function ``into(*arguments, out)`` where another
        operation's kernel does. GELU's on a CPU (oneDNN's, in float32 and bf16) leaves strided memory as it is, without a word.
    """

    maps: Callable[[Call], Result] | None = None
    block: Callable[[BlockCall], Rule] | None = None
    second: Callable[[BlockCall], Rule] | None = None
    gather: Callable[[BlockCall], Gather] | None = None
    rest: Callable[[BlockCall], Rule] | None = None
    affine: Callable[[BlockCall], tuple[Tensor, Tensor]] | None = None
    folds: bool = False
    macs: Callable[[Call], int] | None = None
    scope: Scope = "grid"
    linear: Linear = ""
    moves: bool = False
    cuts: bool = False
    alias: bool = False
    into: bool | Callable[..., Tensor] = False

    def named(self, *names: str) -> None:
        """Makes this the entry of aten's operations of these names: without overload, without the underscore of in-place forms."""
        TABLE.update(dict.fromkeys(names, self))


def missing(facet: str) -> str:
    """The reason of a refusal where an operation lacks a facet."""
    return f"the table of operations does not say {FACETS[facet]}"


def may_alias(node: fx.Node) -> bool:
    """Whether the result may share memory with the first argument, by the table or, as for what works in place, by torch's schema."""
    entry = TABLE.get(op_name(node))
    return (entry is not None and entry.alias) or says_alias(node)


def read_later(writer: fx.Node) -> set[fx.Node]:
    """The tensors that may share memory with the one that ``writer`` writes over, and that are read after it, by more than views."""
    root: Any = writer.args[0]
    while may_alias(root) and root.args and isinstance(root.args[0], fx.Node):
        root = root.args[0]
    family, queue = {root}, [root]
    while queue:
        found = [user for user in queue.pop().users if user is not writer and may_alias(user) and user not in family]
        family.update(found)
        queue += found
    return {member for member in family if any(user > writer and user not in family for user in member.users)}
