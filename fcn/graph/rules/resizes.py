"""The rule for resizes, with the short cuts that torch takes: where it takes one, a factor that was given has no effect.

On a CPU, per axis:

- linear modes, and both antialiased ones, copy an axis whose size stays, so that a factor of 1.3 leaves 3 cells as they are;
- "nearest" copies such an axis, and repeats each cell where the size doubles, in one of its two kernels only. That one takes maps of two
  axes whose result has up to 128 rows and columns together, and channels-last maps of more than 3 channels. The other one computes
  positions in float64 where the map is float64, and rounds "nearest-exact" at another place;
- "nearest-exact" and "bicubic" take none.

On a GPU, linear modes and "bicubic" copy where all axes keep their sizes; "nearest" takes none.

Source: ``aten/src/ATen/native/cpu/UpSampleKernel.cpp``, ``aten/src/ATen/native/UpSample.h`` and the ``cuda/UpSample*.cu`` beside them.
"""

from fractions import Fraction
from typing import Literal, cast

import torch
from torch import Tensor, fx

from fcn.graph.axis import AxisMap, Resize
from fcn.graph.rules.call import Call, Result, rule
from fcn.graph.rules.windows import on_grid

Mode = Literal["nearest", "nearest-exact", "linear", "cubic"]
SMALL = 128  # rows and columns of a result together, up to which torch's kernel for channels-last maps takes every map


@rule(
    *(f"upsample_{mode}" for mode in ("nearest1d", "nearest2d", "nearest3d", "linear1d", "bilinear2d", "trilinear3d", "bicubic2d")),
    *(f"_upsample_{mode}" for mode in ("nearest_exact1d", "nearest_exact2d", "nearest_exact3d", "bilinear2d_aa", "bicubic2d_aa")),
)
def resize(call: Call) -> Result:
    value = call.need("input", "self")
    count = len(value.shape) - 2
    tails = ["_d", "_h", "_w"][-count:] if count > 1 else [""]
    factors = call.get("scale_factors") or [call.get(f"scales{tail}") for tail in tails]
    kinds: dict[str, Mode] = {"nearest_exact": "nearest-exact", "nearest": "nearest", "cubic": "cubic", "linear": "linear"}
    mode = next(kinds[word] for word in kinds if word in call.op)
    align, smooth = bool(call.get("align_corners", default=False)), "_aa" in call.op
    source = call.get("input", "self")
    before = cast(Tensor, source.meta["val"]) if isinstance(source, fx.Node) else None
    routine = routine_of(before, call.shape) if before is not None and mode in ("nearest", "nearest-exact") else "plain"

    def make(place: int, n_in: int, n_out: int) -> AxisMap:
        scale, fixed, shortened = Fraction(n_in, n_out), False, False
        if align and n_in != n_out:
            scale = Fraction(n_in - 1, n_out - 1) if n_out > 1 else Fraction(0)
        elif factors[place] is not None and not align:
            given = 1 / Fraction(factors[place]).limit_denominator(10_000)
            shortened = given != scale and takes_short_cut(place)
            scale, fixed = (scale, False) if shortened else (given, True)
        return Resize(n_in, n_out, scale, mode, align, smooth, fixed, shortened, routine)

    def takes_short_cut(place: int) -> bool:
        n_in, n_out = value.shape[2 + place], call.shape[2 + place]
        if before is not None and before.device.type != "cpu":
            return mode in ("linear", "cubic") and not smooth and value.shape[2:] == call.shape[2:]
        if mode == "nearest":
            return routine == "plain" and n_out in (n_in, 2 * n_in)
        return n_in == n_out and (mode == "linear" or smooth)

    return on_grid(call, value, count, make, "resize", call.shape)


def routine_of(x: Tensor, shape: tuple[int, ...]) -> Literal["plain", "single", "double"]:
    """Which of torch's routines resizes ``x`` to ``shape`` by "nearest" or "nearest-exact": see ``Resize``."""
    if x.device.type != "cpu":
        return "plain"
    channels_last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(x.dim())
    if channels_last is not None and x.shape[1] > 3 and x.is_contiguous(memory_format=channels_last):
        return "plain"
    if x.dim() == 4 and sum(shape[2:]) <= SMALL:
        return "plain"
    return "double" if x.dtype == torch.float64 else "single"
