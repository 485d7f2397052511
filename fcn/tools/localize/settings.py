"""The settings of ``fcn localize``."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from fcn.core.errors import SettingError
from fcn.core.settings import REQUIRED, above, at_least, between, choice, interval, items
from fcn.tools.schema import Checked
from fcn.tools.settings import AUTO_DEVICE, PRECISIONS


@dataclass
class LocalizeConfig(Checked):
    """``fcn localize``.

    classifier: timm/NAME, torchvision/NAME or compact, with weights=; or a network of your own, as my_module:build
    weights: imagenet (downloaded, or from an installed package), or the file of the classifier's state dict
    input: photographs: a file, a folder or a glob
    classes: classes to draw, by name or number, as [tabby,espresso]; null: those of the highest mean probability
    top: number of classes to draw where classes= does not name them
    names: file with the name of each class, one a line; null: what is known, ImageNet's for 1000 classes
    dense: pixel: each cell of the features is classified; window: each cell is the classifier on one window of the trained size
    output_stride: pixels from one cell to the next, by dilation: a divisor of the classifier's stride; null: that stride
    scales: factors of the photograph's size over which probabilities are averaged; larger ones find smaller things
    sliding: also run the classifier in sliding windows, one for each cell, and compare (for dense=window)
    mean: means of the channels of images scaled to 0..1; null: those that the weights were trained with
    std: standard deviations of the channels; null: those that the weights were trained with
    input_size: side of the images that the classifier was trained with (pixels); null: what its records say
    output: folder to write to, new or empty; null: a dated one under outputs/
    device: device that the network runs on
    precision: number format of the network; auto: bf16 if the hardware computes in it
    """

    SUMMARY: ClassVar[str] = "draws where a classifier sees its classes in a photograph, without any training"
    EXAMPLES: ClassVar[str] = """fcn localize classifier=timm/tf_efficientnet_lite0 weights=imagenet input=photo.jpg
fcn localize classifier=torchvision/resnet50 weights=imagenet input=photos/ output_stride=8    a map four times as fine
fcn localize classifier=torchvision/resnet50 weights=imagenet input=photo.jpg classes=[tabby,espresso] scales=[1,2]
fcn localize classifier=torchvision/resnet18 weights=FILE names=names.txt input=photo.jpg      fine-tuned to your classes
fcn localize classifier=my_module:build mean=[0.5,0.5,0.5] std=[0.5,0.5,0.5] input=photo.jpg   a network of your own
fcn localize classifier=timm/tf_efficientnet_lite0 weights=imagenet input=photo.jpg dense=window sliding=true"""

    classifier: str = REQUIRED
    weights: str | None = None
    input: str = REQUIRED
    classes: Annotated[list[str] | None, items(distinct=True, example="[tabby,espresso]")] = None
    top: Annotated[int, between(1, 12)] = 3
    names: str | None = None
    dense: Annotated[str, choice("pixel", "window")] = "pixel"
    output_stride: Annotated[int | None, at_least(1)] = None
    scales: Annotated[list[float], items(interval(0, 16), distinct=True, example="[0.5,1,2]")] = field(default_factory=lambda: [1.0])
    sliding: bool = False
    mean: Annotated[list[float] | None, items(count=3, example="[0.485,0.456,0.406]")] = None
    std: Annotated[list[float] | None, items(above(0), count=3, example="[0.229,0.224,0.225]")] = None
    input_size: Annotated[int | None, at_least(1)] = None
    output: str | None = None
    device: Annotated[str, AUTO_DEVICE] = "auto"
    precision: Annotated[str, PRECISIONS] = "fp32"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sliding and self.dense != "window":
            raise SettingError("sliding=true compares cells with windows; write dense=window too", name="sliding")
        if self.classes is not None and len(self.classes) > 12:
            raise SettingError(f"classes= names {len(self.classes)} classes and a sheet has room for 12; give fewer", name="classes")
