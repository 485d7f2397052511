"""Each image by itself: ``images.csv``, and what follows from all images together.

The rows lie in a temporary file until the end. So the memory does not grow with the number of images, and a run that is cut leaves nothing.
"""

import csv
import math
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from fcn.core.files import written
from fcn.core.labels import LabelSet
from fcn.training.boundary import boundary_counts, boundary_width
from fcn.training.calibration import STEPS, confidence_counts
from fcn.training.metrics import mean, metrics, percent
from fcn.training.scored import Scored

AT_ONCE = 4000  # rows that processes hand over at once
BARS = 20  # of the histogram of the images' scores


class Sums(NamedTuple):
    """What is added up over images; of several processes the sums are added.

    boundary: pixels (2, num_classes), int64, see ``boundary_counts``. iou, images: of each class the sum of its IoU in images, and the
    images that have one. miou, scored: the same for the mean of an image. bars: images by their mean, int64 (BARS,). confidence: pixels
    (256, 2), int64, see ``confidence_counts``; all 0 where it was not measured.
    """

    boundary: Tensor
    iou: Tensor
    images: Tensor
    miou: Tensor
    scored: Tensor
    bars: Tensor
    confidence: Tensor

    @property
    def boundary_iou(self) -> list[float]:
        """Boundary IoU of each class over the whole split; nan where it has no boundary."""
        found: list[float] = (self.boundary[0].double() / self.boundary[1]).tolist()
        return found

    @property
    def mean_boundary_iou(self) -> float:
        return mean(self.boundary_iou)

    @property
    def image_iou(self) -> list[float]:
        """Of each class the mean of its IoU over the images that have it, in truth or prediction; nan where none has."""
        found: list[float] = (self.iou / self.images).tolist()
        return found

    @property
    def mean_image_iou(self) -> float:
        """The mean over images of their own mean IoU; nan where no image has one."""
        return float(self.miou / self.scored)


def no_sums(classes: int) -> Sums:
    return Sums(
        boundary=torch.zeros(2, classes, dtype=torch.int64),
        iou=torch.zeros(classes, dtype=torch.float64),
        images=torch.zeros(classes, dtype=torch.int64),
        miou=torch.zeros((), dtype=torch.float64),
        scored=torch.zeros((), dtype=torch.int64),
        bars=torch.zeros(BARS, dtype=torch.int64),
        confidence=torch.zeros(STEPS, 2, dtype=torch.int64),
    )


class ImageScores:
    """The scores of each image, gathered while a split is scored."""

    def __init__(self, labels: LabelSet) -> None:
        self.labels = labels
        self.sums = no_sums(labels.num_classes)
        self.rows = tempfile.TemporaryFile("w+", newline="", encoding="utf-8")  # noqa: SIM115 (closed in ``write``)
        self.writer = csv.writer(self.rows)

    def add(self, sample: Scored) -> None:
        result = metrics(sample.matrix)
        boundary = boundary_counts(sample.truth, sample.prediction, self.labels.num_classes, boundary_width(*sample.truth.shape))
        sums, iou = self.sums, torch.tensor(result.iou, dtype=torch.float64)
        sums.boundary.add_(boundary)
        sums.iou.add_(iou.nan_to_num())
        sums.images.add_(~iou.isnan())
        if not math.isnan(result.miou):
            sums.miou.add_(result.miou)
            sums.scored.add_(1)
            sums.bars[min(int(result.miou * BARS), BARS - 1)] += 1
        if sample.confidence is not None:
            sums.confidence.add_(confidence_counts(sample.truth, sample.prediction, sample.confidence))
        edges = (boundary[0].double() / boundary[1]).nanmean().item()
        values = (result.miou, result.pixel_accuracy, edges, *result.iou)
        self.writer.writerow([sample.index, *("" if math.isnan(value) else f"{value:.6f}" for value in values)])

    def summed(self, accelerator: Accelerator) -> Sums:
        """The sums of all processes."""
        if accelerator.num_processes == 1:
            return self.sums
        return Sums(*(sum(parts[1:], parts[0]) for parts in zip(*gather_object([tuple(self.sums)]), strict=True)))

    def write(self, path: Path, names: Sequence[str], accelerator: Accelerator) -> None:
        """Write the rows of all processes, in the order of the split. Every process has to call it; the first one writes."""
        parts = self._parts(len(names), accelerator)
        if not accelerator.is_main_process:
            for _ in parts:
                pass
        else:
            with written(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(["image", "miou", "pixel_accuracy", "boundary_iou", *(f"iou_{name}" for name in self.labels.names)])
                for part in parts:
                    writer.writerows([names[int(index)], *values] for index, *values in part)
        self.rows.close()

    def _parts(self, count: int, accelerator: Accelerator) -> Iterator[list[Any]]:
        """The rows of all processes, some at a time, as often in every process, in the order of the split."""
        self.rows.seek(0)
        mine = csv.reader(self.rows)
        coming = next(mine, None)
        for end in range(AT_ONCE, count + AT_ONCE, AT_ONCE):
            part = []
            while coming is not None and int(coming[0]) < end:
                part.append(coming)
                coming = next(mine, None)
            yield part if accelerator.num_processes == 1 else sorted(gather_object(part), key=lambda row: int(row[0]))


def compared(whole: float, each: float) -> str:
    """One line on the two means of IoU: over the set, and over the images."""
    if math.isnan(each):
        return "no image has a truth: there is no mean over images"
    gap = 100 * (each - whole)
    return (
        f"mean of the images' own mIoU {percent(each).strip()} ({gap:+.2f} against the set): there each image counts alike, however few "
        f"pixels of a class it has; over the set each pixel does"
    )
