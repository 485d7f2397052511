"""The fields of one layer's cells along one axis, and how they pass through operations and meet.

Rational arithmetic throughout: up-sampling makes strides less than one, and its phases have fields of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor, gcd, lcm

import numpy as np

from fcn.core.errors import UserError
from fcn.graph.axis import HOLE, AxisMap, Resize, Whole

MAX_PERIOD = 2**14
Phase = tuple[Fraction, Fraction] | None


@dataclass(frozen=True)
class Field:
    """The fields of one layer's cells along one axis, on an image without borders.

    ``phases[o]`` is ``[low, high)`` of cell ``o``, in pixels; None for a cell that sees nothing. After these cells all repeats itself,
    shifted by ``len(phases) * stride`` pixels. ``bounded`` says that they are bounds rather than exact: a resize by a factor that is not
    whole was passed on the way.
    """

    phases: tuple[Phase, ...]
    stride: Fraction
    bounded: bool = False

    def at(self, cell: int) -> Phase:
        turns, phase = divmod(cell, len(self.phases))
        found, shift = self.phases[phase], turns * len(self.phases) * self.stride
        return None if found is None else (found[0] + shift, found[1] + shift)

    @property
    def size(self) -> int:
        """Pixels that a cell sees; the largest, if phases differ."""
        return max((ceil(found[1] - found[0]) for found in self.phases if found), default=0)

    @property
    def offset(self) -> Fraction:
        """Where the centre of the first cell's field lies; the average over phases, each less its share of the stride."""
        centres = [(found[0] + found[1] - 1) / 2 - cell * self.stride for cell, found in enumerate(self.phases) if found]
        return sum(centres, Fraction(0)) / max(len(centres), 1)

    @property
    def halo(self) -> tuple[int, int]:
        """Pixels that a strip of cells sees before the first and after the last that it covers at ``stride`` pixels a cell."""
        before = max((floor(cell * self.stride) - floor(found[0]) for cell, found in enumerate(self.phases) if found), default=0)
        after = max((ceil(found[1]) - ceil((cell + 1) * self.stride) for cell, found in enumerate(self.phases) if found), default=0)
        return max(before, 0), max(after, 0)

    @property
    def reach(self) -> tuple[Fraction, Fraction]:
        """Bounds of ``low`` and ``high`` relative to ``cell * stride``, over all phases."""
        ends = [(found[0] - cell * self.stride, found[1] - cell * self.stride) for cell, found in enumerate(self.phases) if found]
        return min((low for low, _ in ends), default=Fraction(0)), max((high for _, high in ends), default=Fraction(0))


@dataclass(frozen=True)
class PathField:
    """The field along a path through the graph; ``is_global`` says that the path came through something global."""

    field: Field
    is_global: bool = False


def through(axis: AxisMap, path: PathField, ignore: bool) -> PathField:
    if isinstance(axis, Whole) and axis.local is not None and ignore:
        axis = axis.local
    if path.is_global:
        return path
    if isinstance(axis, Resize) and not axis.is_local:
        return PathField(_bounded(axis, path.field), not ignore)
    if not axis.is_local:
        return replace(path, is_global=True)
    if axis.is_identity:
        return path
    return PathField(_compose(axis, path.field))


def _compose(axis: AxisMap, field: Field) -> Field:
    """The fields of an operation's cells, from the fields of the cells that it reads."""
    period = axis.period * (len(field.phases) // gcd(len(field.phases), axis.advance) if axis.advance else 1)
    if period > MAX_PERIOD:
        raise UserError(f"the fields repeat only after {period} cells; more than {MAX_PERIOD} phases are not followed")
    phases: list[Phase] = []
    for taps in axis.taps(np.arange(period, dtype=np.int64)):
        phases.append(_hull([field.at(int(tap)) for tap in taps if tap != HOLE]))
    return _shortest(Field(tuple(phases), field.stride * axis.ratio, field.bounded))


def _bounded(axis: Resize, field: Field) -> Field:
    """Bounds for a resize whose phases do not repeat: taps lie within one (cubic: two) cells of the source position."""
    ratio = Fraction(axis.n_in, axis.n_out)
    width = 2 if axis.mode == "cubic" else 1
    if axis.antialias:
        width = ceil(width * max(axis.scale, Fraction(1)))
    low, high = field.reach
    middle = (ratio - 1) / 2 * field.stride
    return Field(((middle - width * field.stride + low, middle + width * field.stride + high),), ratio * field.stride, True)


def join(paths: Sequence[PathField], ignore: bool) -> PathField | None:
    """The hull of several paths; None where their strides differ (bounds give way to exact fields)."""
    if any(path.is_global for path in paths):
        local = [path for path in paths if not path.is_global]
        if not ignore:
            return next(path for path in paths if path.is_global)
        if not local:
            return paths[0]
        paths = local
    if len({path.field for path in paths}) == 1:
        return paths[0]
    exact = [path.field for path in paths if not path.field.bounded] or [paths[0].field]
    stride: Fraction = exact[0].stride
    if any(path.field.bounded or path.field.stride != stride for path in paths):
        if len({field.stride for field in exact}) > 1 and not ignore:
            return None
        reaches = [path.field.reach for path in paths]
        return PathField(Field(((min(low for low, _ in reaches), max(high for _, high in reaches)),), stride, True))
    period = lcm(*(len(path.field.phases) for path in paths))
    phases = tuple(_hull([path.field.at(cell) for path in paths]) for cell in range(period))
    return PathField(_shortest(Field(phases, stride)))


def _hull(found: Sequence[Phase]) -> Phase:
    seen = [each for each in found if each is not None]
    return (min(low for low, _ in seen), max(high for _, high in seen)) if seen else None


def _shortest(field: Field) -> Field:
    """The same field with as few phases as tell it."""
    count = len(field.phases)
    for period in range(1, count):
        if count % period == 0:
            shorter = replace(field, phases=field.phases[:period])
            if all(shorter.at(cell) == field.phases[cell] for cell in range(count)):
                return shorter
    return field
