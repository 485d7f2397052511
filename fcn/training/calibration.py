"""Calibration: whether a network is right as often as it says.

A pixel's confidence is its largest softmax probability. Pixels are sorted by it into bins of equal width. In each the share of right labels
should be the mean confidence. The expected calibration error is the mean distance of the two, weighted with the pixels (Naeini et al. 2015;
Guo et al. 2017, arXiv:1706.04599). All of it follows from one count of the whole split, by confidence in 256 steps and by right and wrong.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fcn.core.labels import void_of

BINS = 15
STEPS = 256  # of a confidence, whose type is uint8


def confidence_counts(truth: Tensor, prediction: Tensor, confidence: Tensor) -> Tensor:
    """(256, 2) int64: the pixels of each confidence that are labelled wrong, and right; void pixels are left out.

    truth, prediction: label maps (H, W). confidence: uint8 (H, W), 255 for a probability of 1.
    """
    cells = 2 * confidence.int() + (truth == prediction)
    cells[truth == void_of(truth.dtype)] = 2 * STEPS
    return torch.bincount(cells.flatten(), minlength=2 * STEPS)[: 2 * STEPS].view(STEPS, 2)


class Bin(NamedTuple):
    """Pixels whose confidence is above ``low`` and up to ``high``: how many, their mean confidence, and the share that is right."""

    low: float
    high: float
    pixels: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """error: expected calibration error, 0 to 1. confidence, accuracy: means over all pixels. bins: those that hold pixels."""

    error: float
    confidence: float
    accuracy: float
    bins: tuple[Bin, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "expected_calibration_error": self.error,
            "mean_confidence": self.confidence,
            "accuracy": self.accuracy,
            "bins": [bin._asdict() for bin in self.bins],
        }

    def __str__(self) -> str:
        gap = self.confidence - self.accuracy
        verdict = "too sure" if gap > 0 else "not sure enough" if gap < 0 else "as sure as it may be"
        return (
            f"expected calibration error {100 * self.error:.2f}: mean confidence {100 * self.confidence:.2f}, "
            f"right {100 * self.accuracy:.2f} ({verdict} on the whole)"
        )


def calibration(counts: Tensor, bins: int = BINS) -> Calibration | None:
    """The calibration of counts (256, 2), see ``confidence_counts``; None where there are no pixels."""
    counts = counts.double()
    total = counts.sum()
    if not total:
        return None
    levels = torch.arange(STEPS, dtype=torch.float64) / (STEPS - 1)
    pixels, right, sure = counts.sum(1), counts[:, 1], counts.sum(1) * levels
    place = torch.div(torch.arange(STEPS) * bins - 1, STEPS - 1, rounding_mode="floor").clamp(min=0)  # a bin's upper end is its own
    summed = [torch.zeros(bins, dtype=torch.float64).index_add_(0, place, values) for values in (pixels, right, sure)]
    found = [
        Bin(index / bins, (index + 1) / bins, int(count), float(confidence / count), float(hits / count))
        for index, (count, hits, confidence) in enumerate(zip(*summed, strict=True))
        if count
    ]
    error = float((summed[1] - summed[2]).abs().sum() / total)
    return Calibration(error, float(sure.sum() / total), float(right.sum() / total), tuple(found))
