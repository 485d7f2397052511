"""What int8 costs: a float file and the int8 file that was made of it, side by side on a split, both through onnxruntime."""

import logging
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.names import said
from fcn.data.split import Split
from fcn.inference.strategies import create_strategy
from fcn.models.onnx_model import read_onnx
from fcn.tools.measure import time_in_turns
from fcn.tools.tables import text_table
from fcn.training.devices import accelerated
from fcn.training.evaluate import score_split
from fcn.training.metrics import confusion_matrix, metrics
from fcn.training.scored import Scored

log = logging.getLogger(__name__)

LEAST = 0.9  # share of the pixels with equal labels, below which an int8 file is not written
NOTED = 0.01  # loss of mean IoU that is warned of
TURNS = 9  # of the times


@dataclass(frozen=True)
class Int8Cost:
    """What int8 costs, on a split of a data set.

    images: number of images of the split. calibration: number of pictures that the ranges were measured on. miou_float, miou: mean IoU of
    the float file and of the int8 file, 0 to 1. agreement: share of the pixels whose labels are equal. bytes_float, bytes: sizes of the
    files. time: time of the int8 file on one image, as a share of the float file's, on this machine.
    """

    images: int
    calibration: int
    miou_float: float
    miou: float
    agreement: float
    bytes_float: int
    bytes: int
    time: float

    @property
    def loss(self) -> float:
        """Loss of mean IoU, 0 to 1."""
        return self.miou_float - self.miou

    def __str__(self) -> str:
        rows = [
            ["float", f"{100 * self.miou_float:.2f}", f"{self.bytes_float / 2**20:.1f}", "1"],
            ["int8", f"{100 * self.miou:.2f}", f"{self.bytes / 2**20:.1f}", f"{self.time:.2f}"],
        ]
        table = text_table(["file", "mIoU", "MiB", "time"], rows)
        return f"{table}\nequal labels: {100 * self.agreement:.2f} % of the pixels of {self.images} images"


def int8_cost(
    before: Path, after: Path, split: Split, batch: Tensor, tile: int | None, calibration: int, *, least: float = LEAST
) -> Int8Cost:
    """The cost of the int8 file ``after``, made of ``before``.

    batch: images (N, C, H, W) to time. tile: side of the images that the files take; None: any. calibration: pictures that were used.
    least: share of the pixels whose labels have to be equal.

    Raises UserError where fewer are.
    """
    models = [read_onnx(path) for path in (before, after)]
    strategy = create_strategy("whole") if tile is None else create_strategy("windows", size=tile)
    classes = split.labels.num_classes
    matrix = torch.zeros(classes, classes, dtype=torch.int64)
    same = pixels = 0

    def compare(sample: Scored) -> None:
        nonlocal matrix, same, pixels
        prediction = strategy(models[1], sample.image)
        matrix += confusion_matrix(sample.truth, prediction, classes)
        same += int((prediction == sample.prediction).sum())
        pixels += prediction.numel()

    with accelerated("cpu", "fp32") as accelerator:
        whole = score_split(models[0], split, strategy, accelerator, workers=0, title="comparing float and int8", visit=compare)
    values = batch[:1].float()
    times = time_in_turns({"float": lambda: models[0].backbone(values), "int8": lambda: models[1].backbone(values)}, turns=TURNS, most=20)
    found = Int8Cost(
        images=len(split),
        calibration=calibration,
        miou_float=metrics(whole).miou,
        miou=metrics(matrix).miou,
        agreement=same / pixels,
        bytes_float=before.stat().st_size,
        bytes=after.stat().st_size,
        time=times["int8"].median / times["float"].median,
    )
    if found.miou_float != found.miou_float:
        raise UserError("the label maps of the split hold nothing but void, so that int8 cannot be scored; give another split")
    if found.agreement < least:
        raise UserError(
            f"{after.name} is not written: int8 changes the labels of {100 * (1 - found.agreement):.0f} % of the pixels "
            f"(mIoU {100 * found.miou_float:.1f} becomes {100 * found.miou:.1f}); give other pictures to calibrate on, or leave int8 out"
        )
    if found.loss > NOTED:
        log.warning("int8 loses %.1f points of mIoU here; %s with more pictures may lose less", 100 * found.loss, said("calibrate"))
    return found
