"""Checkerboards: the pattern that an up-sampler leaves on its output, as a share of the output's energy.

An up-sampler by a whole factor treats its output cells in ``factor`` x ``factor`` kinds, by their place over an input cell. What the cells
of a kind have in common repeats itself every ``factor`` cells. In the spectrum it is the energy at multiples of the sampling frequency ``1
/ factor`` (Odena et al. 2016, "Deconvolution and Checkerboard Artifacts", Distill). It is found without a Fourier transform: it is the
variance, over the kinds, of the mean of each.
"""

from torch import Tensor

from fcn.core.errors import UserError


def checkerboard(maps: Tensor, factor: int) -> float:
    """The share of the energy of ``maps`` (..., H, W), each map's mean taken away, at the multiples of ``1 / factor`` cycles per cell.

    0: no pattern (a constant map, too); 1: nothing but the pattern; about ``factor^2 / (H W)`` for noise. Rows and columns beyond a
    multiple of ``factor`` are left out. Raises UserError for a factor below 2 or maps of less than one period.
    """
    height, width = (size // factor * factor if factor > 1 else 0 for size in maps.shape[-2:])
    if not (height and width):
        raise UserError(
            f"maps of {maps.shape[-2]} x {maps.shape[-1]} cells show no pattern of factor {factor}; give a factor from 2 up to them"
        )
    cut = maps[..., :height, :width].detach().double()
    energy = (cut - cut.mean((-2, -1), keepdim=True)).square().mean()
    kinds = cut.unflatten(-1, (-1, factor)).unflatten(-3, (-1, factor)).mean((-4, -2))  # (..., factor, factor)
    pattern = (kinds - kinds.mean((-2, -1), keepdim=True)).square().mean()
    rounding = (1e-6 * cut.abs().max()) ** 2  # a constant map, computed in float32, has no energy
    return float(pattern / energy) if energy > rounding else 0.0
