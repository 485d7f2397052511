"""Where the cells of a tensor stand: its grid along each spatial axis, in the network as it was and in the network as it becomes.

A chain of padded windows maps an image of ``H`` pixels to ``ceil((H + excess) / stride)`` cells. A window of kernel ``k``, stride ``s``,
dilation ``l`` and padding ``p`` makes ``ceil((n + 2p - l(k - 1)) / s)`` cells of ``n``. Such steps compose to one of the same form.
Dilating keeps the excess and lowers the stride. With ``d`` the ratio of the strides, original cell ``i`` is dilated cell ``i d``. The
dilated map ends within ``d`` cells after the original's last. What lies outside of the one lies outside of the other.
"""

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Lattice:
    """``ceil((H + excess) / stride)`` cells for ``H`` pixels, the field of the first one centred at ``center`` (None: not known).

    All in pixels of the image, the center of its first one at 0.
    """

    stride: Fraction
    excess: Fraction
    center: Fraction | None = None

    @property
    def is_whole(self) -> bool:
        """Whether there are ``H / stride`` cells where the stride divides ``H``: nothing is lost or added but by rounding."""
        return -self.stride < self.excess <= 0

    def cells(self, side: int) -> int:
        """How many cells an image of ``side`` pixels has."""
        whole = self.stride.denominator * self.excess.denominator  # all in integers: a size may be a symbol, when exported
        return -((-side * whole - self.excess.numerator * self.stride.denominator) // (self.stride.numerator * self.excess.denominator))

    def slide(self, stride: int, before: int, reach: int, after: int) -> "Lattice":
        """The grid after a window of that stride, with cells of padding ``before`` and ``after`` and a reach of ``dilation * (kernel - 1)``
        cells of this grid."""
        center = None if self.center is None else self.center + (Fraction(reach, 2) - before) * self.stride
        return Lattice(self.stride * stride, self.excess + (before + after - reach) * self.stride, center)


@dataclass(frozen=True)
class DilatedAxis:
    """One spatial axis of a tensor: its grid in the network as it was and as it is now."""

    original: Lattice
    now: Lattice

    @property
    def dilation(self) -> int:
        """How many cells now stand for one of the original."""
        return int(self.original.stride / self.now.stride)


IMAGE = DilatedAxis(*[Lattice(Fraction(1), Fraction(0), Fraction(0))] * 2)
