"""The ceiling: what a network of a given output stride could reach on a data set if it were right about everything that it can say.

The truth is taken down to cells of ``stride`` pixels and up again, and scored against itself; the loss is what the grid alone costs (Long
et al. 2015, appendix A, arXiv:1411.4038). A cell can say two things:

``shares``  how much of it each class has, which is interpolated as our networks' scores are (bilinear, whole factor, arg-max): the
            ceiling of a network whose last step is that interpolation
``majority``  the class that has most of it, which then fills the cell: the ceiling of one label per cell

Void pixels have no share, and are not scored.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from fcn.data.labels import VOID
from fcn.training.metrics import Scores, confusion_matrix, percent

METHODS = ("shares", "majority")


def class_shares(truth: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """The classes that occur in ``truth`` (H, W), ascending, and the share of each ``stride`` x ``stride`` cell that each of them has,
    (1, classes, ceil(H / stride), ceil(W / stride)); what lies beyond the border has none. Not for maps that are all void."""
    classes = truth.unique()
    classes = classes[classes != VOID]
    height, width = truth.shape
    pixels = F.pad(truth, (0, -width % stride, 0, -height % stride), value=VOID)
    cells = pixels == classes[:, None, None]
    return classes, F.avg_pool2d(cells[None].float(), stride)


def through_cells(truth: Tensor, stride: int, method: str = "shares") -> Tensor:
    """``truth`` (H, W) of class indices or void, taken down to cells of ``stride`` pixels and up again: a label map of the same size."""
    height, width = truth.shape
    if (truth == VOID).all():
        return torch.zeros_like(truth)
    classes, shares = class_shares(truth, stride)
    if method == "shares":
        shares = F.interpolate(shares, scale_factor=float(stride), mode="bilinear", align_corners=False)
        return classes[shares[..., :height, :width].argmax(1)[0]]
    assert method == "majority"
    best = classes[shares.argmax(1)[0]]
    return best.repeat_interleave(stride, 0).repeat_interleave(stride, 1)[:height, :width]


def ceilings(truths: Iterable[Tensor], num_classes: int, strides: Sequence[int], method: str = "shares") -> dict[int, Tensor]:
    """For each stride the confusion matrix (num_classes, num_classes), int64, of all ``truths`` against themselves through its cells."""
    matrices = {stride: torch.zeros(num_classes, num_classes, dtype=torch.int64) for stride in strides}
    for truth in truths:
        for stride, matrix in matrices.items():
            matrix += confusion_matrix(truth, through_cells(truth, stride, method), num_classes)
    return matrices


def table(results: dict[int, Scores], names: Sequence[str]) -> str:
    """A line per class and the means, a column per stride: IoU in percent."""
    width = max(len(name) for name in (*names, "pixel accuracy"))
    lines = [f"{'output stride':<{width}}" + "".join(f"{stride:>8}" for stride in results)]
    for index, name in enumerate(names):
        lines.append(f"{name:<{width}}" + "".join(f"  {percent(result.iou[index])}" for result in results.values()))
    lines.append(f"{'mIoU':<{width}}" + "".join(f"  {percent(result.miou)}" for result in results.values()))
    lines.append(f"{'pixel accuracy':<{width}}" + "".join(f"  {percent(result.pixel_accuracy)}" for result in results.values()))
    return "\n".join(lines)
