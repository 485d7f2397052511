"""The settings of ``fcn evaluate``."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from fcn.core.settings import REQUIRED, at_least
from fcn.tools.schema import PartConfig
from fcn.tools.settings import PRECISIONS, CommandConfig


@dataclass
class EvaluateConfig(CommandConfig):
    """``fcn evaluate``.

    checkpoint: best.pt of a run, what fcn.save wrote, a folder of save_pretrained, hf://USER/NAME, an ONNX file of fcn export, or builtin
    network: code of a network of your own that the checkpoint holds the weights of, as my_module:build
    split: split to score; null: the data set's validation split
    calibration: also measure whether the network is right as often as it says; takes up to half again as long
    submission: also write the archive for the Pascal VOC server
    workers: processes that read
    """

    SUMMARY: ClassVar[str] = "scores a checkpoint on a data set: per class, per image, and where it fails"
    EXAMPLES: ClassVar[str] = """fcn evaluate checkpoint=RUN/best.pt                     the validation split it was trained with
fcn evaluate checkpoint=RUN/best.pt data=camvid data.root=DIR split=test
fcn evaluate checkpoint=RUN/best.pt calibration=true    also: right as often as it says?
fcn evaluate checkpoint=RUN/best.pt submission=true
fcn evaluate checkpoint=RUN/best.pt data=scenes data.root=DIR split=val    rasters larger than memory
fcn evaluate checkpoint=net.pt network=my_module:build data=camvid data.root=DIR    a network of your own"""

    checkpoint: str = REQUIRED
    network: str | None = None
    data: PartConfig | None = None  # null: the data set that the checkpoint was trained on
    split: str | None = None
    inference: PartConfig = REQUIRED
    calibration: bool = False
    submission: bool = False
    precision: Annotated[str, PRECISIONS] = "fp32"
    workers: Annotated[int, at_least(0)] = 2
