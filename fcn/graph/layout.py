"""Where the axes of the image lie among the dimensions of a tensor, while a network reshapes it.

A dimension is a group of *atoms*, outermost first: ``(H)`` in a feature map, ``(H, W)`` where space is flattened to tokens, ``(C, H, W)``
where all is. An atom is plain (batch, channels, heads) or one axis of the image. Reshapes split and join atoms; that is how pixel shuffle,
channel shuffle or windows written with ``view`` and ``permute`` are understood without knowing them by name. An axis of one cell has no
atom after a reshape, for it could be anywhere; the next operation on the grid gives it back its name.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import prod

from fcn.graph.axis import AxisMap, Resize, Window, identity


@dataclass(frozen=True)
class Atom:
    """A part of a dimension: its size, and the axis of the image that it runs along (None: none)."""

    size: int
    axis: int | None = None


Dim = tuple[Atom, ...]
Layout = tuple[Dim, ...]


class NoLayoutError(Exception):
    """A reshape that cannot be followed; the message says why."""


def plain(size: int) -> Dim:
    return (Atom(size),) if size != 1 else ()


def axes_of(dim: Dim) -> list[int]:
    return [atom.axis for atom in dim if atom.axis is not None]


def axis_of(dim: Dim) -> int | None:
    """The axis that this dimension is, if it is one axis and nothing else."""
    return dim[0].axis if len(dim) == 1 else None


def carried(layout: Layout) -> set[int]:
    return {axis for dim in layout for axis in axes_of(dim)}


def dim_size(dim: Dim) -> int:
    return prod(atom.size for atom in dim)


def coalesce(atoms: list[Atom]) -> list[Atom]:
    """Joins neighbouring plain atoms; drops those of size one, which are everywhere and nowhere."""
    joined: list[Atom] = []
    for atom in atoms:
        if atom.size == 1:
            continue
        if joined and atom.axis is None and joined[-1].axis is None:
            joined[-1] = Atom(joined[-1].size * atom.size)
        else:
            joined.append(atom)
    return joined


def reshape(layout: Layout, shape: tuple[int, ...], sizes: tuple[int, ...]) -> tuple[Layout, tuple[AxisMap, ...]]:
    """The layout after a reshape to ``shape``, and what it does to each axis (of ``sizes`` cells).

    Splitting an axis leaves its outer part as the axis: a cell of it reads ``r`` cells (space to depth). A plain atom joined to the right
    of an axis refines it: ``r`` cells read the same one (depth to space). Raises NoLayoutError where an axis would be cut across.
    """
    maps: list[AxisMap] = [identity(size) for size in sizes]
    queue = coalesce([atom for dim in layout for atom in dim])
    result: list[Dim] = []
    for size in shape:
        need, group = size, []
        while need > 1:
            if not queue:
                raise NoLayoutError("the sizes do not fit")
            atom = queue.pop(0)
            if need % atom.size == 0:
                group.append(atom)
                need //= atom.size
            elif atom.size % need == 0:
                group.append(Atom(need, atom.axis))
                inner = atom.size // need
                queue.insert(0, Atom(inner))
                if len(queue) > 1 and queue[1].axis is None:
                    queue[:2] = [Atom(inner * queue[1].size)]
                if atom.axis is not None:
                    maps[atom.axis] = Window(atom.size, need, kernel=inner, stride=inner)
                need = 1
            else:
                raise NoLayoutError(
                    f"a dimension of {size} is cut across " + ("an axis of the image" if atom.axis is not None else "the channels")
                )
        group = coalesce(group)
        if len(group) == 2 and group[0].axis is not None and group[1].axis is None:
            outer, factor = group[0], group[1].size
            assert outer.axis is not None
            maps[outer.axis] = Resize(outer.size, outer.size * factor, scale=Fraction(1, factor), fixed=True)
            group = [Atom(outer.size * factor, outer.axis)]
        result.append(tuple(group))
    return tuple(result), tuple(maps)
