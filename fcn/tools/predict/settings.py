"""The settings of ``fcn predict``."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from fcn.core.settings import REQUIRED, between, choice
from fcn.tools.schema import PartConfig
from fcn.tools.settings import PRECISIONS, CommandConfig, check_resume


@dataclass
class PredictConfig(CommandConfig):
    """``fcn predict``.

    checkpoint: best.pt of a run, what fcn.save wrote, a folder of save_pretrained, hf://USER/NAME, an ONNX file of fcn export, or builtin
    network: code of a network of your own that the checkpoint holds the weights of, as my_module:build
    input: images to label: a file, a folder or a glob
    overlay: file format of the overlay (the image under its labels and a legend); none: no overlay
    alpha: opacity of the labels in the overlay
    confidence: also write the probability of each pixel's label as a gray PNG; 255 stands for 1
    resume: output folder of an interrupted run; finished images are not labelled again
    """

    SUMMARY: ClassVar[str] = "labels every pixel of an image, a folder or a glob of images"
    EXAMPLES: ClassVar[str] = """fcn predict checkpoint=RUN/best.pt input=photo.jpg output=labels
fcn predict checkpoint=RUN/best.pt input=photos/
fcn predict checkpoint=RUN/best.pt 'input=photos/**/*.png' inference=windows
fcn predict checkpoint=net.pt network=my_module:build input=photos/    a network of your own, saved by fcn.save
fcn predict resume=outputs/predict/2026-01-31_12-00-00    goes on where a run was cut
torchrun --nproc-per-node 4 -m fcn predict checkpoint=RUN/best.pt input=photos/    four processes share the images"""

    checkpoint: str = REQUIRED
    network: str | None = None
    input: str = REQUIRED
    inference: PartConfig = REQUIRED
    overlay: Annotated[str, choice("jpg", "png", "none")] = "jpg"
    alpha: Annotated[float, between(0, 1)] = 0.5
    confidence: bool = False
    precision: Annotated[str, PRECISIONS] = "fp32"
    resume: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_resume(self.resume, self.output)
