"""The ceiling: the mIoU that the truth of a data set keeps on the grid of a network's output stride.

The truth is reduced to cells of ``stride`` pixels, interpolated back, and scored against itself. The loss is the cost of the grid alone
(Long et al. 2015, appendix A, arXiv:1411.4038). This "ceiling" is not a proven upper bound: scores that overstate thin classes, or that
give their place within a cell, could do better. A cell has one of two contents:

``shares``    the share of each class, interpolated like our networks' scores (bilinear, whole factor, arg-max): the ceiling of a network
              whose last step is that interpolation
``majority``  the class with the largest share, which then fills the cell: the ceiling of one label per cell

Void pixels count in no cell, and are not scored.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from fcn.core.files import written
from fcn.core.labels import void_of
from fcn.core.progress import Progress
from fcn.data.split import Split
from fcn.inference.scores import Reader, Scores
from fcn.tools.tables import markdown_table
from fcn.training.metrics import Metrics, confusion_matrix, percent
from fcn.training.workers import delivered, read_or_fault, telling_of_lost_workers, worker_loader

METHODS = ("shares", "majority")

WORK = 2**20  # pixels that are worked on at once


def class_shares(truth: Tensor, stride: int, classes: Tensor) -> Tensor:
    """Share of each of ``classes``, int64, in each ``stride`` x ``stride`` cell of ``truth`` (H, W): (classes, ceil(H / stride), ceil(W /
    stride)). Shares add up to 1 over what is neither void nor beyond the border. In a cell that holds nothing else every share is 0. Such a
    cell has no say: beside it, only the shares of its neighbours are interpolated."""
    place = torch.full((void_of(truth.dtype) + 1,), len(classes))
    place[classes] = torch.arange(len(classes))
    down, across = (torch.arange(side) // stride for side in truth.shape)
    shape = int(down[-1]) + 1, int(across[-1]) + 1, len(classes) + 1
    counts = torch.zeros(math.prod(shape), dtype=torch.int64)
    step = rows_at_once(truth)
    for pixels, rows in zip(truth.split(step), down.split(step), strict=True):
        cells = rows[:, None] * shape[1] + across
        counts += (cells * shape[2] + place[pixels.int()]).flatten().bincount(minlength=len(counts))
    known = counts.view(shape)[..., :-1]
    return (known / known.sum(2, keepdim=True).clamp(min=1)).permute(2, 0, 1)


def through_cells(truth: Tensor, stride: int, method: str = "shares") -> Tensor:
    """``truth`` (H, W) of class indices or void, taken down to cells of ``stride`` pixels and up again: a label map of the same size."""
    height, width = truth.shape
    classes = truth.flatten().bincount()[: void_of(truth.dtype)].nonzero()[:, 0]
    if not len(classes):
        return torch.zeros_like(truth)
    labels = classes.to(truth.dtype)
    bands = (class_shares(rows, stride, classes) for rows in truth.split(max(1, rows_at_once(truth) // stride) * stride))
    if method == "shares":
        reader = Reader(Scores((stride, stride), bands), height, width)
        return torch.cat([labels[reader.labels(*rows).int()] for rows in reader.bands()])
    assert method == "majority"
    best = torch.cat([labels[shares.max(0).indices] for shares in bands])
    down, across = (torch.arange(side) // stride for side in truth.shape)
    return best[down][:, across]


def rows_at_once(truth: Tensor) -> int:
    return max(1, WORK // truth.shape[1])


def matrix_through_cells(truth: Tensor, stride: int, method: str, num_classes: int) -> Tensor:
    """The confusion matrix (num_classes, num_classes), int64, of ``truth`` against itself through cells."""
    step = rows_at_once(truth)
    pairs = zip(truth.split(step), through_cells(truth, stride, method).split(step), strict=True)
    return torch.stack([confusion_matrix(*pair, num_classes) for pair in pairs]).sum(0)


class ThroughCells(Dataset[Tensor | Exception]):
    """For each sample of a split the confusion matrices (strides, num_classes, num_classes), int64, of its truth against itself through
    cells of each stride; or what went wrong."""

    def __init__(self, split: Split, strides: Sequence[int], method: str = "shares") -> None:
        self.split, self.strides, self.method = split, strides, method

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> Tensor | Exception:
        return read_or_fault(lambda: self.matrices(index), lambda: f"sample '{self.split.names[index]}'")

    def matrices(self, index: int) -> Tensor:
        truth, classes = self.split.truth(index), self.split.labels.num_classes
        return torch.stack([matrix_through_cells(truth, stride, self.method, classes) for stride in self.strides])


def ceilings(split: Split, strides: Sequence[int], method: str = "shares", *, workers: int = 0) -> dict[int, Tensor]:
    """For each stride the confusion matrix (num_classes, num_classes), int64, of a split's truth against itself through its cells.

    workers: processes that read and compute.
    """
    matrices = torch.zeros(len(strides), split.labels.num_classes, split.labels.num_classes, dtype=torch.int64)
    loader = worker_loader(ThroughCells(split, strides, method), workers=workers, batch_size=None)
    with telling_of_lost_workers(workers):
        for found in Progress("label maps", len(split), "images").over(delivered(loader)):
            matrices += found
    return dict(zip(strides, matrices, strict=True))


def rows_of(results: dict[int, Metrics], names: Sequence[str]) -> tuple[list[str], list[list[str]], list[str]]:
    """The header, a row per class and one for all pixels, and the mean as the total; a column per stride, IoU in per cent."""
    header = ["output stride", *map(str, results)]
    rows = [[name, *(percent(result.iou[index]).strip() for result in results.values())] for index, name in enumerate(names)]
    rows.append(["pixel accuracy", *(percent(result.pixel_accuracy).strip() for result in results.values())])
    return header, rows, ["mIoU", *(percent(result.miou).strip() for result in results.values())]


def markdown(results: dict[int, Metrics], names: Sequence[str], about: str) -> str:
    """The table as Markdown, under a title and a line that says what was counted."""
    return f"# The ceiling of an output stride\n\n{about}; IoU in per cent, void left out.\n\n{markdown_table(*rows_of(results, names))}\n"


def draw(results: dict[int, Metrics], names: Sequence[str], about: str, path: Path) -> None:
    """The ceiling of each class over the output stride, and of the mean."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.8), layout="constrained")
    axes = figure.subplots()
    strides = sorted(results)
    for index, name in enumerate(names):
        values = [100 * results[stride].iou[index] for stride in strides]
        axes.plot(strides, values, "-" if index % 20 < 10 else "--", marker=".", linewidth=1, label=name)  # ten colours come round again
    axes.plot(strides, [100 * results[stride].miou for stride in strides], marker="o", color="black", linewidth=2.2, label="mean")
    axes.set(xlabel="output stride, pixels", ylabel="IoU through the grid, %", title=about, xscale="log", ylim=(0, 102))
    axes.set_xticks(strides, list(map(str, strides)))
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    with written(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
