"""Plots of a run: curves over the epochs, and the confusion matrix."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from fcn.core.files import written

LARGEST = 40.0  # side of the picture of a confusion matrix, inches
NAMED = 150  # classes, up to which it names them


def draw_curves(lines: list[dict[str, Any]], path: Path) -> None:
    """The loss and the rate of training, the scores of validation; ``lines`` as ``metrics.jsonl`` holds them."""
    from matplotlib.figure import Figure

    training = [line for line in lines if line["kind"] == "train"]
    scored = [line for line in lines if line["kind"] == "val"]
    figure = Figure(figsize=(11, 4), layout="constrained")
    loss, miou = figure.subplots(1, 2)
    epochs = [line["epoch"] for line in training]
    point = "." if len(training) == 1 else None  # a line through one point is not seen
    loss.plot(epochs, [line["loss"] for line in training], color="tab:blue", marker=point)
    loss.set(title="training loss", xlabel="epoch", yscale="log" if all(line["loss"] > 0 for line in training) and training else "linear")
    rate = loss.twinx()
    rate.plot(epochs, [line["lr"] for line in training], color="tab:gray", linewidth=0.8, linestyle=":", marker=point)
    rate.set_ylabel("learning rate (dotted)", color="tab:gray")
    for key, label in (("miou", "mIoU"), ("pixel_accuracy", "pixel accuracy"), ("mean_accuracy", "mean accuracy")):
        points = [(line["epoch"], line[key]) for line in scored if line[key] is not None]
        if points:
            miou.plot(*zip(*points, strict=True), marker="." if len(points) < 40 else None, label=label)
    miou.set(title="validation", xlabel="epoch", ylim=(0, 1))
    for axes in (loss, miou):
        axes.grid(alpha=0.3)
    if scored:
        miou.legend(loc="lower right")
    with written(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def draw_confusion(matrix: Tensor, names: Sequence[str], path: Path) -> None:
    """The confusion matrix, each row (true class) in per cent of its pixels; rows of absent classes stay empty."""
    from matplotlib.figure import Figure

    shares = (100 * matrix.double() / matrix.sum(1, keepdim=True)).numpy()
    side = min(LARGEST, max(4.5, 0.42 * len(names) + 2.5))
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    if len(names) <= NAMED:
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="predicted", ylabel="true", title="confusion, % of the true class")
    if len(names) <= 40:
        for row in range(len(names)):
            for column in range(len(names)):
                value = shares[row, column]
                if value >= 0.5:
                    axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=7, color="white" if value > 55 else "black")
    figure.colorbar(image, shrink=0.7)
    with written(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
