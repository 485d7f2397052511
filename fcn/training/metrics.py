"""Metrics of a segmentation, all from one confusion matrix over the whole split.

``matrix[t, p]`` counts the pixels of class ``t`` that were labelled ``p``; void pixels are not in it. It is int64 and summed over the split
(and over processes) before any ratio is taken. A mean of per-image scores is another, larger or smaller, number. Definitions: Long et al.
2015, section 5, arXiv:1411.4038. A class that occurs neither in the truth nor in the prediction has no IoU and is left out of the means.
The mean accuracy leaves out classes absent from the truth, the mean precision those that are never predicted. A class's accuracy is its
recall. Dice is 2 TP / (2 TP + FP + FN), the harmonic mean of precision and recall, which is also called F1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from fcn.core.labels import LabelSet, void_index


def confusion_matrix(truth: Tensor, prediction: Tensor, num_classes: int) -> Tensor:
    """(num_classes, num_classes) int64, row = truth, column = prediction; pixels whose truth is void are left out.

    truth and prediction: integer maps of the same shape with values in 0..num_classes-1 (truth: or ``void_index(num_classes)``).
    """
    whole = torch.int32 if num_classes < 2**15 else torch.int64
    cells = truth.to(whole) * num_classes + prediction.to(whole)
    cells[truth == void_index(num_classes)] = num_classes**2  # one behind all others, which is cut off
    return torch.bincount(cells.flatten(), minlength=num_classes**2)[: num_classes**2].reshape(num_classes, num_classes)


@dataclass(frozen=True)
class Metrics:
    """Shares between 0 and 1; ``nan`` where there is nothing to divide by. Per class: ``iou``, ``accuracy`` (recall), ``precision`` and
    ``dice`` (F1)."""

    miou: float
    pixel_accuracy: float
    mean_accuracy: float
    frequency_weighted_iou: float
    iou: tuple[float, ...]
    accuracy: tuple[float, ...]
    precision: tuple[float, ...]
    dice: tuple[float, ...]

    def as_dict(self, names: Sequence[str]) -> dict[str, Any]:
        """For JSON: nan becomes None, classes by name."""
        return {
            "miou": plain(self.miou),
            "pixel_accuracy": plain(self.pixel_accuracy),
            "mean_accuracy": plain(self.mean_accuracy),
            "frequency_weighted_iou": plain(self.frequency_weighted_iou),
            "classes": {
                name: {key: plain(getattr(self, key)[index]) for key in ("iou", "accuracy", "precision", "dice")}
                for index, name in enumerate(names)
            },
        }


def metrics(matrix: Tensor) -> Metrics:
    """The scores of a confusion matrix (num_classes, num_classes) int64."""
    matrix = matrix.to("cpu", torch.float64)
    right, truth, predicted = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
    iou = right / (truth + predicted - right)  # 0 / 0 = nan: absent
    accuracy = right / truth
    precision = right / predicted
    dice = 2 * right / (truth + predicted)
    return Metrics(
        miou=iou.nanmean().item(),
        pixel_accuracy=(right.sum() / truth.sum()).item(),
        mean_accuracy=accuracy.nanmean().item(),
        frequency_weighted_iou=((truth / truth.sum()) * iou)[truth > 0].sum().item() if truth.sum() > 0 else float("nan"),
        iou=tuple(iou.tolist()),
        accuracy=tuple(accuracy.tolist()),
        precision=tuple(precision.tolist()),
        dice=tuple(dice.tolist()),
    )


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """The scores of a model on a split; ``print`` shows them as ``fcn evaluate`` does. All are shares, 0 to 1; nan: nothing to divide by.

    labels: classes of the split.
    confusion: pixels, int64 tensor (num_classes, num_classes), row = truth, column = prediction; void is left out.
    """

    labels: LabelSet
    confusion: Tensor

    @cached_property
    def metrics(self) -> Metrics:
        return metrics(self.confusion)

    @property
    def mean_iou(self) -> float:
        """Mean of the classes' IoU; a class that is neither in the truth nor predicted is left out."""
        return self.metrics.miou

    @property
    def iou(self) -> dict[str, float]:
        """Intersection over union by class name."""
        return dict(zip(self.labels.names, self.metrics.iou, strict=True))

    @property
    def accuracy(self) -> dict[str, float]:
        """Share of a class's pixels that are labelled as it (recall), by class name."""
        return dict(zip(self.labels.names, self.metrics.accuracy, strict=True))

    @property
    def precision(self) -> dict[str, float]:
        """Share of the pixels labelled as a class that are of it, by class name."""
        return dict(zip(self.labels.names, self.metrics.precision, strict=True))

    @property
    def dice(self) -> dict[str, float]:
        """Dice coefficient (F1, the harmonic mean of precision and recall), by class name."""
        return dict(zip(self.labels.names, self.metrics.dice, strict=True))

    @property
    def pixel_accuracy(self) -> float:
        """Share of the pixels that are labelled right."""
        return self.metrics.pixel_accuracy

    @property
    def mean_accuracy(self) -> float:
        """Mean of the classes' accuracy."""
        return self.metrics.mean_accuracy

    @property
    def frequency_weighted_iou(self) -> float:
        """Mean of the classes' IoU, weighted with their share of the pixels."""
        return self.metrics.frequency_weighted_iou

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; nan becomes None."""
        return {**self.metrics.as_dict(self.labels.names), "confusion": self.confusion.tolist()}

    def __str__(self) -> str:
        return table(self.metrics, self.confusion, self.labels.names)

    def __repr__(self) -> str:
        return f"Evaluation(mean_iou={self.mean_iou:.4f}, pixel_accuracy={self.pixel_accuracy:.4f}, {self.labels.num_classes} classes)"


def plain(value: float) -> float | None:
    return None if value != value else value


def table(result: Metrics, matrix: Tensor, names: Sequence[str]) -> str:
    """The per-class table as text: IoU, Dice, precision, recall, share of the pixels; the means; and what makes them mean little."""
    share = (matrix.sum(1) / matrix.sum().clamp(min=1)).tolist()
    width = max(len(name) for name in (*names, "class"))
    lines = [f"{'class':<{width}}     IoU    Dice  precision  recall  share of pixels"]
    for index, name in enumerate(names):
        values = (result.iou[index], result.dice[index], result.precision[index], result.accuracy[index])
        lines.append(f"{name:<{width}}  {_columns(*values)}           {percent(share[index])}")
    means = result.miou, mean(result.dice), mean(result.precision), result.mean_accuracy
    lines.append(f"{'mean':<{width}}  {_columns(*means)}")
    lines.append(
        f"mIoU {percent(result.miou).strip()}   pixel accuracy {percent(result.pixel_accuracy).strip()}   "
        f"mean accuracy {percent(result.mean_accuracy).strip()}   frequency-weighted IoU {percent(result.frequency_weighted_iou).strip()}"
    )
    return "\n".join(lines) + ("\n" + remark(matrix, names)).rstrip("\n")


def _columns(iou: float, dice: float, precision: float, recall: float) -> str:
    return f"{percent(iou)}  {percent(dice)}     {percent(precision)}  {percent(recall)}"


def mean(values: Sequence[float]) -> float:
    """The mean of the values that are not nan; nan where there are none."""
    return torch.tensor(values, dtype=torch.float64).nanmean().item()


def remark(matrix: Tensor, names: Sequence[str]) -> str:
    """A line on a truth that holds one class or none, whose score says little; empty for any other."""
    found = [name for name, pixels in zip(names, matrix.sum(1).tolist(), strict=True) if pixels]
    if not found:
        return f"the label maps hold nothing but void ({void_index(len(names))}): there is nothing to score\n"
    if len(found) == 1:
        return f"the label maps hold {found[0]} only: a network that predicts it everywhere scores 100\n"
    return ""


def percent(value: float) -> str:
    return "     -" if value != value else f"{100 * value:6.2f}"
