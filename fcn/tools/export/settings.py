"""The settings of ``fcn export``."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from fcn.core.errors import UserError
from fcn.core.settings import REQUIRED, at_least, choice
from fcn.tools.schema import Checked, PartConfig


@dataclass
class ExportConfig(Checked):
    """``fcn export``.

    checkpoint: file of the model: best.pt or last.pt of a run, or what fcn.save wrote
    network: code of a network of your own that the checkpoint holds the weights of, as my_module:build
    format: kind of file; onnx: model.onnx; torch: model.pt2 of torch.export; safetensors: weights and config.json
    labels: let the file give labels instead of scores
    softmax: let the file give probabilities instead of scores
    tile: side of the images (pixels), for programs and networks that need one size; null: any size
    int8: weights and activations of 8 bits; ranges are measured on the training split, the loss of mIoU on the validation split
    calibrate: number of pictures that int8=true measures ranges on; null: 64
    split: split of data= to verify the file with; null: the data set's validation split
    images: images to verify the file with, instead of data=: a file, a folder or a glob; null: built-in pictures
    output: folder to write to, new or empty; null: a dated one under outputs/
    plugins: your own modules that register parts, as [my_parts]
    """

    SUMMARY: ClassVar[str] = "writes a model as ONNX, torch.export or safetensors, and verifies the file"
    EXAMPLES: ClassVar[str] = """fcn export checkpoint=RUN/best.pt output=exported
fcn export checkpoint=RUN/best.pt labels=true data=camvid data.root=DIR    labels inside; verified on that data
fcn export checkpoint=RUN/best.pt tile=512 softmax=true                   for QGIS's plugin Deepness
fcn export checkpoint=RUN/best.pt int8=true                               a third of the size; its loss of mIoU is measured
fcn export checkpoint=RUN/best.pt format=torch images=photos/
fcn evaluate checkpoint=exported/model.onnx data=camvid data.root=DIR      the file's own scores"""

    checkpoint: str = REQUIRED
    network: str | None = None
    format: Annotated[str, choice("onnx", "torch", "safetensors")] = "onnx"
    labels: bool = False
    softmax: bool = False
    tile: Annotated[int | None, at_least(32)] = None
    int8: bool = False
    calibrate: Annotated[int | None, at_least(1)] = None
    data: PartConfig | None = None  # null: built-in pictures; with int8, the data set that the checkpoint was trained on
    split: str | None = None
    images: str | None = None
    output: str | None = None
    plugins: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.images is not None and self.data is not None:
            raise UserError(f"images={self.images} and data={self.data.name} both say what to verify with; leave one out")
        if self.int8 and self.images is not None:
            raise UserError(f"int8=true is scored on label maps, and images={self.images} has none; give data=NAME instead")
        if self.int8 and self.format != "onnx":
            raise UserError(f"int8=true writes an ONNX file, and format={self.format} is asked for; leave one of them out")
        if self.calibrate is not None and not self.int8:
            raise UserError(f"calibrate={self.calibrate} is for int8=true, which is not asked for; leave it out")
        if self.split is not None and self.data is None and not self.int8:
            raise UserError(f"split={self.split} belongs to a data set, and none is chosen; give data=NAME too")
