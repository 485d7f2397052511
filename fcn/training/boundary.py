"""Scores of the edges: what a mean over all pixels hides, since few pixels lie at an edge.

The band of a label map are the pixels from which an edge can be seen: within ``width`` pixels (a square) there is another label, void
included. All classes are handled at once, since a square holds one label exactly where its smallest is its largest.

Two scores stand on it. Boundary IoU (Cheng et al. 2021, arXiv:2103.16562) compares two sets for each class: its pixels in the truth's band,
and its predicted pixels in the prediction's band. The border of the image counts as an edge. Band IoU: the usual confusion matrix, of the
pixels in the truth's band alone (Kohli et al. 2009, the "trimap" of DeepLab).
"""

from collections.abc import Callable
from math import hypot

import torch
from torch import Tensor
from torch.nn import functional as F

from fcn.core.labels import void_index
from fcn.training.metrics import confusion_matrix


def band(labels: Tensor, width: int, *, border: bool = False) -> Tensor:
    """Which pixels of a label map (H, W) lie within ``width`` >= 1 pixels of another label; ``border``: or of the outside."""
    size = 2 * width + 1
    found = _extreme(labels, size, torch.maximum, 0) != _extreme(labels, size, torch.minimum, torch.iinfo(labels.dtype).max)
    if border:
        found[:width], found[-width:] = True, True
        found[:, :width], found[:, -width:] = True, True
    return found


def _extreme(values: Tensor, size: int, pick: Callable[[Tensor, Tensor], Tensor], outside: int) -> Tensor:
    """The largest or smallest value in a square of side ``size`` round each pixel, one axis after the other. The outside never wins.

    A run of 2 n values is picked from two runs of n, so that a wide square costs hardly more than a narrow one.
    """
    for axis in (0, 1):
        length = values.shape[axis]
        reach = size // 2
        values = F.pad(values, (0, 0, reach, reach) if axis == 0 else (reach, reach), value=outside)
        run = 1
        while run < size:
            step = min(run, size - run)
            left = values.shape[axis] - step
            values = pick(values.narrow(axis, 0, left), values.narrow(axis, step, left))
            run += step
        assert values.shape[axis] == length
    return values


def boundary_width(height: int, width: int, share: float = 0.02) -> int:
    """The width of the band, pixels: a share of the image's diagonal (0.02 in the paper), at least 1."""
    return max(1, round(share * hypot(height, width)))


def boundary_counts(truth: Tensor, prediction: Tensor, num_classes: int, width: int) -> Tensor:
    """(2, num_classes) int64: for each class the pixels in both bands, and in either. Summed over a split, their ratio is its boundary IoU.

    truth and prediction: label maps (H, W). Where the truth is void, nothing is counted, and both maps have the same edge.
    """
    void = void_index(num_classes)
    prediction = torch.where(truth == void, truth, prediction)
    own = [torch.where(band(labels, width, border=True), labels, void) for labels in (truth, prediction)]
    counts = [torch.bincount(labels.flatten(), minlength=void + 1)[:num_classes] for labels in own]
    both = torch.bincount(torch.where(own[0] == own[1], own[0], void).flatten(), minlength=void + 1)[:num_classes]
    return torch.stack([both, counts[0] + counts[1] - both])


def band_confusion(truth: Tensor, prediction: Tensor, num_classes: int, width: int) -> Tensor:
    """The confusion matrix (num_classes, num_classes), int64, of the pixels within ``width`` pixels of an edge of the truth."""
    return confusion_matrix(torch.where(band(truth, width), truth, void_index(num_classes)), prediction, num_classes)
