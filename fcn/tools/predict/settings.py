"""The settings of ``fcn predict``."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from fcn.core.settings import REQUIRED, at_least, between, choice, items
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
    confidence: also write the probability of each pixel's label as a gray picture; 255 stands for 1
    format: file format of the labels; auto: tif of an image that is large or georeferenced, zarr of a zarr, png of all others
    polygons: also write the regions of each class as polygons, a GeoPackage
    bands: numbers of the bands to read of a raster, from 1, as [4,3,2]; null: all but transparency
    page: number of the page, scene or series to read of a raster, from 0; null: the first
    level: number of the reduced copy to read of a raster, from 1; null: the full size
    resume: output folder of an interrupted run; finished images are not labelled again
    """

    SUMMARY: ClassVar[str] = "labels every pixel of an image, a folder or a glob of images"
    EXAMPLES: ClassVar[str] = """fcn predict checkpoint=RUN/best.pt input=photo.jpg output=labels
fcn predict checkpoint=RUN/best.pt input=photos/
fcn predict checkpoint=RUN/best.pt 'input=photos/**/*.png' inference=windows
fcn predict checkpoint=net.pt network=my_module:build input=photos/    a network of your own, saved by fcn.save
fcn predict checkpoint=RUN/best.pt input=scene.tif inference.memory=1    labels with CRS and overviews: docs/large-images.md
fcn predict resume=outputs/predict/2026-01-31_12-00-00    goes on where a run was cut
torchrun --nproc-per-node 4 -m fcn predict checkpoint=RUN/best.pt input=photos/    four processes share the images"""

    checkpoint: str = REQUIRED
    network: str | None = None
    input: str = REQUIRED
    inference: PartConfig = REQUIRED
    overlay: Annotated[str, choice("jpg", "png", "none")] = "jpg"
    alpha: Annotated[float, between(0, 1)] = 0.5
    confidence: bool = False
    format: Annotated[str, choice("auto", "png", "tif", "cog", "zarr")] = "auto"
    polygons: bool = False
    bands: Annotated[list[int] | None, items(at_least(1), example="[4,3,2]")] = None
    page: Annotated[int | None, at_least(0)] = None
    level: Annotated[int | None, at_least(0)] = None
    precision: Annotated[str, PRECISIONS] = "fp32"
    resume: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_resume(self.resume, self.output)
